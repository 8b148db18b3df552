"""A restore into vCenter over VDDK is killed at every kind of moment; the same command then finishes it, inside the disk
where it can, and discarding it leaves nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from runner.base.units import KiB
from steps.lab.sshd import Sshd
from tests.chains import Reference
from tests.e2e.administrator import section_of
from tests.e2e.site import Site
from tests.faults import ending
from tests.faults.comebacks import Comeback, comeback, directories, point
from tests.faults.disks import INVENTORY, KEYS, SEED, TORTURE, WINDOW
from tests.faults.moments import Kill, Step, kills_at
from tests.faults.victims import Zygote
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["INVENTORY", "point", "vddk", "vddk_distribution"]

STEPS = (
    Step("point", (), "again", "again"),
    Step("plan", (), "again", "again"),
    Step("created", ("sshd",), "again", "kept"),
    Step("write[*]", ("sshd", "ssh", "qemu-nbd", "nbdkit"), "again", "again"),
    Step("check[*]", ("sshd", "nbdkit"), "again", "again"),
    Step("finalize", ("sshd",), "again", "kept"),
)

SOME = (
    Kill("runner", "copied 2000:60", again="write[2000]"),
    Kill("nbdkit", "copied 2000:30"),
    Kill("runner", "acted created", kept="created"),
    Kill("group", "copied 2000:40", 0.02, again="write[2000]"),
    Kill("qemu-nbd", "copied 2000:50"),
    Kill("runner", "acted check[2000]", again="check[2000]"),
    Kill("runner", "acted finalize", kept="finalize"),
)


def random_kills(count: int) -> Iterator[Kill]:
    """At random moments of the writing."""
    chance = random.Random(SEED)
    for _ in range(count):
        what = chance.choice(("runner", "group", "nbdkit", "ssh", "qemu-nbd", "sshd"))
        yield Kill(what, f"copied {chance.choice(KEYS[:2])}:{chance.randrange(1, 95)}", chance.randrange(200) / 1000)


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    """The first where every change is tested; with TORTURE=<number> all, and that many at random moments."""
    if not TORTURE:
        return SOME[:1]
    return (*kills_at(STEPS), *SOME, *random_kills(int(environment["TORTURE"])))


@pytest.fixture
def restoring(
    site: Site, hub: Sshd, zygote: Zygote, point: Reference, vddk: Vddk, tmp_path: Path
) -> Iterator[Comeback]:
    vddk.expect_vcenter(section_of(site.lab), site.lab.directory / "vcenter" / "datastores")
    of_vddk = {"transport": "vddk", "vddk_libdir": str(vddk.libdir), "vddk_plugin": vddk.plugin}
    with comeback(site, hub, zygote, point, tmp_path, window=WINDOW, **of_vddk) as scene:
        yield scene


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_restore_is_finished_by_the_same_command(
    restoring: Comeback, point: Reference, vddk: Vddk, kill: Kill
):
    code = restoring.kill(kill)
    restoring.finish(code, kill)
    restoring.assert_one_vm(point)
    assert_written_once(restoring, point, vddk, kill)
    ending.assert_no_process_left(restoring.site, restoring.directory)


def assert_written_once(restoring: Comeback, point: Reference, vddk: Vddk, kill: Kill) -> None:
    """But for a window of what was not flushed, of each disk and for each kill; and no zero."""
    for key, path in restoring.files().items():
        written = sum(length for name, _, length in vddk.requests("w") if name == path.name)
        content = parts_of(point.disks[key]) * 64 * KiB
        assert written <= content + WINDOW * restoring.kills, f"disk {key} after {kill}"
        assert written >= content - 64 * KiB


def parts_of(disk: Path) -> int:
    """How many of its 64 KiB hold more than zeroes."""
    content = disk.read_bytes()
    return sum(any(content[at : at + 64 * KiB]) for at in range(0, len(content), 64 * KiB))


@pytest.mark.parametrize("moment", ["copied 2000:50"])
def test_a_killed_restore_that_is_discarded_leaves_nothing(restoring: Comeback, moment: str):
    restoring.kill(Kill("runner", moment))
    (run,) = restoring.ids()
    assert directories(restoring.site) != restoring.there
    assert restoring.run("sweep", "--abandon", run) == 0, restoring.said
    assert directories(restoring.site) == restoring.there
