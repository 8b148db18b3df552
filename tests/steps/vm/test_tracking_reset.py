"""A snapshot of a VM whose changed block tracking leaves a disk out: what resetting it does to the VM."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from steps.backup.snapshot import Snapshot
from steps.repository import reset_record
from steps.repository.reset_record import TrackingReset
from steps.values.discovered import Discovered
from steps.vsphere import cbt, snapshots
from steps.vsphere.owner import reserved
from tests.vcenter import NAME, RUN, Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters

LEFT_OUT = machine(disks=[disk(tracking="missing-until-reset")], change_tracking=True)


def left_out(lab: Lab, tmp_path: Path) -> Discovered:
    """A VM that is tracked without its only disk, reserved."""
    found = lab.discover()
    place = reserved(lab.context(), found.vm.instance_uuid)
    place.host, place.lock = lab.host, str(tmp_path / "vm" / ".lock")
    (tmp_path / "vm").mkdir()
    return found


def test_a_reset_stuns_the_vm_between_off_and_on_and_leaves_one_snapshot(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(LEFT_OUT)
    taken = lab.snapshot(left_out(lab, tmp_path), cbt="reset")
    assert taken.disks[0].change_id is not None
    assert lab.simulator.snapshots("pgtest1") == [NAME]
    assert lab.simulator.calls["CreateSnapshot_Task"] == 3


def test_a_vm_that_is_off_takes_no_stun(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter({**LEFT_OUT, "powered_on": False})
    assert lab.snapshot(left_out(lab, tmp_path), cbt="reset").disks[0].change_id is not None
    assert lab.simulator.calls["CreateSnapshot_Task"] == 2


def test_tracking_is_not_reset_under_a_snapshot_of_somebody(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(LEFT_OUT)
    found = left_out(lab, tmp_path)
    snapshots.create(lab.client, found.vm.moref, "before the upgrade", "", quiesce=False)
    taken = lab.snapshot(found, cbt="reset")
    assert "it is not reset while the VM has snapshots (before the upgrade): remove them first" in lab.warnings[-1]
    assert taken.disks[0].untracked == "missing"
    assert lab.simulator.calls["ReconfigVM_Task"] == 0


def test_what_has_just_been_switched_on_is_not_reset(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(disks=[disk(tracking="missing")]))
    taken = lab.snapshot(left_out(lab, tmp_path), cbt="reset")
    assert taken.disks[0].untracked == "missing"
    assert lab.simulator.calls["ReconfigVM_Task"] == 1


def test_without_a_place_to_remember_it_tracking_is_not_reset(start_vcenter: Starts) -> None:
    lab = start_vcenter(LEFT_OUT)
    lab.snapshot(lab.discover(), cbt="reset")
    assert "takes a reserve step before this one" in lab.warnings[-1]
    assert lab.simulator.calls["ReconfigVM_Task"] == 0


def test_a_reset_that_a_kill_interrupted_is_ended_and_its_snapshot_goes(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(LEFT_OUT)
    found = left_out(lab, tmp_path)
    uuids = (found.disks[0].backing_uuid,)
    reset_record.write(lab.host, str(tmp_path / "vm"), TrackingReset(run=RUN, at=datetime.now(UTC), disks=uuids))
    cbt.disable(lab.client, found.vm.moref)
    snapshots.create(lab.client, found.vm.moref, f"{NAME}-reset", "", quiesce=False)
    assert Snapshot().leftover(lab.context(), lab.snapshot_in(found)) is not None
    taken = lab.snapshot(found, cbt="reset")
    assert taken.disks[0].change_id is not None
    assert lab.simulator.snapshots("pgtest1") == [NAME]
