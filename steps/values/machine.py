"""A VM as QEMU is to make it, decided before anything is started."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model
from steps.vsphere.vm_spec import Change

Firmware = Literal["bios", "efi", "efi-secure"]
"""``efi-secure``: with secure boot."""

Board = Literal["pc", "q35"]
"""QEMU's names: of an i440FX, with IDE and conventional PCI, and of a Q35, with PCI Express."""

DiskController = Literal["pvscsi", "mptsas1068", "lsi53c895a", "ich9-ahci", "piix3-ide", "nvme"]
"""QEMU's names."""

CardModel = Literal["vmxnet3", "e1000", "e1000e", "pcnet"]
"""QEMU's names."""


DoubtKind = Literal["driver", "disk", "memory"]
"""What a failure may come from: a controller that the guest has no driver for, a disk that it lacks, memory
that is too little."""


class Doubt(Model):
    """Why a failure of this machine may be none of its VM's: it is made otherwise."""

    kind: DoubtKind
    """Which failures it may explain"""
    why: str
    """What is otherwise, and what to do, without a full stop"""


class MachineDisk(Model):
    """One disk. Its node in QEMU's block graph is ``disk-<key>``."""

    key: int
    """The disk's key in its VM"""
    label: str
    """Its name in vSphere, such as `Hard disk 1`"""
    capacity: int
    """Its size in bytes"""
    controller: DiskController
    """What it hangs on"""
    bus: int
    """Which controller of that kind, from 0"""
    unit: int
    """Its place there"""
    boot: int | None = None
    """Its place in the boot order, from 0; None: the firmware does not try it"""
    instead_of: str = ""
    """What it hung on in its VM, `PVSCSI 0:0`, where that is another kind of controller"""


class MachineCard(Model):
    """A network adapter. Its back end in QEMU is ``net-<place>``, counted from 0."""

    key: int
    """The adapter's key in its VM"""
    label: str
    """Its name in vSphere"""
    model: CardModel
    """What the guest sees"""
    mac: str
    """``00:50:56:aa:bb:cc``"""
    slot: int | None = None
    """VMware's number of its PCI slot, after which Linux calls it ``ens192``; a PC has no such slots"""


class Machine(Model):
    name: str
    """The VM's name, as people write it"""
    uuid: str
    """Its BIOS uuid, which SMBIOS tells the guest; empty where none was saved"""
    guest: str
    """vSphere's name of the operating system: ``debian12_64Guest``; empty where it is not told"""
    firmware: Firmware
    """What boots it"""
    memory: int
    """Bytes"""
    cpus: int
    """Virtual CPUs"""
    disks: tuple[MachineDisk, ...]
    """In key order"""
    cards: tuple[MachineCard, ...]
    """In the order in which the guest found them"""
    board: Board = "q35"
    """What all of it is plugged into"""
    local_time: bool = False
    """Whether the clock shows local time, as Windows wants it; else UTC"""
    loaders: tuple[str, ...] = ()
    r"""Boot loaders that the saved NVRAM names, such as ``\EFI\debian\shimx64.efi``, first first"""
    changes: tuple[Change, ...] = ()
    """What is otherwise than the VM had it, and why"""
    doubts: tuple[Doubt, ...] = ()
    """Of that, what makes a failure to boot undecided"""
