"""prune --make-room: a full file system has room again, and nothing goes that anybody would restore from first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.points import room
from steps.repository import layout, verification_records
from steps.repository.verification_records import Protection, Suspect, Suspicion
from steps.trail import log
from tests.chain import BRAKE, FIRST, Chain
from tests.hub import INSTANCE, RUN, Hub, hub_on
from tests.trails import acts

pytestmark = pytest.mark.slow

OTHER = "5013e3a5-9f10-4a5e-8b32-0123456789cd"
WHOLE = ((0, 3 * MiB, 1),)


@pytest.fixture
def hub(small: Path, tmp_path: Path) -> Iterator[Hub]:
    with hub_on(LocalHost("hub"), str(small / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture
def chain(hub: Hub) -> Chain:
    """Of one VM: a full with two incrementals, a full with one, and one more full."""
    made = Chain(Path(hub.root))
    for parent in (None, 0, 1, None, 3, None):
        made.add({2000: parent}, {2000: WHOLE})
    return made


@pytest.fixture
def other(hub: Hub, chain: Chain) -> Chain:
    """Of another VM: two fulls, between those of the first."""
    made = Chain(Path(hub.root), vm="pgtest2", instance=OTHER)
    for day in (1, 8):
        made.add({2000: None}, {2000: WHOLE}, at=FIRST + timedelta(days=day))
    return made


def make_room(hub: Hub, more: float, *arguments: str) -> int:
    """So that `more` bytes are free than now."""
    root = Path(hub.root)
    site = hub.scratch / "site.yaml"
    hosts = f"hosts: {{hub: local}}\nrepositories: {{main: {{host: hub, path: {root}}}}}\n"
    site.write_text(f"version: 1\n{hosts}state: {{in: repositories.main}}\n")
    size = int(hub.host.free_bytes(hub.root) + more)
    with pytest.raises(SystemExit) as left:
        main(("prune", str(site), f"--make-room={size}", *arguments))
    return int(left.value.code or 0)


def kept(made: Chain, *numbers: int) -> set[str]:
    return {made.points[number] for number in numbers}


def test_oldest_chains_go_first_and_no_more_than_are_needed(hub: Hub, chain: Chain, other: Chain) -> None:
    assert make_room(hub, 2 * MiB, "--yes") == 0
    assert (chain.whole(), other.whole()) == (kept(chain, 0, 1, 2, 3, 4, 5), kept(other, 1))
    # Of a chain that is not needed whole, its oldest points stay: nothing else can be deleted alone.
    assert make_room(hub, 4 * MiB, "--yes") == 0
    assert (chain.whole(), other.whole()) == (kept(chain, 0, 3, 4, 5), kept(other, 1))
    assert make_room(hub, 6 * MiB, "--yes") == 0
    assert (chain.whole(), other.whole()) == (kept(chain, 3, 5), kept(other, 1))


def test_it_works_where_nothing_at_all_is_free(hub: Hub, chain: Chain, small: Path) -> None:
    hub.host.lock(str(chain.directory / layout.LOCK), "each run of the VM").release()
    with (small / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
        while True:
            ballast.write(bytes(MiB))
    assert hub.host.free_bytes(hub.root) == 0
    assert make_room(hub, 2 * MiB, "--yes") == 0
    assert chain.whole() == kept(chain, 0, 1, 3, 4, 5)


def protected(hub: Hub, made: Chain) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    verification_records.write(
        hub.host, str(made.path(1)), Protection(until=until, reason="audit", at=datetime.now(UTC))
    )


def unfinished(hub: Hub, made: Chain) -> None:
    """A run builds on the second point."""
    partial = made.directory / layout.partial("20261123T180000Z-aabbccdd")
    partial.mkdir()
    (partial / layout.image(2000)).write_bytes(made.image(2).read_bytes())


def suspect(hub: Hub, made: Chain) -> None:
    """The last point is no good one, so the one before it is the last good one."""
    found = Suspicion(key=2000, at=datetime.now(UTC), why="CBT missed a write", run=RUN)
    verification_records.write(hub.host, str(made.path(5)), Suspect(disks=(found,)))


@pytest.mark.parametrize(
    ("keeps", "stay"),
    [(protected, (0, 1, 5)), (unfinished, (0, 1, 5)), (suspect, (3, 4, 5))],
    ids=["protected", "unfinished", "suspect"],
)
def test_what_somebody_needs_stays_with_all_that_it_is_built_on(
    hub: Hub, chain: Chain, capsys: pytest.CaptureFixture[str], keeps: Any, stay: tuple[int, ...]
) -> None:
    keeps(hub, chain)
    assert make_room(hub, 32 * MiB, "--yes") == 1
    assert "and nothing was deleted" in capsys.readouterr().err
    assert len(chain.whole()) == 6
    root, hosts = Path(hub.root), hub.host
    found = room.expendable(hosts, *names(hub), datetime.now(UTC), BRAKE)
    assert {point.point for point in found.points} == set(chain.points) - kept(chain, *stay)
    assert make_room(hub, sum(point.frees for point in found.points), "--yes") == 0
    assert chain.whole() == kept(chain, *stay)
    assert root.exists()


def names(hub: Hub) -> tuple[Any, Any]:
    from steps.repository.naming import Names

    found = Names.read(hub.host, hub.root)
    return found, found.vms


def test_a_vm_that_a_run_works_on_is_left_alone_and_the_others_go(
    hub: Hub, chain: Chain, other: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = hub.host.lock(str(other.directory / layout.LOCK), "host other, run 20261123T180000Z-aabbccdd")
    try:
        assert make_room(hub, 5 * MiB, "--yes") == 3
    finally:
        lock.release()
    assert (chain.whole(), other.whole()) == (kept(chain, 0, 1, 3, 4, 5), kept(other, 0, 1))
    assert "locked by another run: host other" in capsys.readouterr().err


def test_it_stops_once_so_much_is_free_though_more_was_agreed_to(hub: Hub, chain: Chain, small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(8 * MiB))
    deleted = []
    wanted = hub.host.free_bytes(hub.root) + 9 * MiB
    now, trail = datetime.now(UTC), log.of(hub.context(), hub.host, hub.root)
    for point, gone in room.delete(hub.host, str(chain.directory), chain.points[2::-1], wanted, now, trail, BRAKE):
        deleted.append((point, gone))
        ballast.unlink(missing_ok=True)
    assert deleted == [(chain.points[2], True)]
    assert acts(hub.root) == [("prune", chain.points[2])]


def test_what_is_needed_by_now_stays_though_it_was_agreed_to(hub: Hub, chain: Chain) -> None:
    protected(hub, chain)
    now, trail = datetime.now(UTC), log.of(hub.context(), hub.host, hub.root)
    found = list(room.delete(hub.host, str(chain.directory), chain.points[2::-1], 1 << 40, now, trail, BRAKE))
    assert [gone for _, gone in found] == [True, False, False]
    assert chain.whole() == kept(chain, 0, 1, 3, 4, 5)


def test_json_and_a_dry_run_say_what_would_go_and_change_nothing(
    hub: Hub, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_room(hub, 4 * MiB, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [point["point"] for point in told["planned"]] == [chain.points[2], chain.points[1]]
    assert {point["instance_uuid"] for point in told["planned"]} == {INSTANCE}
    assert (told["deleted"], len(chain.whole())) == ([], 6)


def test_without_a_terminal_and_a_yes_nothing_goes(hub: Hub, chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_room(hub, 4 * MiB) == 2
    assert "--make-room=" in capsys.readouterr().err
    assert make_room(hub, 4 * MiB, "--yes", "--keep-last=1") == 2
    assert len(chain.whole()) == 6


def test_where_so_much_is_free_nothing_goes(hub: Hub, chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_room(hub, -MiB, "--yes") == 0
    assert "nothing was deleted: " in capsys.readouterr().out
    assert len(chain.whole()) == 6
