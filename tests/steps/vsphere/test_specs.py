"""What a VM is to be, as the API's specs."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim as api

from steps.vsphere import specs
from steps.vsphere.configuration import as_json, from_json
from steps.vsphere.errors import VSphereError
from steps.vsphere.vm_spec import NewDevice, NewDisk, NewMachine, Unrecorded

device: Any = api.vm.device


def machine(*devices: NewDevice, disks: tuple[NewDisk, ...] = (), **more: Any) -> NewMachine:
    places = {"datacenter": "DC1", "folder": "group-v3", "pool": "resgroup-8", "datastore": "ds1"}
    return NewMachine(name="web 1/2", disks=disks, devices=devices, settings=more, **places)


def disk(key: int, controller: int, unit: int, **more: Any) -> NewDisk:
    return NewDisk(
        key=key,
        label=f"disk {key}",
        capacity=1024 * 1024 + 512,
        controller=controller,
        unit=unit,
        datastore="ds2",
        **more,
    )


SCSI = NewDevice(key=1000, type="ParaVirtualSCSIController", properties={"busNumber": 0, "sharedBus": "noSharing"})
CARD = NewDevice(
    key=4000,
    type="VirtualVmxnet3",
    controller=100,
    unit=7,
    properties={"backing": {"_type": "NetworkBackingInfo", "deviceName": "VM Network"}, "addressType": "generated"},
)


def added(spec: Any) -> list[Any]:
    return [change.device for change in spec.deviceChange]


def test_new_devices_have_negative_keys_and_what_every_vm_has_keeps_its_own() -> None:
    made = machine(SCSI, CARD, disks=(disk(2000, 1000, 0), disk(3000, 200, 1)))
    scsi, card, first, ide = added(specs.config_spec(made, "x", {}, Unrecorded()))
    assert (scsi.key, card.key, first.key, ide.key) == (-1000, -4000, -2000, -3000)
    assert (card.controllerKey, first.controllerKey, ide.controllerKey) == (100, -1000, 200)
    assert (card.unitNumber, first.unitNumber, ide.unitNumber) == (7, 0, 1)


def test_a_disk_is_a_new_file_of_its_size_to_the_byte() -> None:
    spec = specs.config_spec(machine(SCSI, disks=(disk(2000, 1000, 0, thin=False, eager=True),)), "x", {}, Unrecorded())
    change = spec.deviceChange[-1]
    backing = change.device.backing
    assert (change.operation, change.fileOperation) == ("add", "create")
    assert (change.device.capacityInBytes, backing.fileName) == (1024 * 1024 + 512, "[ds2]")
    assert (backing.thinProvisioned, backing.eagerlyScrub, backing.uuid) == (False, True, None)


def test_the_name_is_escaped_and_marks_and_unrecorded_values_are_advanced_settings() -> None:
    spec = specs.config_spec(
        machine(numCPUs=2), "a/b %2f", {"sendense.restore": "{}"}, Unrecorded({"guestinfo.password": "s3cret"}, "notes")
    )
    assert spec.name == "a%2fb %252f"
    assert {option.key: option.value for option in spec.extraConfig} == {
        "guestinfo.password": "s3cret",
        "sendense.restore": "{}",
    }
    assert (spec.annotation, spec.numCPUs) == ("notes", 2)


def test_what_is_not_to_be_recorded_is_not_shown_either() -> None:
    assert "s3cret" not in repr(Unrecorded({"guestinfo.password": "s3cret"}, "s3cret"))


def test_devices_of_a_new_vm_are_paired_by_place_and_not_by_order() -> None:
    other = NewDevice(key=1001, type="ParaVirtualSCSIController", properties={"busNumber": 1})
    made = machine(other, SCSI, CARD, disks=(disk(2000, 1000, 0), disk(2016, 1001, 0)))
    found = specs.paired(
        made,
        [
            device.VirtualPCIController(key=100, busNumber=0),
            device.ParaVirtualSCSIController(key=1000, busNumber=1),
            device.ParaVirtualSCSIController(key=1001, busNumber=0),
            device.VirtualDisk(key=2000, controllerKey=1000, unitNumber=0, capacityInKB=1),
            device.VirtualDisk(key=2016, controllerKey=1001, unitNumber=0, capacityInKB=1),
            device.VirtualVmxnet3(key=4001, controllerKey=100, unitNumber=7),
        ],
    )
    assert {key: one.key for key, one in found.items()} == {2000: 2016, 2016: 2000, 4000: 4001}


def test_a_place_reads_as_an_import_lease_names_it() -> None:
    made = machine(SCSI, disks=(disk(2000, 1000, 3), disk(3002, 201, 0)))
    assert [made.place(one) for one in made.disks] == ["ParaVirtualSCSIController0:3", "VirtualIDEController1:0"]


@pytest.mark.parametrize(
    "value",
    [
        device.VirtualVmxnet3(
            key=4000,
            backing=device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(
                port=api.dvs.PortConnection(switchUuid="50 2e", portgroupKey="dvportgroup-1")
            ),
            connectable=device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=False, connected=False),
            macAddress="00:50:56:aa:bb:cc",
        ),
        device.VirtualSerialPort(
            key=9000,
            yieldOnPoll=True,
            backing=device.VirtualSerialPort.URIBackingInfo(serviceURI="tcp://a:1", direction="client"),
        ),
        api.vm.BootOptions(bootDelay=5000, efiSecureBootEnabled=True),
        api.ResourceAllocationInfo(reservation=1 << 40, shares=api.SharesInfo(shares=4000, level="custom")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_saved_becomes_the_same_value_again(value: Any) -> None:
    assert as_json(from_json(type(value), as_json(value))) == as_json(value)


@pytest.mark.parametrize(
    "odd",
    [
        machine(NewDevice(key=5, type="VirtualAbacus")),
        machine(NewDevice(key=5, type="VirtualVmxnet3", properties={"beads": 7})),
        machine(NewDevice(key=5, type="VirtualVmxnet3", properties={"backing": {"_type": "IsoBackingInfo"}})),
        machine(numBeads=7),
        machine(flags={"_type": "BeadInfo"}),
    ],
)
def test_what_the_api_does_not_have_is_a_sentence(odd: NewMachine) -> None:
    with pytest.raises(VSphereError, match=r"API"):
        specs.config_spec(odd, "x", {}, Unrecorded())


def test_another_kind_of_device_at_the_place_is_not_taken_for_the_saved_one() -> None:
    devices = [
        device.VirtualPCIController(key=100, busNumber=0),
        device.ParaVirtualSCSIController(key=1000, controllerKey=100, unitNumber=7, busNumber=0),
        device.VirtualVmxnet3(key=4000, controllerKey=100, unitNumber=8),
    ]
    assert specs.paired(machine(SCSI, CARD), devices) == {}
