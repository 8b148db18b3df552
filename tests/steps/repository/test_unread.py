"""What of a repository cannot be read is never taken for absent: nothing of its VM is deleted, and nothing is built on it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue

from runner.base.errors import SendenseError, StateError
from runner.base.sealed import CHECKSUM, seal
from runner.hosts.host import Host
from steps.points import retention_plan
from steps.repository import catalogue, layout, manifest, parent, verification_records, vm_place
from steps.repository.naming import Names
from steps.repository.parent import NoParentError, Sought
from steps.repository.retention import Policy
from steps.repository.verification_records import DiskVerified, Verification
from tests.bad_reads import BadReads, bad_reads, library
from tests.chain import BRAKE, CAPACITY, Chain, prune
from tests.drill_records import drill
from tests.hub import INSTANCE, VCENTER, Hub
from tests.marks import marks

pytestmark = pytest.mark.slow

__all__ = ["bad_reads", "library"]

AT = datetime(2026, 11, 20, tzinfo=UTC)
OTHER = INSTANCE.replace("5013", "0000")


def chain(hub: Hub, count: int = 3, **named: str) -> Chain:
    made = Chain(Path(hub.root), **named)
    for number in range(count):
        made.add({2000: number - 1 if number else None}, {2000: ((number * 512, 512, number + 1),)})
    return made


def find(hub: Hub, made: Chain) -> parent.Parent:
    sought = Sought(2000, "6000C290-0000-0000-0000-000000002000", CAPACITY, VCENTER, INSTANCE)
    return parent.find(hub.host, str(made.directory), sought, run="now")


def failed(hub: Hub, made: Chain, number: int) -> None:
    disk = DiskVerified(key=2000, at=AT, level="chain", blocks=4, compared=4, different=(0,))
    verification_records.write(hub.host, str(made.path(number)), Verification(disks=(disk,)))


def mark_unreadable(hub: Hub, made: Chain, spoil: BadReads) -> str:
    failed(hub, made, 2)
    spoil(hub.host, "open verified.json")
    return f"{marks(made.path(2))}/verified.json"


def mark_breaks_off(hub: Hub, made: Chain, spoil: BadReads) -> str:
    failed(hub, made, 2)
    spoil(hub.host, "read verified.json")
    return f"{marks(made.path(2))}/verified.json"


def mark_damaged(hub: Hub, made: Chain, spoil: BadReads) -> str:
    failed(hub, made, 2)
    (marks(made.path(2)) / "verified.json").write_bytes(b"{")
    return str(made.path(2))


def mark_is_a_fifo(hub: Hub, made: Chain, spoil: BadReads) -> str:
    marks(made.path(2)).mkdir()
    os.mkfifo(marks(made.path(2)) / "verified.json")
    return f"{marks(made.path(2))}/verified.json"


def mark_is_a_link(hub: Hub, made: Chain, spoil: BadReads) -> str:
    failed(hub, made, 2)
    (marks(made.path(2)) / "verified.json").rename(made.root.parent / "elsewhere")
    (marks(made.path(2)) / "verified.json").symlink_to(made.root.parent / "elsewhere")
    return f"{marks(made.path(2))}/verified.json"


def mark_huge(hub: Hub, made: Chain, spoil: BadReads) -> str:
    failed(hub, made, 2)
    with (marks(made.path(2)) / "verified.json").open("a") as file:
        file.write(" " * (2 << 20))
    return f"{marks(made.path(2))}/verified.json"


def manifest_unreadable(hub: Hub, made: Chain, spoil: BadReads) -> str:
    spoil(hub.host, "read manifest.json")
    return f"{made.path(0)}/manifest.json"


def manifest_gone(hub: Hub, made: Chain, spoil: BadReads) -> str:
    (made.path(2) / "manifest.json").unlink()
    return str(made.path(2))


def point_unreadable(hub: Hub, made: Chain, spoil: BadReads) -> str:
    spoil(hub.host, f"open {made.points[2]}")
    return str(made.path(2))


def point_hidden(hub: Hub, made: Chain, spoil: BadReads) -> str:
    spoil(hub.host, f"hide {made.points[2]}")
    return str(made.directory)


def point_moved_away(hub: Hub, made: Chain, spoil: BadReads) -> str:
    made.path(2).rename(made.root.parent / made.points[2])
    made.path(2).symlink_to(made.root.parent / made.points[2])
    return str(made.path(2))


def listing_breaks_off(hub: Hub, made: Chain, spoil: BadReads) -> str:
    spoil(hub.host, f"read {made.directory.name}")
    return str(made.directory)


def lying(made: Chain, number: int, **changes: object) -> str:
    """With a checksum that is right: a manifest from elsewhere, or of a program that has a fault."""
    path = made.path(number) / layout.MANIFEST
    document = json.loads(path.read_bytes())
    document.pop(CHECKSUM)
    path.write_bytes(seal({**document, **changes}))
    return str(made.path(number))


def manifest_without_disks(hub: Hub, made: Chain, spoil: BadReads) -> str:
    return lying(made, 2, disks=[])


def manifest_of_naive_time(hub: Hub, made: Chain, spoil: BadReads) -> str:
    return lying(made, 2, created="2026-11-03T03:00:00")


def manifest_with_a_disk_twice(hub: Hub, made: Chain, spoil: BadReads) -> str:
    return lying(made, 2, disks=json.loads((made.path(2) / layout.MANIFEST).read_bytes())["disks"] * 2)


def manifest_of_a_newer_version(hub: Hub, made: Chain, spoil: BadReads) -> str:
    return lying(made, 2, schema_version=99, colour="blue")


def drill_unreadable(path: Path, host: Host, spoil: BadReads) -> None:
    spoil(host, "open drilled.json")


def drill_breaks_off(path: Path, host: Host, spoil: BadReads) -> None:
    spoil(host, "read drilled.json")


def drill_damaged(path: Path, host: Host, spoil: BadReads) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def drill_is_a_fifo(path: Path, host: Host, spoil: BadReads) -> None:
    path.unlink()
    os.mkfifo(path)


def drill_is_a_link(path: Path, host: Host, spoil: BadReads) -> None:
    path.rename(path.parents[3] / "elsewhere")
    path.symlink_to(path.parents[3] / "elsewhere")


def drill_is_a_directory(path: Path, host: Host, spoil: BadReads) -> None:
    path.unlink()
    path.mkdir()


def drill_huge(path: Path, host: Host, spoil: BadReads) -> None:
    with path.open("a") as file:
        file.write(" " * (2 << 20))


def drill_of_a_newer_version(path: Path, host: Host, spoil: BadReads) -> None:
    document = json.loads(path.read_bytes())
    document.pop(CHECKSUM)
    path.write_bytes(seal({**document, "schema_version": 99, "colour": "blue"}))


DRILL_HARMS: list[Callable[[Path, Host, BadReads], None]] = [
    drill_unreadable,
    drill_breaks_off,
    drill_damaged,
    drill_is_a_fifo,
    drill_is_a_link,
    drill_is_a_directory,
    drill_huge,
    drill_of_a_newer_version,
]


@pytest.mark.parametrize("harm", DRILL_HARMS, ids=lambda harm: harm.__name__)
def test_a_record_of_a_drill_that_cannot_be_read_is_told_and_hides_nothing(
    any_hub: Hub, bad_reads: BadReads, harm: Callable[[Path, Host, BadReads], None]
) -> None:
    made = chain(any_hub)
    verification_records.write(any_hub.host, str(made.path(2)), drill("failed"))
    harm(marks(made.path(2)) / verification_records.DRILLED, any_hub.host, bad_reads)
    listed = catalogue.read(any_hub.host, any_hub.root)
    assert [point.point for point in listed.points] == list(made.points)
    assert listed.points[2].drilled is None
    assert "drilled.json" in listed.points[2].drilled_unread
    assert [point.drilled_unread for point in listed.points[:2]] == ["", ""]
    assert listed.points[2].good
    assert listed.unread == ()


def locks(made: Chain, schema_version: int = 1) -> Path:
    """As root's timer tells which points are locked: of these none is."""
    path = made.directory / layout.LOCKED
    points: dict[str, JsonValue] = {"20251101T030000Z-0000": "2026-12-01T03:00:00Z"}
    path.write_bytes(seal({"schema_version": schema_version, "points": points}))
    return path


def locks_unreadable(hub: Hub, made: Chain, spoil: BadReads) -> str:
    spoil(hub.host, "open locked.json")
    return str(locks(made))


def locks_damaged(hub: Hub, made: Chain, spoil: BadReads) -> str:
    path = locks(made)
    path.write_bytes(path.read_bytes().replace(b"2026", b"2025"))
    return str(path)


def locks_of_a_newer_version(hub: Hub, made: Chain, spoil: BadReads) -> str:
    return str(locks(made, schema_version=99))


def locks_that_are_a_directory(hub: Hub, made: Chain, spoil: BadReads) -> str:
    path = made.directory / layout.LOCKED
    path.mkdir()
    return str(path)


def locks_that_an_account_tells_of(hub: Hub, made: Chain, spoil: BadReads) -> str:
    path = locks(made)
    if os.geteuid() == 0:
        os.chown(path, 1, 1)
    return str(path)


LOCK_HARMS: list[Callable[[Hub, Chain, BadReads], str]] = [
    locks_that_an_account_tells_of,
    locks_unreadable,
    locks_damaged,
    locks_of_a_newer_version,
    locks_that_are_a_directory,
]

HARMS: list[Callable[[Hub, Chain, BadReads], str]] = [
    mark_unreadable,
    mark_breaks_off,
    mark_damaged,
    mark_is_a_fifo,
    mark_is_a_link,
    mark_huge,
    manifest_unreadable,
    manifest_gone,
    point_unreadable,
    point_hidden,
    point_moved_away,
    listing_breaks_off,
    manifest_without_disks,
    manifest_of_naive_time,
    manifest_with_a_disk_twice,
    manifest_of_a_newer_version,
]


@pytest.mark.parametrize("harm", [*HARMS, *LOCK_HARMS], ids=lambda harm: harm.__name__)
def test_nothing_is_deleted_of_a_vm_of_which_something_cannot_be_read(
    hub: Hub, bad_reads: BadReads, harm: Callable[[Hub, Chain, BadReads], str]
) -> None:
    made = chain(hub)
    path = harm(hub, made, bad_reads)
    before = {path.name for path in made.directory.iterdir()}
    pruned = prune(hub, made, keep_last=1)
    assert pruned.dropped == ()
    assert {path.name for path in made.directory.iterdir()} == {*before, layout.LOCK}
    assert path in pruned.notes[0]
    assert "cannot be read" in pruned.notes[0]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_nothing_is_built_on_a_vm_of_which_something_cannot_be_read(
    hub: Hub, bad_reads: BadReads, harm: Callable[[Hub, Chain, BadReads], str]
) -> None:
    made = chain(hub)
    path = harm(hub, made, bad_reads)
    with pytest.raises(SendenseError) as refused:
        find(hub, made)
    assert path in refused.value.message
    assert "first restore point" not in refused.value.message


@pytest.mark.parametrize("harm", LOCK_HARMS, ids=lambda harm: harm.__name__)
def test_a_backup_needs_not_know_which_points_are_locked(
    hub: Hub, bad_reads: BadReads, harm: Callable[[Hub, Chain, BadReads], str]
) -> None:
    made = chain(hub)
    path = harm(hub, made, bad_reads)
    assert find(hub, made).point == made.points[2]
    listed = catalogue.read(hub.host, hub.root)
    assert [point.point for point in listed.points] == made.points
    assert [one.path for one in listed.unread] == [path]


def drops(hub: Hub) -> dict[str, tuple[str, ...]]:
    """What would go of each VM if one point were to stay."""
    names = Names.read(hub.host, hub.root)
    plans = retention_plan.of_vms(hub.host, names, names.vms, Policy(keep_last=1), AT, shares=True, brake=BRAKE)
    return {plan.vm: plan.plan.drops for plan in plans}


def test_other_vms_are_as_they_would_be_without_it(any_hub: Hub, bad_reads: BadReads) -> None:
    made, other = chain(any_hub), chain(any_hub, vm="web", instance=OTHER)
    bad_reads(any_hub.host, f"open {made.directory.name}")
    listed = catalogue.read(any_hub.host, any_hub.root)
    assert [point.point for point in listed.points if point.vm == "web"] == other.points
    assert [one.path for one in listed.unread] == [str(made.directory)]
    assert drops(any_hub) == {"pgtest1": (), "web": (other.points[0], other.points[1])}


@pytest.mark.parametrize(
    "lie",
    [manifest_without_disks, manifest_of_naive_time, manifest_with_a_disk_twice, manifest_of_a_newer_version],
    ids=lambda lie: lie.__name__,
)
def test_a_manifest_that_lies_is_that_of_one_point(
    hub: Hub, bad_reads: BadReads, lie: Callable[[Hub, Chain, BadReads], str]
) -> None:
    made, other = chain(hub), chain(hub, vm="web", instance=OTHER)
    path = lie(hub, made, bad_reads)
    listed = catalogue.read(hub.host, hub.root)
    assert [point.point for point in listed.points] == [*made.points[:2], *other.points]
    assert [(one.path, one.point) for one in listed.unread] == [(path, made.points[2])]
    assert drops(hub) == {"pgtest1": (), "web": (other.points[0], other.points[1])}


def test_that_a_point_is_of_a_newer_version_is_said(hub: Hub, bad_reads: BadReads) -> None:
    made = chain(hub)
    manifest_of_a_newer_version(hub, made, bad_reads)
    (one,) = catalogue.read(hub.host, hub.root).unread
    assert one.why == "manifest.json was written by a newer version of sendense (schema 99): upgrade sendense here"


def test_a_vms_directory_that_cannot_be_read_is_no_first_backup(any_hub: Hub, bad_reads: BadReads) -> None:
    made = chain(any_hub)
    bad_reads(any_hub.host, f"open {made.directory.name}")
    with pytest.raises(StateError, match=f"^{made.directory} on hub cannot be read: Input/output error"):
        find(any_hub, made)
    with pytest.raises(StateError, match=f"^{made.directory} on hub cannot be read"):
        vm_place.point_of_run(any_hub.host, str(made.directory), "20261123T170000Z-3f9a0c1e")


@pytest.mark.parametrize("rule", ["read .", "hide {}"], ids=["breaks off", "comes short"])
def test_a_repository_whose_listing_is_not_all_of_it_says_nothing(any_hub: Hub, bad_reads: BadReads, rule: str) -> None:
    made = chain(any_hub, 1)
    bad_reads(any_hub.host, rule.format(made.directory.name))
    with pytest.raises(StateError, match=f"^{any_hub.root} on hub cannot be read"):
        catalogue.read(any_hub.host, any_hub.root)
    with pytest.raises(StateError, match=f"^{any_hub.root} on hub cannot be read"):
        vm_place.find(any_hub.host, any_hub.root, INSTANCE)


def test_a_file_system_that_does_not_say_its_kind_hides_nothing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = chain(hub, 1)
    program = tmp_path / "bin" / "stat"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" != --file-system ] && exec {shutil.which("stat")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    listed = catalogue.read(hub.host, hub.root)
    assert [point.point for point in listed.points] == made.points
    assert (listed.unread, listed.skipped) == ((), ())


def test_what_another_run_deletes_meanwhile_is_no_damage(any_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain(any_hub)
    real, asked = any_hub.host.run, 0

    def run(argv: tuple[str, ...], **options: object) -> object:
        nonlocal asked
        done = real(argv, **options)
        asked += argv[0] == "sh"
        if asked == 1 and made.path(2).exists():
            dropped = made.path(2).rename(f"{made.path(2)}{layout.DROPPED}")
            (dropped / "manifest.json").unlink()
        return done

    monkeypatch.setattr(any_hub.host, "run", run)
    listed = catalogue.read(any_hub.host, any_hub.root)
    assert [point.point for point in listed.points] == made.points[:2]
    assert (listed.unread, listed.skipped) == ((), ())


def test_one_full_is_made_and_not_one_a_night_for_as_long_as_nobody_looks(hub: Hub) -> None:
    made = chain(hub)
    (made.path(1) / "manifest.json").write_bytes(b"{")
    with pytest.raises(NoParentError, match=made.points[1]):
        find(hub, made)
    made.add({2000: None}, {}, unread=(made.points[1],))
    assert find(hub, made).point == made.points[3]
    (made.path(2) / "manifest.json").write_bytes(b"{")
    with pytest.raises(NoParentError, match=made.points[2]):
        find(hub, made)


def renamed_by_hand(made: Chain) -> Path:
    return made.path(2).rename(made.path(2).with_name("the old one"))


def called_a_full(made: Chain) -> Path:
    content = manifest.parse((made.path(2) / layout.MANIFEST).read_bytes(), "it")
    (disk,) = content.disks
    lying = content.model_copy(update={"disks": (disk.model_copy(update={"parent": None}),)})
    (made.path(2) / layout.MANIFEST).write_bytes(manifest.dump(lying))
    return made.path(2)


@pytest.mark.parametrize(
    ("child", "kept"),
    [pytest.param(renamed_by_hand, 1, id="renamed by hand"), pytest.param(called_a_full, 2, id="called a full")],
)
def test_no_point_goes_that_an_image_lies_on_whatever_the_manifests_say(
    any_hub: Hub, child: Callable[[Chain], Path], kept: int
) -> None:
    made = chain(any_hub)
    made.add({2000: None}, {})
    path = child(made)
    with pytest.raises(SendenseError, match=f"{made.points[1]} is kept: .*{path.name}"):
        prune(any_hub, made, keep_last=kept)
    assert made.path(1).exists()
