"""What is decided of points that root's timer locked, and what happens where nobody said that they are."""

from __future__ import annotations

import os
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import CommandError
from runner.base.units import DAY, MiB
from runner.hosts.local import LocalHost
from steps.backup.publish import Publish
from steps.points import retention_plan, room, stored
from steps.points.pruning import finish_drops
from steps.points.rebase import Rebuilding
from steps.repository import layout, locked, reader
from steps.repository.locked import IsLockedError
from steps.repository.retention import Move, Policy
from steps.trail import log
from tests import points
from tests.chain import BRAKE, NOW, Chain, prune
from tests.hub import Hub, hub_on, tree
from tests.locked_repository import UID, LockedRepository, as_account, mounted
from tests.trails import acts

pytestmark = pytest.mark.slow

UNTIL = datetime(2026, 12, 23, tzinfo=UTC)
ROOMY = 256 * MiB
"""A sparse file, in which images can be rebuilt."""


def chain(root: Path, count: int = 4) -> Chain:
    """A full and incrementals, each on the one before."""
    made = Chain(root)
    made.add({2000: None}, {2000: ((0, 3 * MiB, 1),)})
    for number in range(1, count):
        made.add({2000: number - 1}, {2000: ((number * 4096, 4096, number + 1),)})
    return made


@pytest.fixture
def on_ext4(tmp_path: Path) -> Iterator[Hub]:
    """Whose files can be made immutable."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems and makes files immutable")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with mounted("ext4", ROOMY) as top:
        (top / "repository").mkdir()
        with hub_on(LocalHost("hub"), str(top / "repository"), scratch) as hub:
            yield hub


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    subprocess.run(["chattr", "+i", path], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True, timeout=60)


def test_what_is_locked_stays_with_all_that_it_is_built_on_and_none_of_it_is_rebuilt(hub: Hub) -> None:
    made = chain(Path(hub.root), 6)
    vm = replace(reader.read(hub.host, str(made.directory)), locked={made.points[3]: UNTIL})
    plan = retention_plan.plan_of(hub.host, vm, Policy(keep_last=1, max_chain=2), NOW, shares=False, brake=BRAKE).plan
    below = f"{made.points[3]}, which is locked, is backed by it"
    assert [decision.reasons for decision in plan.decisions] == [
        *3 * [(below,)],
        ("locked until 2026-12-23",),
        ("no rule keeps it",),
        ("last", "the last good one"),
    ]
    assert plan.drops == (made.points[4],)
    # The third is on top of two others, but what the locked one is backed by is not cut either.
    assert [(move.point, move.onto) for move in plan.moves] == [(made.points[5], made.points[3])]


def test_room_is_not_made_of_what_is_locked(hub: Hub) -> None:
    made = chain(Path(hub.root), 2)
    made.add({2000: None}, {})
    vm = reader.read(hub.host, str(made.directory))
    assert room._may_go(hub.host, vm, NOW, None) == [*vm.entries[:2]]
    assert room._may_go(hub.host, replace(vm, locked={made.points[0]: UNTIL}), NOW, None) == [vm.entries[1]]


def test_a_link_in_a_point_hides_nothing_that_is_immutable(on_ext4: Hub) -> None:
    made = chain(Path(on_ext4.root), 1)
    (made.path(0) / "link").symlink_to("/etc")
    assert not locked.is_held(on_ext4.host, str(made.path(0)))
    with immutable(made.image(0)):
        assert locked.is_held(on_ext4.host, str(made.path(0)))
        assert not locked.is_immutable(on_ext4.host, str(made.path(0)))
    with pytest.raises(CommandError):  # of what it cannot see it knows nothing
        locked.is_held(on_ext4.host, str(made.path(0).with_name("gone")))


WHERE = {"its directory": ".", "an image": "disk-2000.qcow2", "a file of the VM": "vm/config.json"}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
def test_a_point_that_is_immutable_though_nobody_said_so_is_not_half_deleted(on_ext4: Hub, where: str) -> None:
    made = chain(Path(on_ext4.root), 2)
    made.add({2000: None}, {})
    made.add({2000: None}, {})
    before = tree(made.path(1))
    with immutable(made.path(1) / where):
        noted = log.of(on_ext4.context(), on_ext4.host, on_ext4.root)
        wanted = [made.points[1], made.points[0], made.points[2]]
        gone = room.delete(on_ext4.host, str(made.directory), wanted, 1 << 60, NOW, noted, None)
        assert [gone for _, gone in gone] == [False, False, True]
        assert made.whole() == {*made.points[:2], made.points[3]}, "what stands on it stays, others go"
        pruned = prune(on_ext4, made, keep_last=1)
        assert made.whole() == {*made.points[:2], made.points[3]}
    for warning in on_ext4.warnings:
        assert f"{made.points[1]} on hub is kept: it is immutable" in warning
    assert (len(on_ext4.warnings), pruned.notes) == (2, (f"{made.points[1]} stays: it is immutable.",))
    assert tree(made.path(1)) == before
    assert {point for _, point in acts(on_ext4.root)} == {made.points[2]}, "nor is it logged"
    prune(on_ext4, made, keep_last=1)
    assert made.whole() == {made.points[3]}


def test_what_a_killed_prune_left_in_a_point_that_is_locked_keeps_no_other_from_going(on_ext4: Hub) -> None:
    made = chain(Path(on_ext4.root), 2)
    made.add({2000: None}, {})
    made.add({2000: None}, {})
    left = made.path(3) / f"disk-2000.qcow2{layout.REBUILT}"
    left.write_bytes(made.image(3).read_bytes())
    with immutable(made.path(3)):
        prune(on_ext4, made, keep_last=1)
        assert made.whole() == {made.points[3]}
        (warning, *_) = on_ext4.warnings
        assert left.name in warning, "and it is said"
    prune(on_ext4, made, keep_last=1)
    assert not left.exists()


MOMENTS = {
    "rebuilding is begun": "popen cp",
    "it is committed": "popen qemu-img commit",
    "it is noted what moves": "write moving.json",
    "the image takes its place": "rename disk-2000.qcow2",
    "the manifest is written": "write manifest.json",
    "all of that is cleared away": "remove moving.json",
    "a point leaves the list": "rename POINT",
}
SOME = ("the manifest is written",)


@pytest.mark.parametrize("before", MOMENTS if "TORTURE" in os.environ else SOME)
def test_a_point_that_is_locked_while_it_is_pruned_stays_and_nothing_is_left_of_that(
    on_ext4: Hub, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(Path(on_ext4.root), 3)
    victim = 1 if before == "a point leaves the list" else 2
    moment = MOMENTS[before].replace("POINT", made.points[victim])
    with monkeypatch.context() as patched:
        locks_before(moment, on_ext4, made.path(victim), patched)
        prune(on_ext4, made, keep_last=1)
    seen = tree(made.path(victim))
    moved = before in ("the manifest is written", "all of that is cleared away")
    there = {made.points[2]} if before == "all of that is cleared away" else {*made.points}
    try:
        assert made.whole() == ({*made.points[:2]} | {made.points[2]} if there == {*made.points} else there)
        (disk,) = stored.read(on_ext4.host, on_ext4.root, str(made.path(2))).disks
        assert len(disk.image.images) == (1 if moved or victim == 1 else 3)
        if before != "all of that is cleared away":
            assert [made.points[victim] in warning for warning in on_ext4.warnings] == [True]
        left = [path.name for path in made.directory.rglob("*") if path.name.startswith("disk-2000")]
        assert sorted(set(left)) == ["disk-2000.blake3", "disk-2000.qcow2"]
        assert not list(made.directory.glob(f"*{layout.REBUILT}/*.qcow2"))
        prune(on_ext4, made, keep_last=1)
        assert (tree(made.path(victim)), made.whole()) == (seen, there), "nor does a later one come further"
    finally:
        lock("-i", made.path(victim))
    prune(on_ext4, made, keep_last=1)
    assert made.whole() == {made.points[2]}
    assert not list(made.directory.glob(f"*{layout.REBUILT}"))
    assert len(stored.read(on_ext4.host, on_ext4.root, str(made.path(2))).disks[0].image.images) == 1


def test_where_a_lock_ends_while_others_are_rebuilt_what_it_interrupted_is_completed_and_not_lost(
    on_ext4: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(Path(on_ext4.root), 3)
    with monkeypatch.context() as patched:
        locks_before(MOMENTS["the manifest is written"], on_ext4, made.path(2), patched)
        prune(on_ext4, made, keep_last=1)
    lock("-i", made.path(2))
    context = on_ext4.context()
    stale = Move(point=made.points[2], key=2000, parent=made.points[1], onto=None, root=made.points[0])
    with context.closing:
        Rebuilding(context, on_ext4.host, on_ext4.root, str(made.directory), shares=False).put(stale)
    assert not list(made.directory.glob(f"*{layout.REBUILT}"))
    assert len(stored.read(on_ext4.host, on_ext4.root, str(made.path(2))).disks[0].image.images) == 1


def locks_before(moment: str, hub: Hub, point: Path, patched: pytest.MonkeyPatch) -> None:
    """As root's timer would: the directory first."""

    def guarded(name: str, act: Any) -> Any:
        def wrapped(first: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal moment
            words = first if isinstance(first, tuple | list) else (Path(first).name,)
            if moment and " ".join((name, *words)).startswith(moment):
                moment = ""
                lock("+i", point)
            return act(first, *arguments, **named)

        return wrapped

    for name in ("write", "rename", "remove", "popen"):
        patched.setattr(hub.host, name, guarded(name, getattr(hub.host, name)))


def lock(sign: str, point: Path) -> None:
    subprocess.run(["chattr", "-R", sign, point], check=True, timeout=60)


def test_what_was_locked_while_it_was_deleted_is_named_until_root_lifts_it(on_ext4: Hub) -> None:
    made = chain(Path(on_ext4.root), 1)
    made.add({2000: None}, {})
    dropped = made.path(0).rename(made.path(0).with_name(made.points[0] + layout.DROPPED))
    before = tree(dropped)
    noted = log.of(on_ext4.context(), on_ext4.host, on_ext4.root)
    with immutable(dropped / "vm"):
        prune(on_ext4, made, keep_last=1)
    assert [dropped.name in warning for warning in on_ext4.warnings] == [True]
    assert tree(dropped) == before
    finish_drops(on_ext4.host, str(made.directory), noted)
    assert not dropped.exists()


def test_the_point_of_a_run_that_is_discarded_stays_whole_where_it_is_locked(on_ext4: Hub) -> None:
    on_ext4.share(("vcenter", "prod"), lambda: nullcontext(points.StandInVcenter()))
    given, step = points.inputs(on_ext4), Publish()
    made = step.run(on_ext4.context(), given, step.Live())
    before = tree(Path(made.path))
    with immutable(Path(made.path) / "vm"), pytest.raises(IsLockedError, match="root of that host alone"):
        step.undo(on_ext4.context(), given, made)
    assert tree(Path(made.path)) == before


@contextmanager
def locked_by_a_timer() -> Iterator[tuple[LockedRepository, Hub]]:
    with mounted("ext4", ROOMY) as top:
        repository = LockedRepository.create(top, top.parent)
        (repository.root / layout.MARKER).unlink()
        scratch = top.parent / "scratch"
        scratch.mkdir()
        os.chown(scratch, UID, UID)
        with hub_on(LocalHost("hub"), str(repository.root), scratch) as hub:
            yield repository, hub


def test_after_its_lock_has_ended_the_accounts_prune_deletes_a_point() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems and makes files immutable")
    with locked_by_a_timer() as (repository, hub):
        made = chain(repository.root, 3)
        given_to_the_account(repository.root)
        assert repository.run() == []
        seen = reader.read(hub.host, str(made.directory))
        assert {*seen.locked} == {*made.points}, "what root's timer tells is read"
        assert locked.until(hub.host, str(made.directory), made.points[0]) == seen.locked[made.points[0]]
        assert pruned_by_the_account(hub, made) == ""
        assert made.whole() == {*made.points}
        repository.pass_time(30 * DAY)
        assert repository.run() == []
        assert pruned_by_the_account(hub, made) == ""
        assert made.whole() == {made.points[2]}
        assert repository.run() == []


def given_to_the_account(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        os.chown(path, UID, UID)


def pruned_by_the_account(hub: Hub, made: Chain) -> str:
    """What it failed with."""
    said = hub.scratch / "said"

    def work() -> None:
        try:
            prune(hub, made, keep_last=1)
        except Exception:  # noqa: BLE001 – in a process of its own, whose exit code says nothing
            said.write_text(traceback.format_exc())

    as_account(work)
    return said.read_text() if said.exists() else ""
