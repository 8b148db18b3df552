from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import DifferenceError, LockedError
from runner.base.units import KiB, MiB
from steps.points import pruning, retention_plan, sharing, stored
from steps.points.pruning import ProtectedMeanwhileError
from steps.points.rebase import MovedMeanwhileError, Rebuilding
from steps.points.retention_plan import NoRoomError
from steps.repository import catalogue, layout, manifest, verification_records
from steps.repository.history import Entry
from steps.repository.manifest import PointDisk
from steps.repository.retention import Policy
from steps.repository.verification_records import DiskVerified, Marks, Protection, Verification
from steps.repository.vm_directory import VmDirectory
from tests.chain import BRAKE, FIRST, NOW, Chain, manifest_of, prune
from tests.hub import Hub
from tests.trails import acts

pytestmark = pytest.mark.slow


def chain(hub: Hub, count: int = 4, keys: tuple[int, ...] = (2000,)) -> Chain:
    """A full and incrementals: data, a piece of a block, zeroes over data."""
    made = Chain(Path(hub.root))
    made.add(dict.fromkeys(keys), dict.fromkeys(keys, ((0, 3 * MiB, 1),)))
    changes = [
        ((MiB, 200 * KiB, 2),),
        ((0, 64 * KiB, 3), (2 * MiB, MiB, 0)),
        ((MiB + 64 * KiB, 512, 4),),
        ((0, 512, 0),),
    ]
    for number in range(1, count):
        writes = changes[(number - 1) % len(changes)]
        made.add(dict.fromkeys(keys, number - 1), dict.fromkeys(keys, writes))
    return made


def kept(made: Chain, *numbers: int) -> set[str]:
    return {made.points[number] for number in numbers}


def left(made: Chain) -> list[str]:
    """What is there beside points and locks."""
    return [
        path.name
        for path in made.directory.rglob("*")
        if path.name.endswith((layout.REBUILT, layout.DROPPED)) or path.name == layout.MOVING
    ]


def test_middle_and_oldest_points_go_and_what_stays_reads_as_it_did(any_hub: Hub) -> None:
    made = chain(any_hub, 5)
    pruned = prune(any_hub, made, keep_last=1, keep_weekly=2)
    assert made.whole() == kept(made, 0, 4)
    pruned = prune(any_hub, made, keep_last=1)
    assert made.whole() == kept(made, 4)
    # Both are of one run: what an earlier execution deleted is told too.
    assert [gone.point for gone in pruned.dropped] == made.points[:4]
    assert [gone.why for gone in pruned.dropped] == ["no rule keeps it"] * 4
    assert pruned.rebuilt == tuple(
        f"disk {key} of {made.points[4]} is now a full; it was backed by {made.points[0]}" for key in (2000,)
    )
    assert (left(made), any_hub.warnings) == ([], [])
    done = acts(any_hub.root)
    assert {points[0] for act, *points in done if act == "prune"} == {*made.points[:4]}
    assert ("rebase", made.points[4]) in done


def test_the_middle_goes_though_the_block_that_changed_there_is_read_through_the_next(any_hub: Hub) -> None:
    made = chain(any_hub, 4)
    pruned = prune(any_hub, made, keep_last=2, keep_weekly=2)
    assert made.whole() == kept(made, 0, 2, 3)
    assert pruned.rebuilt == (
        f"disk 2000 of {made.points[2]} is now backed by {made.points[0]}; it was backed by {made.points[1]}",
    )
    assert not any((made.directory / made.points[1]).parent.glob(f"{made.points[1]}*"))
    assert left(made) == []


def test_chains_are_of_disks(hub: Hub) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, MiB, 1),)})
    made.add({2000: 0, 2001: None}, {2000: ((MiB, 512, 2),), 2001: ((0, MiB, 3),)})
    made.add({2001: 1}, {2001: ((512, 512, 4),)})
    made.add({2001: 2}, {2001: ((2 * MiB, 512, 5),)})
    prune(hub, made, keep_last=2)
    assert made.whole() == kept(made, 2, 3)


def test_a_chain_that_is_too_long_is_cut(hub: Hub) -> None:
    made = chain(hub, 4)
    pruned = prune(hub, made, max_chain=2)
    assert made.whole() == kept(made, 0, 1, 2, 3)
    assert len(pruned.rebuilt) == 1
    assert json.loads((made.path(2) / "manifest.json").read_bytes())["disks"][0]["parent"] is None
    assert prune(hub, made, max_chain=2).rebuilt == ()


@pytest.mark.parametrize("shares", [True, False], ids=["blocks shared", "copied"])
def test_a_chain_that_is_cut_twice_is_right_also_where_a_block_is_again_as_in_the_first_full(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, 3 * MiB, 1),)})
    for number, write in enumerate([(MiB, MiB, 2), (0, 512, 3), (MiB, MiB, 1), (2 * MiB, 512, 4)]):
        made.add({2000: number}, {2000: (write,)})
    monkeypatch.setattr(sharing, "can_share", lambda host, directory: shares)
    # Chance must not find what is to be found by knowing where to look.
    monkeypatch.setattr("steps.points.rebase.SAMPLE_LEAST", 0)
    pruned = prune(hub, made, max_chain=2)
    assert made.whole() == kept(made, 0, 1, 2, 3, 4)
    assert [line.partition(" of ")[2][:21] for line in pruned.rebuilt] == [made.points[2], made.points[4]]


def test_room_is_counted_of_the_images_as_the_moves_before_left_them(hub: Hub) -> None:
    vm = VmDirectory(f"{hub.root}/vm")
    for number in range(5):
        below = vm.entries[-1].point if vm.entries else None
        point = manifest_of(number, FIRST + timedelta(days=number), {2000: below})
        path = f"{vm.path}/{point.point}"
        vm.entries = (*vm.entries, Entry(path, point, Marks()))
        vm.stored[f"{path}/{layout.image(2000)}"] = 100 * MiB if below is None else MiB
        vm.stored[f"{path}/{layout.digests(2000)}"] = 0
    work = retention_plan.plan_of(hub.host, vm, Policy(max_chain=2), NOW, shares=False, brake=BRAKE).work
    # The third becomes a full of 102 MiB in place of its 1 MiB, and the last, with the one below it, a copy of that.
    assert work.copied == (100 + 102) * MiB
    assert work.room == (101 + 102 + 2 * 2) * MiB + retention_plan.SPARE


def test_the_repository_can_be_moved_afterwards(hub: Hub) -> None:
    made = chain(hub, 4)
    prune(hub, made, keep_last=2)
    made.root = made.root.rename(made.root.with_name("elsewhere"))
    assert made.whole() == kept(made, 2, 3)


class Killed(BaseException):
    """Nothing of ours handles it, as nothing handles SIGKILL."""


def test_killed_before_any_change_every_point_reads_as_it_did_and_the_next_prune_goes_on(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(hub, 3)
    for moment in range(40):
        before = made.whole()
        try:
            with monkeypatch.context() as patched:
                kill_before(moment, hub, patched)
                prune(hub, made, keep_last=1)
            break
        except Killed:
            assert kept(made, 2) <= made.whole() <= before
    else:
        pytest.fail("it never came to its end")
    assert moment > 8
    assert (made.whole(), left(made)) == (kept(made, 2), [])
    logged = {point for act, *points in acts(hub.root) if act == "prune" for point in points}
    assert logged == {*made.points[:2]}, "what was deleted is in the log, wherever it was killed"


def kill_before(moment: int, hub: Hub, patched: pytest.MonkeyPatch) -> None:
    """From the change numbered `moment` on, nothing of the host is changed any more."""
    done = 0

    def guarded(act: Any) -> Any:
        def wrapped(first: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal done
            logs = first[0] == "sh" and "flock" in first[2]
            if first[0] not in ("qemu-nbd", "qemu-img", "sh") or first[1] in ("rebase", "commit") or logs:
                done += 1
                if done > moment:
                    raise Killed
            return act(first, *arguments, **named)

        return wrapped

    for name in ("write", "rename", "remove", "popen", "run"):
        patched.setattr(hub.host, name, guarded(getattr(hub.host, name)))


STOPS = {
    "before the image is there": "steps.points.rebase.Rebuilding._replace",
    "before the manifest says so": "steps.points.rebase.Rebuilding._record",
    "before the note of it goes": "steps.repository.rebase_journal.remove",
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
@pytest.mark.parametrize("onto", [0, None], ids=["onto another", "alone"])
def test_killed_while_an_image_takes_its_place_the_point_can_be_read_and_its_manifest_is_made_right(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, onto: int | None, stop: str
) -> None:
    made = chain(hub, 4)
    policy: dict[str, Any] = {"keep_last": 1} if onto is None else {"keep_last": 1, "keep_weekly": 2}
    with monkeypatch.context() as patched:
        patched.setattr(stop, _killed)
        with pytest.raises(Killed):
            prune(hub, made, **policy)
    moved = "_replace" not in stop
    assert made.whole() == kept(made, 0, 1, 2, 3)
    below = {0: [3, 0], None: [3]}[onto] if moved else [3, 2, 1, 0]
    (disk,) = stored.read(hub.host, hub.root, str(made.path(3))).disks
    assert disk.image.images == tuple(str(made.image(number)) for number in below)
    # Were the rule another one now, the manifest would still have to say what the image says.
    prune(hub, made, keep_last=9)
    recorded = disk_in_manifest(made, 3)
    lies_on = None if onto is None else made.points[onto]
    assert recorded.parent == (lies_on if moved else made.points[2])
    assert f"it was backed by {made.points[2]}" in recorded.reason or not moved
    assert (made.whole(), left(made)) == (kept(made, 0, 1, 2, 3), [])


def disk_in_manifest(made: Chain, number: int) -> PointDisk:
    (disk,) = manifest.parse((made.path(number) / layout.MANIFEST).read_bytes(), "it").disks
    return disk


def test_the_manifest_tells_of_the_image_that_is_there_now(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Chain(Path(hub.root))
    how: dict[str, Any] = {"by": "cbt", "changed": 512, "written": 1, "compared": 3, "inherited": 2}
    made.add({2000: None}, {2000: ((0, 3 * MiB, 1),)})
    for number, write in enumerate([(MiB, 512, 2), (0, 512, 3), (2 * MiB, 512, 4)]):
        made.add({2000: number}, {2000: (write,)}, **how)
    before = disk_in_manifest(made, 3)
    prune(hub, made, keep_last=1, keep_weekly=2)
    # All but the last block: the one that it held, those of the two below that went, and a sample.
    put = disk_in_manifest(made, 3)
    assert (put.by, put.changed, put.written, put.compared, put.inherited) == ("cbt", None, 3, 4, 1)
    prune(hub, made, keep_last=1)
    full = disk_in_manifest(made, 3)
    assert (full.by, full.changed, full.written, full.compared, full.inherited) == ("all", None, 4, 4, 0)
    assert before.verified < put.verified < full.verified
    assert (full.level, full.digest, full.data) == (before.level, before.digest, before.data)


def _killed(*_: Any) -> None:
    raise Killed


def test_an_image_that_lies_on_neither_is_left_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain(hub, 3)
    with monkeypatch.context() as patched:
        patched.setattr("steps.points.rebase.Rebuilding._record", _killed)
        with pytest.raises(Killed):
            prune(hub, made, keep_last=1)
    made.image(2).write_bytes(made.image(1).read_bytes())
    with pytest.raises(MovedMeanwhileError, match="nothing was changed"):
        prune(hub, made, keep_last=1)


def test_what_differs_from_the_source_takes_no_place_and_nothing_goes(hub: Hub) -> None:
    made = chain(hub, 3)
    image = made.image(1)
    content = image.read_bytes()
    assert content.count(bytes([2]) * 4096)
    image.write_bytes(content.replace(bytes([2]) * 4096, bytes([7]) * 4096))
    with pytest.raises(DifferenceError, match=r"differs at offset 1048576 .* nothing was\s+replaced"):
        prune(hub, made, keep_last=1)
    assert {path.name for path in made.directory.iterdir()} >= kept(made, 0, 1, 2)
    assert left(made) == []


def test_a_protected_point_stays_also_when_it_became_so_just_now(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain(hub, 2)
    mark = Protection(until=datetime.now(UTC) + timedelta(days=1), reason="audit", at=datetime.now(UTC))
    put = retention_plan.plan_of

    def protect(*arguments: Any, **named: Any) -> Any:
        decided = put(*arguments, **named)
        if not decided.plan.moves:  # the last decision, which deletes
            verification_records.write(hub.host, str(made.path(0)), mark)
        return decided

    monkeypatch.setattr(retention_plan, "plan_of", protect)
    with pytest.raises(ProtectedMeanwhileError):
        prune(hub, made, keep_last=1)
    assert made.whole() == kept(made, 0, 1)


@pytest.mark.parametrize(
    ("count", "stay"),
    [pytest.param(2, (2, 3, 4), id="after an image was rebuilt"), pytest.param(1, (2, 4), id="after a point went")],
)
def test_where_what_stays_was_found_damaged_meanwhile_another_takes_its_place(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, count: int, stay: tuple[int, ...]
) -> None:
    made = chain(hub, 4)
    made.add({2000: None}, {})
    found = DiskVerified(key=2000, at=datetime.now(UTC), level="chain", blocks=4, compared=4, different=(0,))

    def verify(act: Any) -> Any:
        def wrapped(*arguments: Any) -> None:
            act(*arguments)
            verification_records.write(hub.host, str(made.path(4)), Verification(disks=(found,)))

        return wrapped

    monkeypatch.setattr("steps.maintain.prune.Rebuilding.put", verify(Rebuilding.put))
    monkeypatch.setattr("steps.points.pruning.drop", verify(pruning.drop))
    pruned = prune(hub, made, keep_last=count)
    assert made.whole() == kept(made, *stay)
    assert {gone.point for gone in pruned.dropped} == set(made.points) - made.whole()
    assert pruned.rebuilt[-1].startswith(f"disk 2000 of {made.points[2]} is now a full")


def test_while_a_run_holds_the_vm_nothing_goes(any_hub: Hub) -> None:
    made = chain(any_hub, 2)
    lock = any_hub.host.lock(str(made.directory / layout.LOCK), "host other, run 20261123T180000Z-aabbccdd")
    try:
        with pytest.raises(LockedError, match="aabbccdd"):
            prune(any_hub, made, keep_last=1)
    finally:
        lock.release()
    assert made.whole() == kept(made, 0, 1)


def test_what_an_unfinished_run_is_built_on_stays(hub: Hub) -> None:
    made = chain(hub, 3)
    partial = made.directory / "20261130T000000Z-0a0a0a0a.partial"
    partial.mkdir()
    image = partial / "disk-2000.qcow2"
    image.write_bytes(made.image(2).read_bytes())  # it is backed by the second point
    prune(hub, made, keep_last=1)
    assert made.whole() == kept(made, 1, 2)
    assert image.exists()


def test_without_room_nothing_is_begun(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain(hub, 3)
    monkeypatch.setattr(hub.host, "free_bytes", lambda path: 65 * MiB)
    with pytest.raises(NoRoomError, match=r"free on hub, which has 65.0 MiB; make room"):
        prune(hub, made, keep_last=1)
    assert made.whole() == kept(made, 0, 1, 2)


@pytest.mark.parametrize("name", [layout.image(2000), layout.digests(2000)])
@pytest.mark.parametrize("emptied", [True, False], ids=["empty", "gone"])
def test_a_point_that_lost_a_file_is_not_good_and_neither_is_what_lies_on_it(
    hub: Hub, name: str, emptied: bool
) -> None:
    made = chain(hub, 2)
    made.add({2000: None}, {})
    made.add({2000: 2}, {})
    path = made.path(2) / name
    path.unlink()
    if emptied:
        path.touch()
    listed = catalogue.read(hub.host, hub.root).points
    assert [(point.good, point.last_good) for point in listed] == [(True, False), (True, True), *[(False, False)] * 2]
    lost = f"has lost {name}: it is missing or empty"
    assert listed[2].broken == f"disk 2000 {lost}"
    assert listed[3].broken == f"disk 2000 is backed by {made.points[2]}, which {lost}"
    assert [gone.point for gone in prune(hub, made, keep_last=1).dropped] == made.points[:1]
    assert {path.name for path in made.directory.iterdir() if path.is_dir()} == kept(made, 1, 2, 3)


def test_a_vm_with_a_point_that_cannot_be_read_is_left_alone(hub: Hub) -> None:
    made = chain(hub, 3)
    (made.path(1) / "manifest.json").write_bytes(b"{")
    pruned = prune(hub, made, keep_last=1)
    assert (pruned.dropped, pruned.rebuilt) == ((), ())
    assert "repair it, or move it out of" in hub.warnings[0]
