"""All of a repository by one look: what each VM's nodes would have been told of it one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from runner.hosts.lock_file import read_lock
from runner.hosts.remembering import remembering
from runner.step.context import Answers
from steps.repository import beforehand, identities, layout, reader, vm_lock, vm_place, whole
from steps.repository.listing import UnreadableError
from steps.repository.whole import Whole
from tests.chain import many_of

VMS = {f"{number:08x}-0000-4000-8000-000000000000": f"vm{number}" for number in range(1, 5)}
FIRST, SECOND = list(VMS)[:2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    many_of(made, VMS, 3)
    return made


def directory(root: Path, uuid: str) -> Path:
    return root / layout.vm_directory(VMS[uuid], uuid)


def taken(root: Path) -> tuple[Whole, Answers]:
    answers: Answers = {}
    found = whole.take(LocalHost(), str(root))
    beforehand.put(answers, LocalHost(), str(root), found)
    return found, answers


def test_what_is_read_at_once_is_what_is_read_of_each(root: Path) -> None:
    host = LocalHost()
    _, answers = taken(root)
    ahead = remembering(host, answers)
    for uuid in VMS:
        path = str(directory(root, uuid))
        assert reader.read(ahead, path) == reader.read(host, path)
        assert vm_place.find(ahead, str(root), uuid.upper()) == path
    assert vm_place.find(ahead, str(root), "99999999-0000-4000-8000-000000000000") is None
    assert reader.read(ahead, str(root / "none-99999999-0000-4000-8000-000000000000")).entries == ()


def test_it_is_of_one_moment_and_no_vm_asks_again(root: Path) -> None:
    _, answers = taken(root)
    path = directory(root, FIRST)
    path.rename(root / "moved")
    assert len(reader.read(remembering(LocalHost(), answers), str(path)).entries) == 3


def test_what_cannot_be_read_is_known_of_its_vm_and_of_no_other(root: Path) -> None:
    damaged = next(directory(root, FIRST).glob("*/manifest.json"))
    damaged.write_bytes(b"{")
    found, _ = taken(root)
    assert [one.point for one in found.vm(directory(root, FIRST).name).unread] == [damaged.parent.name]
    assert not found.vm(directory(root, SECOND).name).unread


def test_two_directories_of_one_vm_are_refused_as_ever(root: Path) -> None:
    (root / layout.vm_directory("again", FIRST)).mkdir()
    _, answers = taken(root)
    with pytest.raises(vm_place.TwoDirectoriesError):
        vm_place.find(remembering(LocalHost(), answers), str(root), FIRST)


def test_an_adoption_that_cannot_be_read_may_be_of_any_vm(root: Path) -> None:
    (directory(root, FIRST) / layout.IDENTITIES).write_bytes(b"{")
    found, answers = taken(root)
    host = remembering(LocalHost(), answers)
    assert vm_place.find(host, str(root), SECOND) == str(directory(root, SECOND))
    with pytest.raises(UnreadableError):
        found.adopted_as("99999999-0000-4000-8000-000000000000")
    assert identities.current_uuid(()) is None


def test_who_holds_a_vm_is_read_with_it(root: Path) -> None:
    lock = directory(root, FIRST) / layout.LOCK
    lock.write_bytes(b"")
    found, answers = taken(root)
    assert found.lock(lock.parent.name) == read_lock(b"")
    assert vm_lock.holder(remembering(LocalHost(), answers), str(lock.parent)) is None


def test_what_one_set_made_of_other_vms_is_found_by_its_name(root: Path) -> None:
    found, _ = taken(root)
    (one,) = found.kept({FIRST, SECOND}, "vm3-")
    assert (one.item, one.name, one.count, one.job) == (list(VMS)[2], "vm3", 3, "vm3-nightly")
    assert list(found.kept(set(VMS), "")) == []


def test_of_each_vm_the_newest_good_point_is_told_by_its_moment(root: Path) -> None:
    host = LocalHost()
    for damaged in sorted(directory(root, FIRST).glob("*/manifest.json"))[1:]:
        damaged.unlink()
    found = whole.take(host, str(root)).newest_good()
    for uuid in VMS:
        good = reader.read(host, str(directory(root, uuid))).chains.newest_good
        assert found.get(uuid) == (None if good is None else good.moment)
    assert found[SECOND] > found[FIRST]
