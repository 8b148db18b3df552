"""A restore into vCenter through an import lease is killed at every kind of moment; the same command then finishes it, from
the compressed disks where they are, and discarding it leaves nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from steps.lab.sshd import Sshd
from tests.chains import Reference
from tests.e2e.site import Site
from tests.faults import ending
from tests.faults.comebacks import Comeback, comeback, directories, point
from tests.faults.disks import INVENTORY, SEED, SIZES, TORTURE
from tests.faults.moments import Kill, Step, kills_at
from tests.faults.victims import Zygote

__all__ = ["INVENTORY", "point"]

STEPS = (
    Step("plan", (), "again", "again"),
    Step("spool[*]", ("sshd", "ssh", "qemu-nbd"), "again", "again"),
    Step("created", ("sshd",), "again", "kept"),
    Step("check[*]", ("sshd", "nbdkit"), "again", "again"),
    Step("finalize", ("sshd",), "again", "kept"),
)


def places(share: int) -> tuple[str, ...]:
    """Of the first disk: how much of it was compressed, and how much of its stream was sent."""
    return (f"compressed {SIZES[0]}:{share}", f"sent ParaVirtualSCSIController0:0:{share}")


SOME = (
    Kill("runner", "sent ParaVirtualSCSIController0:0:50", again="created"),
    Kill("runner", "acted created", kept="created"),
    Kill("runner", f"compressed {SIZES[0]}:30", again="spool[2000]"),
    Kill("group", "intent created", again="created"),
    Kill("qemu-nbd", f"compressed {SIZES[0]}:40"),
)


def random_kills(count: int) -> Iterator[Kill]:
    chance = random.Random(SEED)
    for _ in range(count):
        moment = chance.choice(places(chance.randrange(1, 95)))
        yield Kill(chance.choice(("runner", "group")), moment, chance.randrange(200) / 1000)


def chosen(environment: Mapping[str, str]) -> tuple[Kill, ...]:
    """The first where every change is tested; with TORTURE=<number> all, and that many at random moments."""
    if not TORTURE:
        return SOME[:1]
    return (*kills_at(STEPS), *SOME, *random_kills(int(environment["TORTURE"])))


@pytest.fixture
def importing(site: Site, hub: Sshd, zygote: Zygote, point: Reference, tmp_path: Path) -> Iterator[Comeback]:
    with comeback(site, hub, zygote, point, tmp_path, spool=str(tmp_path / "spool")) as scene:
        yield scene


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_import_is_finished_by_the_same_command(
    importing: Comeback, point: Reference, kill: Kill, tmp_path: Path
):
    code = importing.kill(kill)
    importing.finish(code, kill)
    importing.assert_one_vm(point)
    assert not list((tmp_path / "spool").glob("*")), "compressed disks were left"
    ending.assert_no_process_left(importing.site, importing.directory)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(places(50)[0], marks=pytest.mark.torture), places(50)[1], "acted created"],
)
def test_a_killed_import_that_is_discarded_leaves_nothing(importing: Comeback, moment: str, tmp_path: Path):
    importing.kill(Kill("runner", moment))
    (run,) = importing.ids()
    assert importing.run("sweep", "--abandon", run) == 0, importing.said
    assert directories(importing.site) == importing.there
    assert not list((tmp_path / "spool").glob("*")), "compressed disks were left"
