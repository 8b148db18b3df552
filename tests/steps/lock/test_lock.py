"""What root's timer locks, for how long, and what it tells of that."""

from __future__ import annotations

from runner.base.units import DAY
from steps.repository import layout
from tests.locked_repository import VM, LockedRepository, flags, name_of


def test_a_point_is_immutable_with_all_that_is_in_it(repository: LockedRepository) -> None:
    point = repository.point(0)
    assert repository.run() == []
    assert {str(path.relative_to(point)): flags(path) for path in (point, *point.rglob("*"))} == {
        ".": "i",
        "manifest.json": "i",
        "disk-2000.qcow2": "i",
        "disk-2000.blake3": "i",
        "vm": "i",
        "vm/config.json": "i",
    }
    assert flags(repository.root / layout.MARKER) == "i"
    assert list(repository.told()) == [point.name]


def test_after_its_lock_a_point_is_the_accounts_again_and_not_locked_anew(repository: LockedRepository) -> None:
    point = repository.point(0)
    repository.run()
    repository.pass_time(30 * DAY - 1)
    repository.run()
    assert flags(point) == "i"
    repository.pass_time(1)
    assert repository.run() == repository.run() == []
    assert [flags(path) for path in (point, *point.rglob("*"))] == [""] * 6
    assert repository.told() == {}


def test_what_a_locked_point_stands_on_is_locked_as_long(on_ext4: LockedRepository) -> None:
    on_ext4.point(0)
    on_ext4.run()
    on_ext4.pass_time(10 * DAY)
    on_ext4.point(1, on=0)
    on_ext4.run()
    on_ext4.pass_time(25 * DAY)
    on_ext4.point(2)
    on_ext4.run()
    assert on_ext4.states() == {name_of(0): "locked", name_of(1): "locked", name_of(2): "locked"}
    on_ext4.pass_time(5 * DAY)
    on_ext4.run()
    assert on_ext4.states() == {name_of(0): "free", name_of(1): "free", name_of(2): "locked"}
    on_ext4.point(3, on=1)
    on_ext4.run()
    assert set(on_ext4.states().values()) == {"locked"}
    assert flags(on_ext4.root / VM / name_of(0)) == "i"
