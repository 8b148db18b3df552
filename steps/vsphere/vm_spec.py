"""What a VM is to be, as values: what a ConfigSpec is made from. Keys are those of the configuration that
was saved; vCenter gives new ones."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from runner.base.model import Model


class NewDisk(Model):
    key: int
    """As it was saved: what pairs it with the disk of the restore point."""
    label: str
    """``Hard disk 1``."""
    capacity: int
    """Bytes."""
    controller: int
    """Key of a controller among the devices."""
    unit: int
    """Unit number on it."""
    datastore: str
    """Name of the datastore for its file."""
    mode: str = "persistent"
    """vSphere's disk mode."""
    thin: bool = True
    """Thin provisioned."""
    eager: bool = False
    """Thick, and zeroed when it is made."""


class NewDevice(Model):
    """A device other than a disk."""

    key: int
    """As it was saved."""
    type: str
    """The API's type name, such as `ParaVirtualSCSIController`."""
    controller: int | None = None
    """Key of what it hangs on: a device among these, or one of those that every VM has (PCI 100, IDE 200 and
    201, SIO 400)."""
    unit: int | None = None
    """Unit number there, where it is kept."""
    properties: dict[str, JsonValue] = {}
    """Further properties of the API's type, as `configuration.as_json` writes them."""


class Change(Model):
    """What becomes of one thing of the saved VM, for a person who compares the two."""

    what: str
    """``Network adapter 1``, ``MAC address of network adapter 1``, ``name``."""
    was: str
    """In words; empty where there was none."""
    becomes: str
    """In words; empty where it is left out."""
    why: str = ""
    """Why it is not kept; empty where it is."""
    kind: Literal["kept", "changed", "left out"]
    warn: bool = False
    """Whether a person must know: the guest, or who runs it, may notice."""


class NewMachine(Model):
    name: str
    """Its final name, as people write it."""
    datacenter: str
    """Inventory path, as dcPath of /folder."""
    folder: str
    """moref"""
    pool: str
    """moref of the resource pool"""
    host: str | None = None
    """moref of the ESXi host; None: vCenter chooses."""
    datastore: str
    """Name of the datastore for its configuration files."""
    disks: tuple[NewDisk, ...]
    """In key order."""
    devices: tuple[NewDevice, ...]
    """Controllers before what hangs on them."""
    settings: dict[str, JsonValue]
    """Properties of ConfigSpec, as `configuration.as_json` writes them: guestId, version, numCPUs, memoryMB,
    firmware, flags, bootOptions without the boot order …"""
    extra_config: tuple[str, ...] = ()
    """Names of the advanced settings that are kept. Their values, and the annotation's text, are read where
    the VM is made, and recorded nowhere: guests are given passwords in them."""
    boot_order: tuple[tuple[Literal["disk", "cdrom", "ethernet", "floppy"], int | None], ...] = ()
    """Kind and key of a saved device, in order; set once the devices have their new keys."""
    nvram: bool = False
    """Whether the point has an NVRAM file that the VM needs."""
    attributes: dict[str, str] = {}
    """Custom attributes that exist there, by name."""
    tags: tuple[str, ...] = ()
    """``category/tag`` that exist there."""
