"""What a VM is to be, as values: what a ConfigSpec is made from. Keys are those of the configuration that
was saved; vCenter gives new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from runner.base.model import Model

Boot = tuple[Literal["disk", "cdrom", "ethernet", "floppy"], int | None]
"""A kind of device, and the saved key of the one that is meant."""


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

    @property
    def sentence(self) -> str:
        """``PCI device 0 (PCI device of the host) is left out: …``, without a full stop."""
        was = f" ({self.was})" if self.was else ""
        did = {"kept": "stays", "changed": f"becomes {self.becomes}", "left out": "is left out"}[self.kind]
        told = f"{self.what}{was} {did}"
        return f"{told}: {self.why}" if self.why else told


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
    boot_order: tuple[Boot, ...] = ()
    """Kind and key of a saved device, in order; set once the devices have their new keys."""
    nvram: bool = False
    """Whether the point has an NVRAM file that the VM needs."""
    change_tracking: bool = False
    """Whether changed block tracking was on: it is switched on again before the VM is first powered on."""
    attributes: dict[str, str] = {}
    """Custom attributes that exist there, by name."""
    tags: tuple[str, ...] = ()
    """``category/tag`` that exist there."""

    def place(self, of: NewDisk | NewDevice) -> str:
        """What it hangs on, with bus and unit, in the API's words: ``ParaVirtualSCSIController0:1``. An
        import lease names its disks so (importKey, after the VM's name), and it tells the new VM's devices
        from each other, whose keys are new. Empty where it has no unit."""
        if of.controller is None or of.unit is None:
            return ""
        if of.controller in OWN_CONTROLLERS:
            return f"{OWN_CONTROLLERS[of.controller]}:{of.unit}"
        on = next(device for device in self.devices if device.key == of.controller)
        return f"{on.type}{on.properties.get('busNumber', 0)}:{of.unit}"


OWN_CONTROLLERS = {
    100: "VirtualPCIController0",
    200: "VirtualIDEController0",
    201: "VirtualIDEController1",
    400: "VirtualSIOController0",
}
"""Those that every VM has, by the keys that they have in every VM (Bareos refers to them by these)."""


@dataclass(frozen=True)
class Unrecorded:
    """What a new VM gets of its saved configuration and what no record, plan or log may hold: guests are
    given passwords in it. No Model: it is never written anywhere."""

    extra_config: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of the advanced settings of `NewMachine.extra_config`."""
    annotation: str = field(default="", repr=False)
