"""A VM with empty disks, made once whatever ends the run, and found again by its mark and name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.new_vm import unfinished
from steps.new_vm.unfinished import NotOursError, interim_name
from steps.restore.create_vm import CreateVm, CreateVmIn
from steps.values.created_vm import CreatedVm
from steps.values.planned_vm import PlannedVm
from steps.vsphere import creation, marks
from steps.vsphere import machine as machines
from steps.vsphere.errors import SnapshotRefused, VSphereError
from steps.vsphere.vmomi import vim
from tests.new_vms import plan, point_in, saved_of
from tests.vcenter import RUN, Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters
MiB = 1 << 20


def planned(lab: Lab, directory: Path, **options: object) -> PlannedVm:
    return plan(lab, point_in(directory, *saved_of(lab, "pgtest1")), transport="vddk", **{"name": "back", **options})


def made(lab: Lab, plan: PlannedVm, run: str = RUN) -> CreatedVm:
    return CreateVm().run(lab.context("created", run=run), CreateVmIn(plan=plan), CreateVm.Live())


def checked(lab: Lab, plan: PlannedVm, recorded: CreatedVm | None = None) -> CreatedVm | None:
    return CreateVm().check(lab.context("created"), CreateVmIn(plan=plan), recorded)


def undo(lab: Lab, plan: PlannedVm, out: CreatedVm, run: str = RUN) -> None:
    CreateVm().undo(lab.context("created", run=run), CreateVmIn(plan=plan), out)


def names(lab: Lab) -> list[str]:
    client = lab.client
    return sorted(one.name for one in marks.find(client, marks.RESTORE))


def test_it_has_the_mark_an_interim_name_and_each_disk_in_its_place(start_vcenter: Starts, tmp_path: Path) -> None:
    disks = [disk(2000 + unit, unit, size=f"{unit + 1} MiB") for unit in range(3)]
    # The server gives keys by units: so they are other ones than before.
    disks[2] |= {"key": 2000, "unit": 5}
    disks[0] |= {"key": 2002, "unit": 0}
    lab = start_vcenter(machine(disks=disks))
    found = planned(lab, tmp_path)
    vm = made(lab, found)
    assert vm.name == f"back (restoring {RUN})"
    (marked,) = marks.find(lab.client, marks.RESTORE)
    assert (marked.moref, marked.name, marked.value) == (vm.moref, vm.name, vm.mark)
    assert marked.mark is not None
    assert (marked.mark.run, marked.mark.point) == (RUN, found.source)
    assert [(one.key, one.capacity) for one in vm.disks] == [(2000, 3 * MiB), (2001, 2 * MiB), (2002, 1 * MiB)]
    assert len({one.backing_uuid for one in vm.disks}) == len({one.file for one in vm.disks}) == 3


def test_what_was_made_and_not_recorded_is_found_and_not_made_again(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    found = planned(lab, tmp_path)
    assert checked(lab, found) is None
    vm = made(lab, found)
    assert checked(lab, found) == vm
    assert checked(lab, found, vm) == vm
    assert made(lab, found) == vm
    assert lab.simulator.calls["CreateVM_Task"] == 1


def test_what_is_discarded_is_gone_and_another_runs_vm_is_not_touched(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    found, other = planned(lab, tmp_path), RUN.replace("3f9a", "4f9a")
    vm, others = made(lab, found), made(lab, found, run=other)
    with pytest.raises(NotOursError, match="it may be somebody's"):
        undo(lab, found, others)
    leftover = CreateVm().leftover(lab.context("created"), CreateVmIn(plan=found))
    assert leftover is not None
    assert leftover.moref == vm.moref
    undo(lab, found, leftover)
    assert names(lab) == [others.name]
    undo(lab, found, vm)
    assert checked(lab, found, vm) is None


def test_a_vm_that_lost_its_mark_or_its_name_is_somebodys(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    found = planned(lab, tmp_path)
    vm = made(lab, found)
    marks.put(lab.client, vm.moref, marks.RESTORE, "")
    with pytest.raises(NotOursError):
        undo(lab, found, vm)
    assert checked(lab, found, vm) == vm, "finalize-vm removes the mark"


def test_one_that_was_registered_again_goes_and_a_copy_of_it_stays(start_vcenter: Starts, tmp_path: Path) -> None:
    """Its moref is another one then; a copy has its mark, but not its uuid."""
    lab = start_vcenter(machine())
    found = planned(lab, tmp_path)
    vm = made(lab, found)
    with pytest.raises(NotOursError, match="it may be somebody's"):
        undo(lab, found, vm.model_copy(update={"moref": "vm-4711", "instance_uuid": "another"}))
    assert names(lab) == [vm.name]
    undo(lab, found, vm.model_copy(update={"moref": "vm-4711"}))
    assert names(lab) == []


def test_one_that_somebody_switched_on_is_not_removed(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    found = planned(lab, tmp_path)
    vm = made(lab, found)
    lab.client.call("power", lambda session: session.object(vim.VirtualMachine, vm.moref).PowerOnVM_Task())
    with pytest.raises(VSphereError, match="is powered on, so it is not removed"):
        undo(lab, found, vm)
    assert names(lab) == [vm.name]


def test_it_is_not_backed_up_and_of_a_copy_it_is_said_what_to_do(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    vm = made(lab, planned(lab, tmp_path))
    with pytest.raises(SnapshotRefused, match=rf"it is half restored by run {RUN} .*--abandon RUN"):
        machines.refuse_unless_ready(lab.client, vm.moref)
    lab.client.call("rename", lambda session: session.object(vim.VirtualMachine, vm.moref).Rename_Task("copy"))
    with pytest.raises(SnapshotRefused, match=r"as of a copy: .*delete its advanced setting sendense\.restore"):
        machines.refuse_unless_ready(lab.client, vm.moref)


@pytest.mark.parametrize("name", ["x", "n" * 79, "a/b" * 26, "ü" * 60], ids=["short", "long", "slashes", "umlauts"])
def test_an_interim_name_fits_vsphere_and_has_the_runs_id_whole(name: str) -> None:
    found = interim_name(name, RUN)
    assert found.endswith(f" (restoring {RUN})")
    assert len(found.replace("/", "%2f")) <= 79
    assert unfinished.is_of(
        marks.Marked("vm-1", found, marks.Mark(run=RUN, job="j", holder="h").model_dump_json()), RUN
    )


def test_a_disk_of_another_size_is_not_taken_for_the_one_that_was_made(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine())
    found = planned(lab, tmp_path)
    vm = made(lab, found)
    grown = found.machine.disks[0].model_copy(update={"capacity": 2 * MiB})
    with pytest.raises(VSphereError, match="1048576 bytes instead of 2097152"):
        creation.made_disks(lab.client, vm.moref, found.machine.model_copy(update={"disks": (grown,)}))
    moved = found.machine.disks[0].model_copy(update={"unit": 3})
    with pytest.raises(VSphereError, match="has no disk where Hard disk 1 belongs"):
        creation.made_disks(lab.client, vm.moref, found.machine.model_copy(update={"disks": (moved,)}))
