"""CreateVM_Task: what is asked for comes out of the VM's configuration again; keys, names and faults are the server's."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from steps.lab.simulator import Inventory
from tests.simulation import Client, estate, machine, running
from tests.vm_specs import cdrom, change, config_spec, controller, disk, network_card

device: Any = vim.vm.device


@pytest.fixture
def made(client: Client):
    """made(spec fields …) gives the VM that CreateVM_Task made in DC1/vm."""

    def make(**fields: Any) -> Any:
        folder = client.vm("DC1/vm")
        pool = client.vm("DC1/host/cluster1/Resources")
        return client.wait(folder.CreateVM_Task(config_spec(**fields), pool, None))

    return make


def devices(vm: Any, kind: Any) -> list[Any]:
    return [one for one in vm.config.hardware.device if isinstance(one, kind)]


def test_a_created_vm_is_off_and_its_disks_are_empty(client, made):
    vm = made(deviceChange=[controller(), disk(0, 4 * MiB), disk(1, MiB + 512)])
    assert (vm.name, vm.runtime.powerState, vm.config.files.vmPathName) == ("new", "poweredOff", "[ds1] new/new.vmx")
    assert {one.key: (one.capacityInBytes, one.backing.fileName) for one in devices(vm, device.VirtualDisk)} == {
        2000: (4 * MiB, "[ds1] new/new.vmdk"),
        2001: (MiB + 512, "[ds1] new/new_1.vmdk"),
    }
    assert client.sim.read("new", 2001, 0, MiB + 512) == bytes(MiB + 512)
    assert vm.parent == client.vm("DC1/vm")
    assert [one.name for one in vm.layoutEx.file if one.type == "nvram"] == []


def test_what_a_spec_sets_its_vm_shows(made):
    boot = vim.vm.BootOptions(bootDelay=5000, efiSecureBootEnabled=True, enterBIOSSetup=False)
    vm = made(
        annotation="who runs it: Ana",
        guestId="rhel9_64Guest",
        version="vmx-17",
        firmware="efi",
        numCPUs=4,
        numCoresPerSocket=2,
        memoryMB=4096,
        memoryHotAddEnabled=True,
        cpuHotAddEnabled=True,
        bootOptions=boot,
        flags=vim.vm.FlagInfo(diskUuidEnabled=True),
        cpuAllocation=vim.ResourceAllocationInfo(reservation=100),
        extraConfig=[
            vim.option.OptionValue(key="guestinfo.site", value="north"),
            vim.option.OptionValue(key="displayName", value="ignored"),
        ],
    )
    config = vm.config
    assert (config.annotation, config.guestId, config.version) == ("who runs it: Ana", "rhel9_64Guest", "vmx-17")
    assert (config.hardware.numCPU, config.hardware.numCoresPerSocket, config.hardware.memoryMB) == (4, 2, 4096)
    assert (config.firmware, config.bootOptions.bootDelay, config.bootOptions.efiSecureBootEnabled) == (
        "efi",
        5000,
        True,
    )
    assert (config.memoryHotAddEnabled, config.cpuHotAddEnabled, config.cpuAllocation.reservation) == (True, True, 100)
    assert config.flags.diskUuidEnabled is True
    extra = {one.key: one.value for one in config.extraConfig}
    assert extra["guestinfo.site"] == "north"
    assert "displayName" not in extra


@pytest.mark.behaviour(33, "documented")
def test_devices_of_every_kind_get_the_servers_keys(made):
    serial = device.VirtualSerialPort(
        key=-30, yieldOnPoll=True, backing=device.VirtualSerialPort.DeviceBackingInfo(deviceName="/dev/ttyS0")
    )
    vm = made(
        deviceChange=[
            controller(),
            controller(-2, device.VirtualAHCIController),
            controller(-3, device.VirtualNVMEController),
            controller(-4, device.VirtualLsiLogicSASController, bus=2),
            disk(0, MiB, on=-4),
            disk(3, MiB, on=-2),
            disk(0, MiB, on=-3),
            change(cdrom(on=-2, unit=1)),
            change(cdrom(key=-21, on=200, unit=0)),
            change(serial),
            change(device.VirtualUSBXHCIController(key=-31)),
            change(device.VirtualSoundCard(key=-32, backing=device.VirtualSoundCard.DeviceBackingInfo(deviceName=""))),
            change(device.VirtualVideoCard(key=-33, videoRamSizeInKB=16384)),
            change(network_card()),
        ]
    )
    found = {one.key: type(one).__name__.rpartition(".")[2] for one in vm.config.hardware.device}
    assert found == {
        100: "VirtualPCIController",
        200: "VirtualIDEController",
        201: "VirtualIDEController",
        300: "VirtualPS2Controller",
        400: "VirtualSIOController",
        500: "VirtualVideoCard",
        600: "VirtualKeyboard",
        700: "VirtualPointingDevice",
        12000: "VirtualVMCIDevice",
        1000: "ParaVirtualSCSIController",
        1002: "VirtualLsiLogicSASController",
        15000: "VirtualAHCIController",
        31000: "VirtualNVMEController",
        2032: "VirtualDisk",
        16003: "VirtualDisk",
        32000: "VirtualDisk",
        16001: "VirtualCdrom",
        3000: "VirtualCdrom",
        9000: "VirtualSerialPort",
        14000: "VirtualUSBXHCIController",
        5000: "VirtualSoundCard",
        4000: "VirtualVmxnet3",
    }
    by_key = {one.key: one for one in vm.config.hardware.device}
    assert (by_key[9000].backing.deviceName, by_key[9000].controllerKey) == ("/dev/ttyS0", 400)
    assert by_key[15000].device == [16001, 16003]
    assert by_key[500].videoRamSizeInKB == 16384
    assert by_key[4000].backing.deviceName == "VM Network"


@pytest.mark.behaviour(34, "documented")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"name": "db"}, vim.fault.DuplicateName, id="name taken"),
        pytest.param({"name": ""}, vim.fault.InvalidName, id="no name"),
        pytest.param({"name": "x" * 80}, vim.fault.InvalidName, id="long name"),
        pytest.param({"path": "[ds1] db/db.vmx"}, vim.fault.FileAlreadyExists, id="configuration file taken"),
        pytest.param({"path": "ds1/db.vmx"}, vim.fault.InvalidDatastorePath, id="path"),
        pytest.param({"path": "[ds9]"}, vim.fault.InvalidDatastore, id="datastore"),
        pytest.param({"version": "vmx-99"}, vim.fault.VirtualHardwareVersionNotSupported, id="hardware version"),
        pytest.param({"memoryMB": 33}, vmodl.fault.InvalidArgument, id="memory"),
        pytest.param({"deviceChange": [disk(0, MiB, on=1000)]}, vim.fault.InvalidController, id="controller"),
        pytest.param(
            {"deviceChange": [controller(), disk(7, MiB)]}, vim.fault.InvalidDeviceSpec, id="the controller's unit"
        ),
        pytest.param(
            {"deviceChange": [controller(), disk(0, MiB), disk(0, MiB)]}, vim.fault.InvalidDeviceSpec, id="unit"
        ),
        pytest.param(
            {"deviceChange": [controller(), disk(0, MiB, parent=True)]}, vim.fault.InvalidDeviceBacking, id="parent"
        ),
        pytest.param(
            {"deviceChange": [controller(), disk(0, file="[ds1] db/none.vmdk")]}, vim.fault.FileNotFound, id="disk file"
        ),
        pytest.param({"deviceChange": [change(network_card("nowhere"))]}, vim.fault.InvalidDeviceBacking, id="network"),
        pytest.param({"deviceChange": [change(device.VirtualTPM(key=-1))]}, vim.fault.GenericVmConfigFault, id="vTPM"),
    ],
)
def test_a_spec_that_cannot_be_leaves_nothing(client, made, fields, expected):
    before = sorted(client.sim.directory.rglob("*"))
    with pytest.raises(expected):
        made(**fields)
    assert [one.name for one in client.vm("DC1/vm").childEntity] == ["db"]
    assert sorted(client.sim.directory.rglob("*")) == before


@pytest.mark.behaviour(33, "assumed")
@pytest.mark.parametrize(
    "one",
    [
        pytest.param(device.VirtualIDEController(key=200, busNumber=0), id="ide"),
        pytest.param(device.VirtualPS2Controller(key=300, busNumber=0), id="ps2"),
        pytest.param(device.VirtualPCIController(key=100, busNumber=0), id="pci"),
        pytest.param(device.VirtualSIOController(key=400, busNumber=0), id="sio"),
        pytest.param(device.VirtualKeyboard(key=600, controllerKey=300), id="keyboard"),
        pytest.param(device.VirtualPointingDevice(key=700, controllerKey=300), id="pointing device"),
        pytest.param(device.VirtualVMCIDevice(key=12000, controllerKey=100), id="vmci"),
    ],
)
def test_a_device_that_every_vm_has_is_not_added(made, one):
    """The guide says that making such a VM "usually fails" (VDDK, "Using the VirtualMachineConfigInfo"); not with which
    fault."""
    with pytest.raises(vim.fault.InvalidDeviceSpec) as caught:
        made(deviceChange=[change(one)])
    assert caught.value.deviceIndex == 0


@pytest.mark.behaviour(34, "documented")
def test_no_space_for_a_thick_disk_leaves_nothing(simulate):
    client = simulate(machine())
    client.sim.fault("no-space")
    spec = config_spec(deviceChange=[controller(), disk(0, MiB)])
    with pytest.raises(vim.fault.NoDiskSpace):
        client.wait(client.vm("DC1/vm").CreateVM_Task(spec, client.vm("DC1/host/cluster1/Resources"), None))
    assert [one.name for one in client.vm("DC1/vm").childEntity] == ["db"]


def test_tracking_that_a_spec_switches_on_is_on_from_the_first_write(client, made):
    vm = made(changeTrackingEnabled=True, deviceChange=[controller(), disk(0, 4 * MiB)])
    (one,) = devices(vm, device.VirtualDisk)
    client.sim.write("new", 2000, MiB, b"x")
    found = vm.QueryChangedDiskAreas(None, 2000, 0, one.backing.changeId)
    assert [(area.start, area.length) for area in found.changedArea] == [(MiB, 64 * 1024)]


def test_a_disk_on_a_vvol_datastore_has_whole_megabytes(made):
    """API reference, VirtualDisk.capacityInBytes."""
    vm = made(deviceChange=[controller(), disk(0, MiB + 512, file="[vvol1]")])
    (one,) = devices(vm, device.VirtualDisk)
    assert (one.capacityInBytes, one.backing.fileName) == (2 * MiB, "[vvol1] new/new.vmdk")


def test_an_inventory_names_devices_and_settings_of_every_kind(simulate):
    vm = machine(
        annotation="notes",
        settings={
            "numCoresPerSocket": 2,
            "memoryHotAddEnabled": True,
            "bootOptions": {
                "bootDelay": 5000,
                "bootOrder": [{"_type": "VirtualMachineBootOptionsBootableDiskDevice", "deviceKey": 2000}],
            },
        },
        devices=[
            {
                "type": "VirtualFloppy",
                "key": 8000,
                "controller": 400,
                "unit": 0,
                "properties": {"backing": {"_type": "VirtualFloppyRemoteDeviceBackingInfo", "deviceName": ""}},
            },
            {"type": "VirtualSoundCard", "key": 5000, "unit": 20},
            {"type": "VirtualUSBXHCIController", "key": 14000, "unit": 21},
            {"type": "VirtualTPM", "key": 11000, "unit": 22},
        ],
    )
    config = simulate(vm).vm().config
    by_key = {one.key: one for one in config.hardware.device}
    assert isinstance(by_key[8000].backing, device.VirtualFloppy.RemoteDeviceBackingInfo)
    assert [type(by_key[key]) for key in (5000, 14000, 11000)] == [
        device.VirtualSoundCard,
        device.VirtualUSBXHCIController,
        device.VirtualTPM,
    ]
    assert (config.annotation, config.hardware.numCoresPerSocket, config.memoryHotAddEnabled) == ("notes", 2, True)
    assert (config.bootOptions.bootDelay, config.bootOptions.bootOrder[0].deviceKey) == (5000, 2000)


def test_an_inventory_cannot_name_what_the_api_does_not_have():
    with pytest.raises(ValueError, match="VirtualToaster"):
        estate(machine(devices=[{"type": "VirtualToaster", "key": 9}]))


def test_a_card_is_connected_to_a_distributed_port_group_by_its_key(tmp_path):
    vm = machine(networks=[{"network": "prod", "mac": "00:50:56:9a:10:01"}])
    datacenter = {"name": "DC1", "datastores": [{"name": "ds1"}], "distributed": {"dvs1": ["prod"]}, "vms": [vm]}
    with running(Inventory.from_json_value({"datacenters": [datacenter]}), tmp_path) as client:
        (connected,) = devices(client.vm(), device.VirtualEthernetCard)
        (network,) = client.vm().network
        assert (network.name, network.key, connected.backing.port.portgroupKey) == ("prod", network.key, network.key)
        assert network.config.distributedVirtualSwitch.uuid == connected.backing.port.switchUuid
        new = network_card()
        for port, expected in ((connected.backing.port, None), (vim.dvs.PortConnection(switchUuid="other"), True)):
            new.backing = device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
            task = client.vm().ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change(new)]))
            if expected is None:
                client.wait(task)
            else:
                with pytest.raises(vim.fault.InvalidDeviceBacking):
                    client.wait(task)
