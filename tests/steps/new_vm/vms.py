"""Saved configurations of VMs as real vCenters give them, made of pyVmomi's own types, and what a vCenter has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyVmomi import vim

from runner.base.units import GiB, KiB
from steps.new_vm.decision import Decided, Destination, Point, decide
from steps.new_vm.options import NewVmOptions
from steps.new_vm.placement import Placement
from steps.new_vm.saved_inventory import SavedInventory
from steps.saved_vm.configuration import Saved
from steps.vsphere.configuration import as_json
from steps.vsphere.targets import Cluster, Folder, Host, Net, Pool, Store
from steps.vsphere.vm_inventory import VmInventory
from steps.vsphere.vm_spec import Change
from tests.new_vms import stored_disk

device: Any = vim.vm.device


def about(label: str) -> Any:
    return vim.Description(label=label, summary=label)


def own() -> list[Any]:
    """What every VM has."""
    return [
        device.VirtualIDEController(key=200, busNumber=0, deviceInfo=about("IDE 0")),
        device.VirtualIDEController(key=201, busNumber=1, deviceInfo=about("IDE 1")),
        device.VirtualPS2Controller(key=300, busNumber=0, deviceInfo=about("PS2 controller 0")),
        device.VirtualPCIController(key=100, busNumber=0, deviceInfo=about("PCI controller 0")),
        device.VirtualSIOController(key=400, busNumber=0, deviceInfo=about("SIO controller 0")),
        device.VirtualKeyboard(key=600, controllerKey=300, unitNumber=0, deviceInfo=about("Keyboard")),
        device.VirtualPointingDevice(key=700, controllerKey=300, unitNumber=1, deviceInfo=about("Pointing device")),
        device.VirtualVideoCard(
            key=500, controllerKey=100, unitNumber=0, videoRamSizeInKB=16384, deviceInfo=about("Video card")
        ),
        device.VirtualVMCIDevice(key=12000, controllerKey=100, unitNumber=17, id=-1, deviceInfo=about("VMCI device")),
    ]


def pvscsi(key: int = 1000, bus: int = 0, **more: Any) -> Any:
    values = {"sharedBus": "noSharing", "hotAddRemove": True, "scsiCtlrUnitNumber": 7, "controllerKey": 100, **more}
    return device.ParaVirtualSCSIController(
        key=key, busNumber=bus, unitNumber=3 + bus, deviceInfo=about(f"SCSI controller {bus}"), **values
    )


def flat(name: str = "[ds1] web/web.vmdk", **more: Any) -> Any:
    values = {"diskMode": "persistent", "thinProvisioned": True, "uuid": "6000C298", **more}
    return device.VirtualDisk.FlatVer2BackingInfo(fileName=name, **values)


def disk(key: int = 2000, controller: int = 1000, unit: int = 0, backing: Any = None, size: int = GiB) -> Any:
    return device.VirtualDisk(
        key=key,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=size // KiB,
        capacityInBytes=size,
        backing=flat() if backing is None else backing,
        deviceInfo=about(f"Hard disk {key - 1999}"),
    )


def card(key: int = 4000, backing: Any = None, mac: str = "00:50:56:9a:10:01", kind: str = "VirtualVmxnet3") -> Any:
    on = device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network") if backing is None else backing
    return getattr(device, kind)(
        key=key,
        controllerKey=100,
        unitNumber=key - 3993,
        addressType="assigned",
        macAddress=mac,
        wakeOnLanEnabled=True,
        backing=on,
        connectable=device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True),
        deviceInfo=about(f"Network adapter {key - 3999}"),
    )


def saved(*devices: Any, **config: Any) -> Saved:
    """With a SCSI controller, a disk and a network card where no devices are given."""
    hardware = vim.vm.VirtualHardware(
        numCPU=4, numCoresPerSocket=2, memoryMB=8192, device=[*own(), *(devices or (pvscsi(), disk(), card()))]
    )
    values = {
        "name": "web",
        "version": "vmx-19",
        "uuid": "42130000-0000-0000-0000-000000000001",
        "instanceUuid": "50130000-0000-0000-0000-000000000001",
        "guestId": "debian12_64Guest",
        "guestFullName": "Debian GNU/Linux 12 (64-bit)",
        "firmware": "bios",
        "files": vim.vm.FileInfo(vmPathName="[ds1] web/web.vmx"),
        "hardware": hardware,
        **config,
    }
    found = as_json(vim.vm.ConfigInfo(**values))
    assert isinstance(found, dict)
    return Saved(found)


def store(name: str, moref: str, *, free: int | None = 1024 * GiB, why_not: str = "", kind: str = "VMFS") -> Store:
    return Store(moref, name, "DC1", kind, free, why_not)


def net(name: str, moref: str = "network-1", **more: Any) -> Net:
    backing = more.get("backing") or {"_type": "NetworkBackingInfo", "deviceName": name}
    return Net("Network", moref, name, "DC1", more.get("portgroup", ""), backing)


def port_group(name: str, key: str, switch: str = "50 2e 11") -> Net:
    port = {"_type": "PortConnection", "switchUuid": switch, "portgroupKey": key}
    backing = {"_type": "DistributedVirtualPortBackingInfo", "port": port}
    return Net("DistributedVirtualPortgroup", key, name, "DC1", key, backing)


HOST = Host("host-1", "esx1", True, frozenset(), frozenset())


def placement(
    stores: Sequence[Store] = (store("ds1", "datastore-1"), store("ds2", "datastore-2")),
    nets: Sequence[Net] = (net("VM Network"),),
) -> Placement:
    cluster = Cluster(
        "domain-c1", "cluster1", "DC1/host/cluster1", "DC1", (HOST,), "resgroup-1", True, frozenset(), frozenset()
    )
    pool = Pool("resgroup-1", "cluster1/Resources", "domain-c1")
    return Placement(Folder("group-v1", "DC1/vm/prod", "DC1"), pool, cluster, None, tuple(stores), tuple(nets))


def decided(
    of: Saved | None = None,
    *,
    there: Placement | None = None,
    nvram: bool = False,
    only: Sequence[int] | None = None,
    uncovered: Sequence[int] = (),
    inventory: VmInventory | None = None,
    looked_at: SavedInventory | None = None,
    data: int | None = None,
    around: Mapping[str, Any] | None = None,
    **options: Any,
) -> Decided:
    """`only`: keys of the disks that are wanted, all by default; `uncovered`: of those that the point lacks."""
    config = of or saved()
    disks = [
        stored_disk("/r/web-1/p", one.key, int(str(one.json["capacityInBytes"])), one.label, data)
        for one in config.disks
        if (only is None or one.key in only) and one.key not in uncovered
    ]
    point = Point(
        "web",
        "DC1/vm/prod/web",
        "50130000-0000-0000-0000-000000000001",
        "42130000-0000-0000-0000-000000000001",
        disks,
        {one.key for one in config.disks} - set(uncovered),
        nvram,
    )
    known = looked_at or SavedInventory(inventory or VmInventory())
    found = Destination(there or placement(), **(around or {}))
    return decide(config, point, known, NewVmOptions.from_json_value(options), found)


def change(of: Decided, what: str) -> Change:
    (found,) = [one for one in of.changes if one.what == what]
    return found
