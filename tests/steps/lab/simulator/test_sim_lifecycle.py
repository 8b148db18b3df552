"""A VM is turned on, asked, renamed, unregistered and destroyed; MACs; custom attributes; VMware's library writes its disks."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from tests.eventually import eventually
from tests.simulation import FLAT, Client, machine
from tests.vm_specs import cdrom, change, config_spec, controller, network_card
from tests.vm_specs import disk as new_disk

device: Any = vim.vm.device
POOL = "DC1/host/cluster1/Resources"


@pytest.fixture
def off(simulate) -> Client:
    return simulate(machine(powered_on=False))


def create(client: Client, **fields: Any) -> Any:
    return client.wait(client.vm("DC1/vm").CreateVM_Task(config_spec(**fields), client.vm(POOL), None))


def card(vm: Any) -> Any:
    return next(one for one in vm.config.hardware.device if isinstance(one, device.VirtualEthernetCard))


# what a spec may hold


@pytest.mark.behaviour(45, "reported")
@pytest.mark.parametrize("key", [-200, -201])
def test_a_controller_that_every_vm_has_is_named_by_its_own_key(client, key):
    with pytest.raises(vim.fault.InvalidController) as caught:
        create(client, deviceChange=[change(cdrom(on=key))])
    assert caught.value.msg == f"The device '0' is referring to a nonexisting controller '{key}'."
    assert create(client, deviceChange=[change(cdrom(on=-key))])


@pytest.mark.behaviour(45, "reported")
def test_a_cdrom_whose_image_is_missing_is_told_by_its_class(client):
    with pytest.raises(vim.fault.InvalidDeviceSpec) as caught:
        create(client, deviceChange=[change(cdrom(image="[ds1] iso/none.iso"))])
    assert (caught.value.deviceIndex, caught.value.faultMessage[0].arg[0].value) == (0, "VirtualCdrom")
    image = client.sim.directory / "datastores" / "ds1" / "db" / "there.iso"
    image.write_bytes(b"CD001")
    assert create(client, deviceChange=[change(cdrom(image="[ds1] db/there.iso"))])


@pytest.mark.behaviour(45, "reported")
def test_a_boot_order_names_devices_that_are_there(client):
    """bareos-fd-vmware sets it after the VM was made; which fault comes is not known."""
    order = [vim.vm.BootOptions.BootableDiskDevice(deviceKey=-100)]
    with pytest.raises(vmodl.fault.InvalidArgument):
        create(client, bootOptions=vim.vm.BootOptions(bootOrder=order), deviceChange=[controller(), new_disk(0, MiB)])


@pytest.mark.behaviour(45, "documented")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"npivWorldWideNameType": "vc"}, id="npiv"),
        pytest.param({"flags": vim.vm.FlagInfo(vbsEnabled=True)}, id="vbs alone"),
    ],
)
def test_what_no_spec_may_hold(client, fields):
    with pytest.raises(vim.fault.InvalidVmConfig):
        create(client, **fields)


@pytest.mark.behaviour(46, "documented")
def test_an_assigned_mac_is_kept_if_it_is_vcenters_and_free(simulate):
    taken = "00:50:56:9a:10:02"
    client = simulate(machine(networks=[{"network": "VM Network", "mac": taken}]))

    def given(name: str, mac: str, kind: str | None) -> tuple[str, str]:
        found = card(create(client, name=name, deviceChange=[change(network_card(mac=mac, kind=kind))]))
        return found.addressType, found.macAddress

    assert given("a", "00:50:56:9a:10:03", "assigned") == ("assigned", "00:50:56:9a:10:03")
    kind, mac = given("b", taken, "assigned")
    assert (kind, mac[:11], mac != taken) == ("assigned", "00:50:56:80", True)
    assert given("c", "52:54:00:00:00:01", "assigned")[1].startswith("00:50:56:80")
    assert given("d", "00:0c:29:00:00:01", "generated") == ("generated", "00:0c:29:00:00:01")
    assert given("e", taken, "manual") == ("manual", taken)


@pytest.mark.behaviour(46, "reported")
@pytest.mark.parametrize(("mac", "starts"), [("00:50:56:3f:00:01", True), ("00:50:56:9a:10:09", False)])
def test_a_manual_mac_of_vmwares_own_range_keeps_a_vm_from_starting(client, mac, starts):
    vm = create(client, deviceChange=[change(network_card(mac=mac, kind="manual"))])
    if starts:
        client.wait(vm.PowerOnVM_Task())
        return
    with pytest.raises(vim.fault.GenericVmConfigFault, match="conflicts with VMware reserved MACs"):
        client.wait(vm.PowerOnVM_Task())
    assert vm.runtime.powerState == "poweredOff"


# turned on


def turn_on(client: Client, *names: str) -> Any:
    return client.wait(client.vm("DC1").PowerOnMultiVM_Task([client.vm(f"DC1/vm/{name}") for name in names], []))


@pytest.mark.behaviour(47, "documented")
def test_a_datacenter_turns_on_what_it_can_and_says_why_not_of_the_rest(simulate):
    client = simulate(machine("a", powered_on=False), machine("b"), machine("t", powered_on=False, template=True))
    done = turn_on(client, "a", "b", "t")
    assert [one.vm.name for one in done.attempted] == ["a"]
    client.wait(done.attempted[0].task)
    assert client.vm("DC1/vm/a").runtime.powerState == "poweredOn"
    assert [(one.vm.name, type(one.fault)) for one in done.notAttempted] == [
        ("b", vim.fault.InvalidPowerState),
        ("t", vmodl.fault.NotSupported),
    ]


@pytest.mark.behaviour(47, "reported")
@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_it_succeeds_with_the_vm_still_off(off, seconds):
    off.sim.fault("power-on-late", seconds=seconds)
    assert len(turn_on(off, "db").attempted) == 1
    if seconds:
        assert eventually(lambda: off.vm().runtime.powerState == "poweredOn")
    else:
        assert off.vm().runtime.powerState == "poweredOff"


@pytest.mark.behaviour(48, "documented")
def test_a_power_on_hangs_until_its_question_is_answered(off):
    off.sim.fault("power-on-question", text="The CD-ROM image is missing. Continue?")
    vm = off.vm()
    task = vm.PowerOnVM_Task()
    assert eventually(lambda: vm.runtime.question is not None)
    asked = vm.runtime.question
    assert (asked.text, task.info.state, task.info.progress) == (
        "The CD-ROM image is missing. Continue?",
        "running",
        95,
    )
    labels = {one.label: one.key for one in asked.choice.choiceInfo}
    with pytest.raises(vmodl.fault.InvalidArgument):
        vm.AnswerVM(asked.id, "7")
    vm.AnswerVM(asked.id, labels["Continue"])
    off.wait(task)
    assert (vm.runtime.powerState, vm.runtime.question) == ("poweredOn", None)
    with pytest.raises(vmodl.fault.InvalidArgument):
        vm.AnswerVM(asked.id, labels["Continue"])


@pytest.mark.behaviour(48, "documented")
def test_an_answer_can_be_to_cancel(off):
    off.sim.fault("power-on-question")
    vm = off.vm()
    task = vm.PowerOnVM_Task()
    assert eventually(lambda: vm.runtime.question is not None)
    vm.AnswerVM(vm.runtime.question.id, str(vm.runtime.question.choice.defaultIndex))
    with pytest.raises(vim.fault.GenericVmConfigFault):
        off.wait(task)
    assert vm.runtime.powerState == "poweredOff"


def test_the_first_power_on_makes_the_nvram_file_unless_one_was_put_there(client):
    vm = create(client)
    target = "/folder/new/new.nvram?dcPath=DC1&dsName=ds1"
    assert client.http(target)[0] == 404
    assert client.http(target, "PUT", b"MRVN of the old VM")[0] == 201
    assert [one.name for one in vm.layoutEx.file if one.type == "nvram"] == ["[ds1] new/new.nvram"]
    client.wait(vm.PowerOnVM_Task())
    assert client.http(target)[2] == b"MRVN of the old VM"


# named, and gone


@pytest.mark.behaviour(61, "documented")
def test_destroying_a_vm_removes_the_disks_that_are_attached_and_no_others(off):
    vm, kept = off.vm(), off.sim.disk_file("db", 2001)
    off.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change(off.disks(vm.config)[2001], "remove")])))
    off.wait(vm.Destroy_Task())
    assert sorted(file.name for file in kept.parent.iterdir()) == ["db_1-flat.vmdk", "db_1.vmdk"]
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vm.name  # noqa: B018


@pytest.mark.behaviour(61, "documented")
def test_what_runs_is_neither_destroyed_nor_unregistered(client):
    vm = client.vm()
    with pytest.raises(vim.fault.InvalidPowerState):
        client.wait(vm.Destroy_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.UnregisterVM()
    client.wait(vm.PowerOffVM_Task())
    file = client.sim.disk_file("db", 2000)
    vm.UnregisterVM()
    assert (file.exists(), client.content.searchIndex.FindByInventoryPath("DC1/vm/db")) == (True, None)


@pytest.mark.behaviour(61, "documented")
def test_destroying_takes_its_privilege_on_the_vm_and_on_its_folder(simulate):
    client = simulate(machine(powered_on=False), denied=["VirtualMachine.Inventory.Delete"])
    with pytest.raises(vim.fault.NoPermission) as caught:
        client.vm().Destroy_Task()
    assert [one.entity for one in caught.value.missingPrivileges] == [client.vm(), client.vm("DC1/vm")]


def test_a_vm_is_renamed_and_its_files_keep_their_names(simulate):
    client = simulate(machine(), machine("other"))
    vm = client.vm()
    client.wait(vm.Rename_Task("data/base"))
    assert (vm.name, vm.config.files.vmPathName) == ("data%2fbase", "[ds1] db/db.vmx")
    with pytest.raises(vim.fault.DuplicateName):
        client.wait(vm.Rename_Task("other"))


@pytest.mark.behaviour(50, "documented")
def test_the_key_of_an_attribute_is_never_used_again(client):
    fields, vm = client.content.customFieldsManager, client.vm()
    first = fields.AddCustomFieldDef("owner", vim.VirtualMachine)
    with pytest.raises(vim.fault.DuplicateName):
        fields.AddCustomFieldDef("owner", None)
    fields.SetField(vm, first.key, "Ana")
    assert [(one.key, one.value) for one in vm.customValue] == [(first.key, "Ana")]
    assert [one.name for one in vm.availableField] == ["owner"]
    fields.RemoveCustomFieldDef(first.key)
    again = fields.AddCustomFieldDef("owner", vim.VirtualMachine)
    assert (again.key > first.key, vm.customValue) == (True, [])
    with pytest.raises(vmodl.fault.InvalidArgument):
        fields.SetField(vm, first.key, "Ana")
    vm.setCustomValue("owner", "Ana")
    assert [(one.key, one.value) for one in vm.customValue] == [(again.key, "Ana")]


def test_setting_an_attribute_takes_its_privilege_on_the_vm(simulate):
    client = simulate(machine(attributes={"owner": "Ana"}), denied=["Global.SetCustomField"])
    with pytest.raises(vim.fault.NoPermission):
        client.content.customFieldsManager.SetField(client.vm(), 101, "Bob")


def test_a_flat_file_is_not_put_where_a_disk_is(off):
    assert off.http(FLAT, "PUT", b"raw")[0] == 500
