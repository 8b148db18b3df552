"""ReconfigVM_Task: devices, disks and settings of a VM that is there, all or nothing; what a running one refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from tests.simulation import Client, machine
from tests.vm_specs import change, controller, network_card
from tests.vm_specs import disk as new_disk

device: Any = vim.vm.device


@pytest.fixture
def off(simulate) -> Client:
    return simulate(machine(powered_on=False))


def reconfigure(client: Client, **fields: Any) -> None:
    client.wait(client.vm().ReconfigVM_Task(vim.vm.ConfigSpec(**fields)))


def hard_disk(client: Client, key: int = 2000) -> Any:
    return client.disks(client.vm().config)[key]


@pytest.mark.behaviour(60, "documented")
def test_a_disk_is_added_extended_and_removed_with_or_without_its_files(off):
    reconfigure(off, deviceChange=[new_disk(None, 2 * MiB, on=1000)])
    added = hard_disk(off, 2002)
    assert (added.unitNumber, added.backing.fileName) == (2, "[ds1] db/db_2.vmdk")
    added.capacityInBytes = 3 * MiB
    reconfigure(off, deviceChange=[change(added, "edit")])
    assert hard_disk(off, 2002).capacityInBytes == off.sim.disk_file("db", 2002).stat().st_size == 3 * MiB
    files = [off.sim.disk_file("db", key) for key in (2001, 2002)]
    reconfigure(
        off, deviceChange=[change(hard_disk(off, 2001), "remove"), change(hard_disk(off, 2002), "remove", "destroy")]
    )
    assert list(off.disks(off.vm().config)) == [2000]
    assert [file.exists() for file in files] == [True, False]
    reconfigure(off, deviceChange=[new_disk(1, on=1000, file="[ds1] db/db_1.vmdk")])
    again = hard_disk(off, 2001)
    assert (again.capacityInBytes, off.sim.read("db", 2001, 0, 512)) == (MiB + 512, files[0].read_bytes()[:512])


@pytest.mark.behaviour(60, "documented")
def test_a_change_that_fails_changes_nothing(off):
    before, files = off.vm().config, sorted(off.sim.directory.rglob("*"))
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        reconfigure(
            off,
            annotation="new",
            numCPUs=8,
            deviceChange=[
                new_disk(3, MiB, on=1000),
                change(hard_disk(off), "remove", "destroy"),
                new_disk(3, MiB, on=1000),
            ],
        )
    after = off.vm().config
    assert (after.annotation, after.hardware.numCPU, after.changeVersion) == ("", 1, before.changeVersion)
    assert sorted(off.sim.directory.rglob("*")) == files


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"changeVersion": "stale"}, vim.fault.ConcurrentAccess, id="stale change version"),
        pytest.param({"name": "other"}, vim.fault.DuplicateName, id="name taken"),
        pytest.param(
            {"bootOptions": vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableDiskDevice(deviceKey=2009)])},
            vmodl.fault.InvalidArgument,
            id="boot order",
        ),
        pytest.param(
            {"deviceChange": [change(device.VirtualCdrom(key=999), "edit")]},
            vim.fault.InvalidDeviceSpec,
            id="no such device",
        ),
    ],
)
def test_what_a_reconfiguration_refuses(simulate, fields, expected):
    client = simulate(machine(powered_on=False), machine("other"))
    with pytest.raises(expected):
        reconfigure(client, **fields)


def test_what_is_unset_stays_as_it_was(off):
    order = [
        vim.vm.BootOptions.BootableDiskDevice(deviceKey=2001),
        vim.vm.BootOptions.BootableDiskDevice(deviceKey=2000),
    ]
    reconfigure(off, bootOptions=vim.vm.BootOptions(bootOrder=order, bootDelay=100), numCPUs=2)
    extra = [vim.option.OptionValue(key="guestinfo.a", value="1"), vim.option.OptionValue(key="guestinfo.b", value="2")]
    reconfigure(off, bootOptions=vim.vm.BootOptions(enterBIOSSetup=True), extraConfig=extra)
    reconfigure(off, extraConfig=[vim.option.OptionValue(key="guestinfo.a", value="")])
    config = off.vm().config
    assert [one.deviceKey for one in config.bootOptions.bootOrder] == [2001, 2000]
    assert (config.bootOptions.bootDelay, config.bootOptions.enterBIOSSetup, config.hardware.numCPU) == (100, True, 2)
    assert [one.key for one in config.extraConfig if one.key.startswith("guestinfo")] == ["guestinfo.b"]


def test_a_running_vm_gets_disks_but_no_other_firmware_and_cpus_only_where_they_are_hot(client):
    reconfigure(client, deviceChange=[new_disk(5, MiB, on=1000), change(network_card())])
    for fields in ({"firmware": "efi"}, {"numCPUs": 2}, {"memoryMB": 2048}):
        with pytest.raises(vim.fault.InvalidPowerState):
            reconfigure(client, **fields)
    client.wait(client.vm().PowerOffVM_Task())
    reconfigure(client, cpuHotAddEnabled=True)
    client.wait(client.vm().PowerOnVM_Task())
    reconfigure(client, numCPUs=2)
    assert client.vm().config.hardware.numCPU == 2


def test_beside_a_snapshot_disks_come_and_do_not_go(off):
    taken = off.snapshot(off.vm())
    reconfigure(off, deviceChange=[new_disk(5, MiB, on=1000)])
    assert list(off.disks(taken.config)) == [2000, 2001]
    with pytest.raises(vim.fault.GenericVmConfigFault):
        reconfigure(off, deviceChange=[change(hard_disk(off), "remove")])
    off.wait(taken.RemoveSnapshot_Task(False))
    assert hard_disk(off, 2005).backing.fileName == "[ds1] db/db_2.vmdk"


def test_a_controller_goes_only_when_nothing_hangs_on_it(off):
    reconfigure(off, deviceChange=[controller(-1, bus=1)])
    added = next(one for one in off.vm().config.hardware.device if one.key == 1001)
    reconfigure(off, deviceChange=[change(added, "remove")])
    used = next(one for one in off.vm().config.hardware.device if one.key == 1000)
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        reconfigure(off, deviceChange=[change(used, "remove")])


@pytest.mark.behaviour(4, "documented")
@pytest.mark.parametrize(
    ("privilege", "fields"),
    [
        pytest.param("AddNewDisk", {"deviceChange": [new_disk(5, MiB, on=1000)]}, id="new disk"),
        pytest.param("AddRemoveDevice", {"deviceChange": [change(network_card())]}, id="device"),
        pytest.param(
            "AdvancedConfig", {"extraConfig": [vim.option.OptionValue(key="a", value="b")]}, id="advanced setting"
        ),
        pytest.param("CPUCount", {"numCPUs": 2}, id="cpus"),
        pytest.param("Rename", {"name": "other"}, id="name"),
        pytest.param("Settings", {"bootOptions": vim.vm.BootOptions(bootDelay=1)}, id="boot options"),
    ],
)
def test_each_part_of_a_reconfiguration_takes_its_privilege(simulate, privilege, fields):
    client = simulate(machine(powered_on=False), denied=[f"VirtualMachine.Config.{privilege}"])
    with pytest.raises(vim.fault.NoPermission) as caught:
        client.vm().ReconfigVM_Task(vim.vm.ConfigSpec(**fields))
    assert caught.value.privilegeId == f"VirtualMachine.Config.{privilege}"


@pytest.mark.behaviour(4, "documented")
def test_all_privileges_that_a_new_vm_lacks_are_named_at_once(simulate):
    denied = ["Datastore.AllocateSpace", "Network.Assign", "VirtualMachine.Config.AddNewDisk"]
    client = simulate(denied=denied)
    spec = vim.vm.ConfigSpec(
        name="new",
        files=vim.vm.FileInfo(vmPathName="[ds1]"),
        deviceChange=[controller(), new_disk(0, MiB), change(network_card())],
    )
    with pytest.raises(vim.fault.NoPermission) as caught:
        client.vm("DC1/vm").CreateVM_Task(spec, client.vm("DC1/host/cluster1/Resources"), None)
    assert sorted(one.privilegeIds[0] for one in caught.value.missingPrivileges) == denied
