"""A VM's hardware as the API gives it: controllers, network cards and disks with their backings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from steps.lab.simulator import mac
from steps.lab.simulator.disk import Disk, Layer
from steps.lab.simulator.machine_spec import SCSI, ControllerSpec, DeviceSpec, MachineSpec
from steps.lab.simulator.vmodl import from_json, vim

device: Any = vim.vm.device

CONTROLLERS: dict[str, Any] = {
    "pvscsi": device.ParaVirtualSCSIController,
    "lsilogic": device.VirtualLsiLogicController,
    "lsilogic-sas": device.VirtualLsiLogicSASController,
    "buslogic": device.VirtualBusLogicController,
    "sata": device.VirtualAHCIController,
    "nvme": device.VirtualNVMEController,
    "ide": device.VirtualIDEController,
}
LABELS = {
    **dict.fromkeys(SCSI, "SCSI controller"),
    "sata": "SATA controller",
    "nvme": "NVME controller",
    "ide": "IDE",
}
NODES = (
    (device.VirtualSCSIController, "scsi"),
    (device.VirtualSATAController, "sata"),
    (device.VirtualNVMEController, "nvme"),
    (device.VirtualIDEController, "ide"),
)
"""What the controllers of disks are called in a .vmx file."""
LABEL_OF: tuple[tuple[Any, str], ...] = (
    (device.VirtualSCSIController, "SCSI controller"),
    (device.VirtualSATAController, "SATA controller"),
    (device.VirtualNVMEController, "NVME controller"),
    (device.VirtualIDEController, "IDE"),
    (device.VirtualEthernetCard, "Network adapter"),
    (device.VirtualCdrom, "CD/DVD drive"),
    (device.VirtualFloppy, "Floppy drive"),
    (device.VirtualSerialPort, "Serial port"),
    (device.VirtualParallelPort, "Parallel port"),
    (device.VirtualUSBXHCIController, "USB xHCI controller"),
    (device.VirtualUSBController, "USB controller"),
    (device.VirtualSoundCard, "Sound card"),
    (device.VirtualVideoCard, "Video card"),
    (device.VirtualTPM, "Virtual TPM"),
)
CARDS: dict[str, Any] = {
    "vmxnet3": device.VirtualVmxnet3,
    "e1000": device.VirtualE1000,
    "e1000e": device.VirtualE1000e,
}
BUS_SHARING = {"none": "noSharing", "virtual": "virtualSharing", "physical": "physicalSharing"}

PCI, IDE_PRIMARY, IDE_SECONDARY, FIRST_CARD, FIRST_CDROM = 100, 200, 201, 4000, 3002
"""Keys as vCenter gives them to a VM's own devices (seen in dumps; nothing promises them)."""


@dataclass(frozen=True)
class View:
    """A disk at one moment: now, or as a snapshot froze it."""

    layer: Layer
    capacity: int
    change_id: str | None


def devices_of(spec: MachineSpec, networks: Callable[[str], Any]) -> dict[int, Any]:
    """All but the disks, by key, of a VM as an inventory file has it. `networks` gives the backing of a
    network card."""
    own = [*own_devices(spec, networks), *map(controller_device, spec.controllers)]
    made = {one.key: one for one in own}
    for extra in spec.devices:
        made[extra.key] = extra_device(extra)
    return made


def default_devices() -> dict[int, Any]:
    """What a VM has of which nothing was said."""
    own = own_devices(MachineSpec(name="new", datastore="none", controllers=()), lambda name: None)
    return {one.key: one for one in own if one.key != FIRST_CDROM}


def extra_device(spec: DeviceSpec) -> Any:
    made = from_json(spec.type, spec.properties)
    made.key, made.controllerKey, made.unitNumber = spec.key, spec.controller, spec.unit
    if made.deviceInfo is None:
        made.deviceInfo = _about(spec.type)
    return made


def controller_device(spec: ControllerSpec) -> Any:
    made = CONTROLLERS[spec.kind](
        key=spec.key,
        deviceInfo=vim.Description(label=f"{LABELS[spec.kind]} {spec.bus}", summary=spec.kind),
        busNumber=spec.bus,
    )
    if spec.kind in SCSI:
        made.sharedBus, made.hotAddRemove, made.scsiCtlrUnitNumber = BUS_SHARING[spec.sharing], True, 7
    if spec.kind != "ide":
        made.controllerKey = PCI
    return made


def own_devices(spec: MachineSpec, networks: Callable[[str], Any]) -> list[Any]:
    """What every VM has: IDE, PS/2, PCI and SIO controllers, keyboard, pointing device, video card, VMCI, a
    CD-ROM drive, its cards."""
    taken = {controller.key for controller in spec.controllers}
    ide = [
        device.VirtualIDEController(
            key=key, busNumber=key - IDE_PRIMARY, deviceInfo=_about(f"IDE {key - IDE_PRIMARY}")
        )
        for key in (IDE_PRIMARY, IDE_SECONDARY)
        if key not in taken
    ]
    fixed = [
        device.VirtualPS2Controller(
            key=300, busNumber=0, deviceInfo=_about("PS2 controller 0"), device=[600, 700]
        ),
        device.VirtualPCIController(key=PCI, busNumber=0, deviceInfo=_about("PCI controller 0")),
        device.VirtualSIOController(key=400, busNumber=0, deviceInfo=_about("SIO controller 0")),
        device.VirtualKeyboard(key=600, deviceInfo=_about("Keyboard"), controllerKey=300, unitNumber=0),
        device.VirtualPointingDevice(
            key=700, deviceInfo=_about("Pointing device"), controllerKey=300, unitNumber=1
        ),
        device.VirtualVideoCard(
            key=500,
            deviceInfo=_about("Video card"),
            controllerKey=PCI,
            unitNumber=0,
            videoRamSizeInKB=4096,
            numDisplays=1,
            useAutoDetect=False,
            enable3DSupport=False,
        ),
        device.VirtualVMCIDevice(
            key=12000, deviceInfo=_about("VMCI device"), controllerKey=PCI, unitNumber=17, id=-1
        ),
    ]
    if IDE_SECONDARY not in taken:
        backing = device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
        fixed.append(
            device.VirtualCdrom(
                key=FIRST_CDROM,
                deviceInfo=_about("CD/DVD drive 1"),
                backing=backing,
                controllerKey=IDE_SECONDARY,
                unitNumber=0,
            )
        )
    return [*ide, *fixed, *_cards(spec, networks)]


def _cards(spec: MachineSpec, networks: Callable[[str], Any]) -> list[Any]:
    return [
        CARDS[card.kind](
            key=FIRST_CARD + number,
            deviceInfo=vim.Description(label=f"Network adapter {number + 1}", summary=card.network),
            backing=networks(card.network),
            connectable=device.VirtualDevice.ConnectInfo(
                startConnected=True, allowGuestControl=True, connected=spec.powered_on
            ),
            controllerKey=PCI,
            unitNumber=7 + number,
            addressType=card.address_type or mac.likely_type(card.mac),
            macAddress=card.mac,
            wakeOnLanEnabled=True,
        )
        for number, card in enumerate(spec.networks)
    ]


def network_backing(network: Any, name: str, portgroups: Mapping[str, str]) -> Any:
    """`portgroups`: the switches' uuids by key."""
    card = device.VirtualEthernetCard
    if type(network) is vim.dvs.DistributedVirtualPortgroup:
        key = network._moId
        port = vim.dvs.PortConnection(switchUuid=portgroups[key], portgroupKey=key)
        return card.DistributedVirtualPortBackingInfo(port=port)
    return card.NetworkBackingInfo(deviceName=name, network=network)


def _about(label: str) -> Any:
    return vim.Description(label=label, summary=label)


def disk_device(disk: Disk, number: int, view: View, file_name: Callable[[Layer], str], store: Any) -> Any:
    """`number` counts the VM's disks from 1, for the label only; `file_name` gives "[datastore]
    dir/x.vmdk"."""
    made = device.VirtualDisk(
        key=disk.key,
        deviceInfo=vim.Description(label=f"Hard disk {number}", summary=f"{view.capacity // 1024:,} KB"),
        backing=_physical(disk, file_name, store)
        if disk.spec.physical
        else _flat(disk, view, file_name, store),
        controllerKey=disk.spec.controller,
        unitNumber=disk.spec.unit,
        capacityInKB=view.capacity // 1024,
        capacityInBytes=view.capacity,
        shares=vim.SharesInfo(shares=1000, level="normal"),
    )
    made.diskObjectId = f"{disk.key % 100}-{disk.key}"
    return made


def _flat(disk: Disk, view: View, file_name: Callable[[Layer], str], store: Any) -> Any:
    """The chain from `view` down: a delta's `parent` is the frozen disk below; uuid is the same all along."""
    backing = None
    for layer in disk.layers[: disk.layers.index(view.layer) + 1]:
        backing = device.VirtualDisk.FlatVer2BackingInfo(
            fileName=file_name(layer),
            datastore=store,
            diskMode=disk.spec.mode,
            split=False,
            writeThrough=False,
            thinProvisioned=disk.spec.thin,
            uuid=disk.uuid,
            contentId=layer.content_id,
            parent=backing,
            digestEnabled=False,
            sharing="sharingMultiWriter" if disk.spec.sharing == "multi-writer" else "sharingNone",
        )
        if not disk.spec.thin:
            backing.eagerlyScrub = disk.spec.eager
    assert backing is not None
    backing.changeId = view.change_id
    return backing


def _physical(disk: Disk, file_name: Callable[[Layer], str], store: Any) -> Any:
    """A physical raw device mapping has neither uuid nor disk mode (API reference)."""
    return device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName=file_name(disk.layers[0]),
        datastore=store,
        lunUuid=f"0200{disk.key:08x}",
        deviceName=f"vml.0200{disk.key:08x}",
        compatibilityMode="physicalMode",
    )
