"""An existing VM's disks are put back to a restore point over VDDK, by the command, in one process with the vCenter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.repository import layout, manifest, verification_records
from steps.repository.parent import mark_suspect
from steps.repository.verification_records import Suspicion
from steps.vsphere import marks
from tests.estate import VM, disk, of, read, restored
from tests.rollbacks import SIZES, Rolling, parts_that_differ, rolling
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

ANOTHER = "20261123T170000Z-3f9a0c1e"
"""The id of a run that is none of these."""


@pytest.fixture
def vm(tmp_path: Path, vddk: Vddk) -> Iterator[Rolling]:
    with rolling(tmp_path, vddk) as made:
        yield made


def test_all_is_as_it_was_and_only_what_differs_was_written_and_the_next_backup_is_right(vm: Rolling) -> None:
    now = vm.change(2000)
    assert vm.rollback() == 0
    then = vm.then()
    assert vm.live() == then
    assert vm.written() == {key: parts_that_differ(then[key], now[key]) for key in SIZES}
    assert not vm.is_marked
    assert set(vm.put_back()) == {of(vm.point, key).backing_uuid for key in SIZES}

    point, present = vm.points()
    assert {key: restored(present, key, vm.state / "raw") for key in SIZES} == now
    assert vm.protected() == {point.name, present.name}

    after = vm.change(seed=5)
    made = vm.estate.backup(vm.job)
    assert {key: restored(made, key, vm.state / "raw") for key in SIZES} == after
    assert [(of(made, key).parent, of(made, key).by) for key in SIZES] == [
        (present.name, "digests"),  # whatever tracking says of it
        (present.name, "cbt"),  # nothing of it differed, so nothing was written
    ]
    again = vm.estate.backup(vm.job)
    assert [of(again, key).by for key in SIZES] == ["cbt", "cbt"]


def test_one_disk_is_put_back_and_the_other_is_left_as_it_is(vm: Rolling) -> None:
    now = vm.change()
    assert vm.rollback("--disk", "2001") == 0
    assert vm.live() == {2000: now[2000], 2001: vm.then()[2001]}
    assert vm.written()[2000] == set()
    made = vm.estate.backup(vm.job)
    assert [of(made, key).by for key in SIZES] == ["cbt", "digests"]
    assert {key: restored(made, key, vm.state / "raw") for key in SIZES} == vm.live()


def forget_a_write(vm: Rolling) -> None:
    """One that tracking never hears of."""
    with vm.estate.vcenter.disk_file(VM, 2000).open("r+b") as file:
        file.seek(5 * MiB + 7)
        file.write(b"forgotten")


def test_where_tracking_forgot_a_write_all_is_right_all_the_same_and_the_write_is_kept(vm: Rolling) -> None:
    forget_a_write(vm)
    now = vm.live()
    assert vm.rollback() == 0
    assert vm.live() == vm.then()
    assert restored(vm.points()[-1], 2000, vm.state / "raw") == now[2000]


def test_trusted_tracking_that_forgot_a_write_is_caught_before_anything_is_written(
    vm: Rolling, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_a_write(vm)
    assert vm.rollback("--trust-tracking", "--discard-current", "--yes") == 5
    assert "changed block tracking missed a write to disk 2000 at offset 5242880" in capsys.readouterr().err
    assert vm.vddk.requests("w") == []
    assert not vm.is_marked


def test_trusted_tracking_is_read_where_it_changed_and_by_sample(
    tmp_path: Path, vddk: Vddk, capsys: pytest.CaptureFixture[str]
) -> None:
    size = 160 * MiB
    with rolling(tmp_path, vddk, disk(2000, "160 MiB", content={"pattern": 3}), sizes={2000: size}) as vm:
        vm.estate.vcenter.write(VM, 2000, 33 * MiB, b"changed")
        now = vm.live()[2000]
        assert vm.rollback("--trust-tracking") == 0
        then = vm.then()[2000]
        assert vm.live()[2000] == then
        assert vm.written()[2000] == parts_that_differ(then, now) == {33 * MiB}
        read = sum(length for _, _, length in vddk.requests("r"))
        # The block that changed, and 64 others to check tracking; the first again before it was written; as at
        # first in the end.
        assert read <= (1 + 64 + 1 + 1 + 64) * MiB
        said = capsys.readouterr().err
        assert "changed blocks and a sample verified" in said
        assert "every block" not in said.split("changed blocks and a sample verified")[-1]


def test_without_tracking_since_the_point_nobody_trusts_it(vm: Rolling, capsys: pytest.CaptureFixture[str]) -> None:
    vm.change()
    assert vm.rollback() == 0
    assert vm.rollback("--trust-tracking") == 1
    said = capsys.readouterr().err
    assert "disk 2000 was rolled back since" in said
    assert "without --trust-tracking every block is compared" in said
    assert len(vm.points()) == 2, "the present state was kept for nothing"


@contextmanager
def snapshotted(vm: Rolling) -> Iterator[None]:
    taken = vm.client.snapshot(vm.client.vm(f"DC1/vm/{VM}"), "before an update")
    yield
    vm.client.wait(taken.RemoveSnapshot_Task(False))


@contextmanager
def marked_by_another(vm: Rolling) -> Iterator[None]:
    mark = marks.Mark(run=ANOTHER, job="other", holder="node pid 1")
    vm.set({marks.ROLLBACK: mark.model_dump_json()})
    yield
    vm.set({marks.ROLLBACK: ""})


@contextmanager
def suspect(vm: Rolling) -> Iterator[None]:
    found = Suspicion(key=2000, why="tracking forgot a write", run=ANOTHER, at=datetime.now(UTC))
    mark_suspect(LocalHost(), str(vm.point.parent), vm.point.name, found)
    yield
    Path(layout.marks(str(vm.point)), verification_records.SUSPECT).unlink()


@contextmanager
def locked(vm: Rolling) -> Iterator[None]:
    held = LocalHost().lock(str(vm.point.parent / layout.LOCK), f"run {ANOTHER}", "token")
    yield
    held.release()


@contextmanager
def of_another_vcenter(vm: Rolling) -> Iterator[None]:
    """As in a copy of a whole vCenter, where its VMs and their disks have the uuids of the first."""
    path, made = vm.point / layout.MANIFEST, read(vm.point)
    before = path.read_bytes()
    other = made.vm.model_copy(update={"vcenter_uuid": "00000000-0000-4000-8000-0000000000aa"})
    path.write_bytes(manifest.dump(made.model_copy(update={"vm": other})))
    yield
    path.write_bytes(before)


@contextmanager
def gone(vm: Rolling) -> Iterator[None]:
    """The last one: nothing brings it back."""
    vm.estate.vcenter.unregister(VM)
    yield


REFUSED = (
    (Rolling.powered_on, 1, "it is powered on; power it off"),
    (snapshotted, 1, "it has snapshots (before an update)"),
    (marked_by_another, 3, f"run {ANOTHER} of other on node pid 1; it is half rolled back"),
    (suspect, 2, "is not trusted: disk 2000"),
    (locked, 3, f"is locked by another run: run {ANOTHER}"),
    (of_another_vcenter, 1, "of another vCenter, 00000000"),
    (gone, 1, "is not in vCenter prod"),
)


def test_what_keeps_a_vm_from_being_rolled_back_is_one_sentence_before_anything_is_changed(
    vm: Rolling, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which disks do not fit is seen in `tests/steps/rollback/test_pairing.py`."""
    for make, code, says in REFUSED:
        with make(vm):
            capsys.readouterr()
            assert vm.rollback() == code, make
            (line,) = [line for line in capsys.readouterr().err.splitlines() if says in line]
            assert line.startswith("sendense: ")
            assert vm.points() == [vm.point]
            assert vm.protected() == set()
            assert make is gone or vm.put_back() == {}
    assert vm.vddk.requests("w") == []


def test_disks_that_do_not_fit_do_not_matter_where_others_are_named(vm: Rolling) -> None:
    vm.change(2000)
    vm.estate.vcenter.grow(VM, 2001, 4 * MiB)
    assert vm.rollback() == 1
    assert vm.rollback("--disk", "2000") == 0
    assert vm.live()[2000] == vm.then()[2000]


def test_the_present_state_is_lost_only_where_that_is_agreed_to(
    vm: Rolling, capsys: pytest.CaptureFixture[str]
) -> None:
    now = vm.change()
    assert vm.rollback("--discard-current") == 2
    assert "--yes" in capsys.readouterr().err
    assert vm.live() == now
    assert vm.rollback("--discard-current", "--yes") == 0
    assert vm.live() == vm.then()
    assert vm.points() == [vm.point]


def test_a_dry_run_shows_what_would_be_done_and_changes_nothing(
    vm: Rolling, capsys: pytest.CaptureFixture[str]
) -> None:
    now = vm.change()
    assert vm.rollback("--dry-run") == 0
    said = capsys.readouterr().out
    assert "2 disks of 15.0 MiB become what they were at" in said
    assert "nightly makes a restore point of it first" in said
    assert (vm.live(), vm.points(), vm.protected(), vm.put_back()) == (now, [vm.point], set(), {})


def write(vm: Rolling, name: str, **document: Any) -> Path:
    path = vm.estate.directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "include": "site.yaml", "name": name, **document}, sort_keys=False))
    return path


def test_the_present_state_of_a_vm_of_a_set_is_kept_by_its_child_of_the_set(vm: Rolling) -> None:
    own = yaml.safe_load(vm.job.read_text())["vars"]
    variables = {name: value for name, value in own.items() if name not in ("vm", "vcenter")}
    rules = {"from": "vcenters.prod", "any": [{"name": VM}]}
    vm.job = write(vm, "gold", template="backup", select=rules, vars=variables)
    assert vm.sendense("run", "--parallel", "1") == 0
    point = vm.points()[-1]
    before = vm.change()
    assert vm.rollback(point=point.name) == 0
    assert vm.live() != before
    assert read(vm.points()[-1]).job == read(point).job == f"gold/{VM}-{read(point).vm.instance_uuid}"


def test_without_the_vms_own_job_a_standard_backup_keeps_its_present_state(vm: Rolling) -> None:
    own = yaml.safe_load(vm.job.read_text())["vars"]
    variables = {name: own[name] for name in ("transport", "vddk_libdir", "vddk_plugin")}
    vm.job = write(vm, "other", vars=variables, steps=[{"id": "cleanup", "uses": "cleanup"}])
    before = vm.change()
    assert vm.rollback() == 0
    assert vm.live() == vm.then()
    kept = vm.points()[-1]
    assert {key: restored(kept, key, vm.state / "raw") for key in SIZES} == before
    assert read(kept).job.startswith(f"backup-{VM}-")


def test_what_the_account_lacks_is_named_at_once_and_nothing_is_changed(
    tmp_path: Path, vddk: Vddk, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = [
        "VirtualMachine.Config.AdvancedConfig",
        "VirtualMachine.Provisioning.DiskRandomAccess",
        "Global.EnableMethods",
    ]
    with rolling(tmp_path, vddk, denied=lacks) as vm:
        assert vm.rollback() == 1
        said = capsys.readouterr().err
        assert all(privilege in said for privilege in lacks)
        assert (vm.points(), vm.put_back(), vm.protected()) == ([vm.point], {}, set())
