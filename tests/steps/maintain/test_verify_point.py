from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner.base.errors import LockedError
from runner.base.units import MiB
from runner.hosts.host import Host, Lock
from steps.maintain.verify_point import PointDamagedError, VerifyPoint
from steps.points import stored
from steps.repository import catalogue, layout, manifest, verification_records
from steps.repository.saved_files import SavedFilesDifferError
from steps.repository.verification_records import Level
from steps.values.point_checked import PointChecked
from tests.chain import Chain
from tests.chains import full
from tests.hub import OTHER_RUN, Hub, read_only, tree
from tests.trails import acts, entries

pytestmark = pytest.mark.slow


def chain(hub: Hub) -> Chain:
    made = Chain(Path(hub.root))
    made.add({2000: None, 2001: None}, {2000: ((0, 3 * MiB, 1),), 2001: ((0, MiB, 5),)})
    made.add({2000: 0, 2001: 0}, {2000: ((MiB, MiB, 2), (2 * MiB, MiB, 0)), 2001: ()})
    return made


def verify(hub: Hub, point: str, level: Level = "chain") -> PointChecked:
    context = hub.context()
    with context.closing:
        return VerifyPoint().run(
            context, VerifyPoint.In(repository="main", point=point, level=level), VerifyPoint.Live()
        )


@pytest.mark.parametrize(("level", "compared"), [("chain", 8), ("sample", 8), ("metadata", 0)])
def test_a_whole_point_passes_and_it_is_recorded(hub: Hub, level: Level, compared: int) -> None:
    made = chain(hub)
    assert verify(hub, made.points[1], level).compared == compared
    found = verification_records.read(hub.host, str(made.path(1))).verified
    assert found is not None
    assert (found.passed, found.level, [disk.compared for disk in found.disks]) == (True, level, [compared // 2] * 2)


def test_over_ssh_as_well(any_hub: Hub) -> None:
    assert verify(any_hub, chain(any_hub).points[1]).compared == 8


def test_who_only_reads_a_repository_is_told_what_is_found_though_nothing_is_recorded(hub: Hub) -> None:
    made = chain(hub)
    before = tree(made.root)
    with read_only(hub.root):
        assert [verify(hub, point, "metadata").compared for point in made.points] == [0, 0]
        (warning,) = hub.warnings
        assert f"what is found is not recorded in {hub.root} on {hub.host.name}" in warning
    assert tree(made.root) == before
    (made.path(1) / "disk-2001.blake3").unlink()
    flip(made.image(0), 1)
    with read_only(hub.root), pytest.raises(PointDamagedError, match=r"disk 2000: 1 of 4 .*; disk 2001: "):
        verify(hub, made.points[1])


def hold_as_another(hub: Hub, made: Chain) -> Lock:
    return hub.host.lock(str(made.directory / layout.LOCK), f"host other, run {OTHER_RUN}")


def test_a_point_is_verified_while_another_run_holds_the_vm(any_hub: Hub) -> None:
    made = chain(any_hub)
    lock = hold_as_another(any_hub, made)
    try:
        assert verify(any_hub, made.points[1]).compared == 8
    finally:
        lock.release()


def test_what_looks_damaged_while_another_run_holds_the_vm_is_not_recorded(any_hub: Hub) -> None:
    made = chain(any_hub)
    made.image(0).unlink()
    lock = hold_as_another(any_hub, made)
    try:
        with pytest.raises(LockedError, match=rf"^VM 'pgtest1' .* is locked by another run: .*{OTHER_RUN}") as raised:
            verify(any_hub, made.points[1])
    finally:
        lock.release()
    assert raised.value.exit_code == 3
    assert verification_records.read(any_hub.host, str(made.path(1))).verified is None
    with pytest.raises(PointDamagedError):
        verify(any_hub, made.points[1])


def test_a_point_that_was_moved_just_while_it_was_looked_at_is_looked_at_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read = chain(hub), stored.read
    moving = ["once"]

    def read_beside_a_prune(host: Host, root: str, path: str, keys: Sequence[int] = ()) -> stored.StoredPoint:
        if moving:
            moving.pop()
            raise stored.ChainError(2000, path, "it is backed by another image than its manifest says")
        return read(host, root, path, keys)

    monkeypatch.setattr(stored, "read", read_beside_a_prune)
    assert verify(hub, made.points[1]).compared == 8
    hold_as_another(hub, made).release()


def flip(image: Path, byte: int) -> None:
    """Clusters full of `byte` hold another one from now on."""
    content = image.read_bytes()
    assert bytes([byte]) * 4096 in content
    image.write_bytes(content.replace(bytes([byte]) * 4096, bytes([99]) * 4096))


def test_damage_below_is_found_named_and_recorded(hub: Hub) -> None:
    made = chain(hub)
    flip(made.image(0), 1)
    with pytest.raises(
        PointDamagedError, match="disk 2000: 1 of 4 compared blocks of 1 MiB differ, the first at offset 0"
    ) as raised:
        verify(hub, made.points[1])
    assert raised.value.exit_code == 5
    found = verification_records.read(hub.host, str(made.path(1))).verified
    assert found is not None and not found.passed
    assert [disk.different for disk in found.disks] == [(0,), ()]


def test_every_block_that_differs_is_named(hub: Hub) -> None:
    made = chain(hub)
    flip(made.image(0), 1)
    with pytest.raises(PointDamagedError, match="3 of 4 compared blocks"):
        verify(hub, made.points[0])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("digests", "are not those that its manifest names"),
        ("parent", "which is gone or has no such disk"),
        ("image", "is gone, or not a regular file"),
        ("backing", "but is backed by"),
    ],
)
@pytest.mark.parametrize("level", ["metadata"])
def test_what_cannot_be_compared_is_a_problem(hub: Hub, spoil: str, why: str, level: Level) -> None:
    made = chain(hub)
    match spoil:
        case "digests":
            digests = made.path(1) / "disk-2000.blake3"
            digests.write_bytes(bytes(32) + digests.read_bytes()[32:])
        case "parent":
            (made.path(0) / "manifest.json").unlink()
        case "image":
            made.image(1).unlink()
        case "backing":
            made.image(1).write_bytes(made.image(0).read_bytes())
    with pytest.raises(PointDamagedError, match=why):
        verify(hub, made.points[1], level)


def test_blocks_that_come_after_the_last_difference_that_is_remembered_do_not_count_as_compared(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(hub)
    flip(made.image(0), 1)
    monkeypatch.setattr("steps.maintain.verify_point.DIFFERENCES", 2)
    with pytest.raises(PointDamagedError, match="2 of 2 compared blocks"):
        verify(hub, made.points[0])
    found = verification_records.read(hub.host, str(made.path(0))).verified
    assert found is not None
    assert [disk.compared for disk in found.disks] == [2, 4]


def good(hub: Hub) -> list[bool]:
    return [point.good for point in catalogue.read(hub.host, hub.root).points]


def test_what_was_found_wrong_stands_until_every_block_is_read_and_right(hub: Hub) -> None:
    made = chain(hub)
    whole = made.image(0, 2001).read_bytes()
    flip(made.image(0, 2001), 5)
    with pytest.raises(PointDamagedError):
        verify(hub, made.points[0])
    assert good(hub) == [False, False]
    made.image(0, 2001).write_bytes(whole)
    for level in ("metadata", "sample"):
        with pytest.raises(
            PointDamagedError, match=r"disk 2001: .*found on .* at level chain: only a verification at level chain"
        ):
            verify(hub, made.points[0], level)
        assert good(hub) == [False, False]
    verify(hub, made.points[0])
    assert good(hub) == [True, True]


def test_what_was_read_whole_is_not_forgotten_for_a_look_at_the_tables(hub: Hub) -> None:
    made = chain(hub)
    path = made.path(1) / "manifest.json"
    found = manifest.parse(path.read_bytes(), str(path))
    disks = tuple(disk.model_copy(update={"level": "sample"}) for disk in found.disks)
    path.write_bytes(manifest.dump(found.model_copy(update={"level": "sample", "disks": disks})))
    assert good(hub) == [True, False]
    verify(hub, made.points[1], "metadata")
    assert good(hub) == [True, False]
    verify(hub, made.points[1])
    assert good(hub) == [True, True]
    verify(hub, made.points[1], "metadata")
    assert good(hub) == [True, True]


def test_a_verification_is_in_the_log(hub: Hub) -> None:
    made = chain(hub)
    verify(hub, made.points[1])
    flip(made.image(0), 1)
    with pytest.raises(PointDamagedError):
        verify(hub, made.points[0], "sample")
    assert acts(hub.root) == [("verify", made.points[1]), ("verify", made.points[0])]
    assert [entry.text for entry in entries(hub.root)] == ["level chain: passed", "level sample: damaged"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.write_bytes(file.read_bytes().replace(b"secret", b"public")), "has SHA-256"),
        (Path.unlink, "is gone"),
    ],
    ids=["another", "gone"],
)
@pytest.mark.parametrize("name", [layout.VM_CONFIG, layout.VM_INVENTORY, "pgtest1.nvram"])
def test_a_saved_file_of_the_vm_that_is_not_what_was_saved_is_found(
    hub: Hub, tmp_path: Path, name: str, spoil: Callable[[Path], object], why: str
) -> None:
    point = full(hub, tmp_path / "raw").point
    assert verify(hub, str(point)).compared
    file = point / layout.VM_FILES / name
    file.write_bytes(file.read_bytes() + b"secret")
    spoil(file)
    with pytest.raises(SavedFilesDifferError, match=f"{name} {why}") as raised:
        verify(hub, str(point))
    assert raised.value.exit_code == 5
