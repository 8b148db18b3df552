"""A VM whose disks were compared gets what it still lacks, then its name; until then nothing can be taken for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from steps.restore.create_vm import CreateVm, CreateVmIn
from steps.restore.finalize_vm import FinalizeVm, FinalizeVmIn, NotAllComparedError, WrittenSinceError
from steps.values.created_vm import CreatedVm
from steps.values.planned_vm import PlannedVm
from steps.values.restored_vm import RestoredVm
from steps.values.vm_disk import VmDiskChecked
from steps.vsphere import attached, attributes, cbt, marks, power, properties, tags, vm_inventory
from steps.vsphere import machine as machines
from steps.vsphere.errors import VSphereError
from steps.vsphere.find import find
from steps.vsphere.power import NotPoweredOn
from steps.vsphere.vmomi import vim
from tests.new_vms import plan, point_in, saved_of
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters

NVRAM = bytes(range(256)) * 40


@dataclass
class Unfinished:
    lab: Lab
    plan: PlannedVm
    vm: CreatedVm

    @property
    def compared(self) -> tuple[VmDiskChecked, ...]:
        return tuple(
            VmDiskChecked(
                disk_key=one.key,
                file=one.file,
                blocks=1,
                read=1,
                read_by="https",
                at=datetime(2026, 11, 30, tzinfo=UTC),
            )
            for one in self.vm.disks
        )

    def inputs(self, **more: Any) -> FinalizeVmIn:
        return FinalizeVmIn(**{"plan": self.plan, "vm": self.vm, "disks": self.compared, **more})

    def finish(self, **more: Any) -> RestoredVm:
        return FinalizeVm().run(self.lab.context("finalize"), self.inputs(**more), FinalizeVm.Live())

    def check(self, recorded: RestoredVm | None = None, **more: Any) -> RestoredVm | None:
        return FinalizeVm().check(self.lab.context("finalize"), self.inputs(**more), recorded)

    def read(self, *paths: str) -> dict[str, Any]:
        return properties.read(self.lab.client, vim.VirtualMachine, self.vm.moref, paths, "reading")


Makes = Callable[..., Unfinished]


@pytest.fixture
def unfinished(start_vcenter: Starts, tmp_path: Path) -> Makes:
    def make(old: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **inventory: Any) -> Unfinished:
        lab = start_vcenter(old or machine(powered_on=False), **inventory)
        saved, path = saved_of(lab, "pgtest1")
        known = vm_inventory.of_vm(lab.client, find(lab.client, "pgtest1"))
        point = point_in(tmp_path, {**saved, **(config or {})}, path, nvram=NVRAM, inventory=known)
        planned = plan(lab, point, name="back")
        made = CreateVm().run(lab.context("create"), CreateVmIn(plan=planned), CreateVm.Live())
        return Unfinished(lab, planned, made)

    return make


def test_it_gets_its_name_and_loses_the_mark(unfinished: Makes) -> None:
    made = unfinished()
    assert "restoring" in made.read("name")["name"]
    restored = made.finish()
    assert made.read("name")["name"] == "back"
    assert marks.of(made.lab.client, made.vm.moref, marks.RESTORE) is None
    assert (restored.name, restored.powered_on) == ("back", False)
    assert made.check(restored) == restored
    assert made.check() is not None


def test_a_vm_that_lost_only_its_mark_is_not_called_restored(unfinished: Makes) -> None:
    made = unfinished()
    marks.remove(made.lab.client, made.vm.moref, marks.RESTORE)
    assert made.check() is None
    assert not FinalizeVm().committed(made.lab.context("finalize"), made.inputs())
    with pytest.raises(VSphereError, match="has lost its mark: somebody changed it in vSphere"):
        made.finish()
    assert "restoring" in made.read("name")["name"]


def test_nvram_lies_beside_the_vmx_and_reads_as_it_was_saved(unfinished: Makes) -> None:
    made = unfinished(machine(firmware="efi", powered_on=False))
    made.finish()
    vmx = machines.vmx_file(made.lab.client, made.vm.moref)
    (found,) = [one for one in made.lab.scratch.rglob("*.nvram") if one.stem == Path(vmx.path).stem]
    assert found.read_bytes() == NVRAM


def test_without_every_disk_compared_nothing_is_finished(unfinished: Makes) -> None:
    made = unfinished(machine(disks=[disk(), disk(2001, 1)], powered_on=False))
    other = made.compared[1].model_copy(update={"file": "[ds1] elsewhere/x.vmdk"})
    for disks in ((), made.compared[:1], (made.compared[0], other)):
        with pytest.raises(NotAllComparedError, match="does not get its name"):
            made.finish(disks=disks)
    assert "restoring" in made.read("name")["name"]


def test_a_disk_that_was_written_after_it_was_compared_is_compared_again(unfinished: Makes) -> None:
    """The VM was switched on meanwhile, and is off again."""
    made = unfinished()
    (key,) = (one.new_key for one in made.vm.disks)

    def content() -> str:
        return attached.look(made.lab.client, made.vm.moref, key, marks.RESTORE).content_id

    compared = made.compared[0].model_copy(update={"content_id": content()})
    assert compared.content_id
    power.switch_on(made.lab.client, made.vm.moref, made.vm.name, made.vm.datacenter)
    made.lab.client.call("off", lambda session: session.object(vim.VirtualMachine, made.vm.moref).PowerOffVM_Task())
    with pytest.raises(WrittenSinceError, match="written to Hard disk 1 after it was compared") as refused:
        made.finish(disks=(compared,))
    assert refused.value.invalidates == ("disks",)
    assert "restoring" in made.read("name")["name"]
    again = compared.model_copy(update={"content_id": content()})
    assert made.finish(disks=(again,)).name == "back"


def test_the_boot_order_names_the_new_keys(unfinished: Makes) -> None:
    order = [
        {"_type": "BootableEthernetDevice", "deviceKey": 4000},
        {"_type": "BootableDiskDevice", "deviceKey": 2001},
        {"_type": "BootableCdromDevice"},
    ]
    old = machine(
        disks=[disk(), disk(2001, 1)],
        networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}],
        powered_on=False,
    )
    made = unfinished(old, {"bootOptions": {"_type": "BootOptions", "bootOrder": order}})
    made.finish()
    found = made.read("config.bootOptions")["config.bootOptions"].bootOrder
    second = next(one for one in made.vm.disks if one.key == 2001)
    assert [type(one).__name__.rpartition(".")[2] for one in found] == [one["_type"] for one in order]
    assert found[1].deviceKey == second.new_key


@pytest.mark.parametrize("was", [True, False], ids=["on", "off"])
def test_tracking_is_as_it_was(unfinished: Makes, was: bool) -> None:
    made = unfinished(machine(change_tracking=was, powered_on=False))
    assert not cbt.is_on(made.lab.client, made.vm.moref)
    made.finish()
    assert cbt.is_on(made.lab.client, made.vm.moref) == was


def test_a_name_that_was_taken_meanwhile_is_left_alone(unfinished: Makes) -> None:
    made = unfinished()
    other = made.plan.model_copy(update={"machine": made.plan.machine.model_copy(update={"name": "pgtest1"})})
    with pytest.raises(VSphereError, match="pgtest1"):
        made.finish(plan=other)
    assert marks.of(made.lab.client, made.vm.moref, marks.RESTORE) == made.vm.mark
    assert "restoring" in made.read("name")["name"]


def test_a_vm_that_somebody_switched_on_is_not_finished(unfinished: Makes) -> None:
    made = unfinished()
    power.switch_on(made.lab.client, made.vm.moref, made.vm.name, made.vm.datacenter)
    with pytest.raises(VSphereError, match="is powered on, before it was finished"):
        made.finish()


def test_it_is_switched_on_if_asked_and_a_second_run_does_nothing_else(unfinished: Makes) -> None:
    made = unfinished()
    assert made.finish(power_on=True).powered_on
    assert machines.powered_on(made.lab.client, made.vm.moref)
    assert made.finish(power_on=True).powered_on


def test_a_crash_before_the_power_on_leaves_a_finished_vm_to_switch_on(
    unfinished: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = unfinished()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(power, "switch_on", dies)
        made.finish(power_on=True)
    assert made.check(power_on=True) is None
    assert FinalizeVm().committed(made.lab.context("finalize"), made.inputs(power_on=True))
    assert made.finish(power_on=True).powered_on


def test_attributes_and_tags_come_back(unfinished: Makes) -> None:
    old = machine(attributes={"owner": "dba", "cost centre": "42"}, tags=["backup/gold", "env/prod"], powered_on=False)
    made = unfinished(old)
    assert made.finish().warnings == ()
    assert attributes.of_vm(made.lab.client, made.vm.moref) == {"owner": "dba", "cost centre": "42"}
    assert tags.of_vm(made.lab.client, made.vm.moref) == ("backup/gold", "env/prod")


@pytest.mark.parametrize("rest", ["api", "rest"])
def test_both_rest_interfaces_take_a_tag_twice(unfinished: Makes, rest: str) -> None:
    made = unfinished(machine(tags=["backup/gold"], powered_on=False), rest=rest)
    for _ in range(2):
        tags.attach(made.lab.client, made.vm.moref, ["backup/gold"])
    assert tags.of_vm(made.lab.client, made.vm.moref) == ("backup/gold",)


def test_a_tag_that_cannot_be_attached_is_a_warning_and_the_vm_is_finished(unfinished: Makes) -> None:
    made = unfinished(machine(tags=["backup/gold"], powered_on=False))
    made.lab.simulator.fault("rest-forbidden", 9)
    restored = made.finish()
    (told,) = [text for text in restored.warnings if "tags" in text]
    assert told.startswith("tags were not attached: ")
    assert made.read("name")["name"] == "back"
    assert told in made.lab.warnings


def test_a_question_that_vsphere_asks_is_said_and_the_next_run_goes_on_from_there(unfinished: Makes) -> None:
    made = unfinished()
    made.lab.simulator.fault("power-on-question", text="Out of space. Retry?")
    with pytest.raises(NotPoweredOn, match=r"waits for an answer in vSphere: Out of space. Retry\? \(.*Continue"):
        made.finish(power_on=True)
    assert made.read("name")["name"] == "back"
    answer(made, "Continue")
    assert made.finish(power_on=True).powered_on


def answer(made: Unfinished, label: str) -> None:
    """As a person does in vSphere."""
    question = made.read("runtime.question")["runtime.question"]
    key = next(choice.key for choice in question.choice.choiceInfo if choice.label == label)

    def work(session: Any) -> None:
        session.object(vim.VirtualMachine, made.vm.moref).AnswerVM(questionId=question.id, answerChoice=key)

    made.lab.client.call("answering", work)


def test_a_vm_that_drs_leaves_off_is_not_called_on(unfinished: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "DEADLINE", 0.3)
    made = unfinished()
    made.lab.simulator.fault("power-on-late", seconds=0)
    with pytest.raises(NotPoweredOn, match="is not on after"):
        made.finish(power_on=True)


def test_a_vm_that_comes_on_late_is_waited_for(unfinished: Makes) -> None:
    made = unfinished()
    made.lab.simulator.fault("power-on-late", seconds=0.4)
    assert made.finish(power_on=True).powered_on


def test_a_kept_address_that_vcenter_replaced_is_told(unfinished: Makes) -> None:
    made = unfinished(machine(networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}], powered_on=False))
    kept = tuple(
        one.model_copy(update={"properties": {**one.properties, "macAddress": "00:50:56:9a:10:01"}})
        if one.type == "VirtualVmxnet3"
        else one
        for one in made.plan.machine.devices
    )
    planned = made.plan.model_copy(update={"machine": made.plan.machine.model_copy(update={"devices": kept})})
    assert any("instead of 00:50:56:9a:10:01" in text for text in made.finish(plan=planned).warnings)


def test_a_kept_uuid_that_vcenter_replaced_is_told(unfinished: Makes) -> None:
    made = unfinished()
    settings = {
        **made.plan.machine.settings,
        "instanceUuid": "42" * 16,
        "uuid": made.read("config.uuid")["config.uuid"],
    }
    planned = made.plan.model_copy(update={"machine": made.plan.machine.model_copy(update={"settings": settings})})
    (told,) = made.finish(plan=planned).warnings
    assert told == (
        f"back has the instance uuid {made.vm.instance_uuid} instead of {'42' * 16}, which vCenter did not accept"
    )


def test_what_keeps_a_vm_from_starting_is_said(start_vcenter: Starts) -> None:
    reserved = {"network": "VM Network", "mac": "00:50:56:9a:10:01", "address-type": "manual"}
    lab = start_vcenter(machine(networks=[reserved], powered_on=False))
    with pytest.raises(VSphereError, match="reserved MACs"):
        power.switch_on(lab.client, find(lab.client, "pgtest1"), "pgtest1", "DC1")
