"""A VM in the inventory file: what it is, its controllers, disks and cards.

Sizes are bytes, or text like ``96 MiB`` or ``5 GiB + 512 B``. Keys are given, never computed: real ones are
whatever the server says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from runner.base.model import JobModel
from runner.base.units import GiB, parse_size
from steps.lab.simulator.vmodl import from_json


def _offset(text: str | int) -> int:
    negative = isinstance(text, str) and text.startswith("-")
    return -parse_size(text[1:]) if negative and isinstance(text, str) else parse_size(text)


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str | int), Field(gt=0)]
Room = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str | int), Field(ge=0)]
Offset = Annotated[int, BeforeValidator(_offset, json_schema_input_type=str | int)]
Name = Annotated[str, Field(min_length=1, max_length=79)]
"""As people read it: a slash is written as it is here, and escaped (%2f) where the API gives it."""


class Piece(JobModel):
    """Random bytes of `seed` at `offset`, which counts from the end where it is negative."""

    offset: Offset
    length: Size
    seed: int = 0


class Content(JobModel):
    """What is on the disk at first. `pattern`: seeded random extents and holes; `file`: the bytes of a file,
    whose path is relative to the inventory."""

    pattern: int | None = None
    file: str | None = None
    pieces: tuple[Piece, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.pattern is not None and self.file is not None:
            raise ValueError("content is a pattern or a file, not both")
        return self


ControllerKind = Literal["pvscsi", "lsilogic", "lsilogic-sas", "buslogic", "sata", "nvme", "ide"]
SCSI: frozenset[str] = frozenset({"pvscsi", "lsilogic", "lsilogic-sas", "buslogic"})


class ControllerSpec(JobModel):
    key: int = Field(ge=0)
    kind: ControllerKind
    bus: int = Field(default=0, ge=0)
    sharing: Literal["none", "virtual", "physical"] = "none"
    """The SCSI bus is shared between VMs: such disks cannot be in a snapshot."""


class DiskSpec(JobModel):
    key: int = Field(ge=0)
    controller: int
    """The controller's key."""
    unit: int = Field(ge=0)
    size: Size
    content: Content = Content()
    datastore: str | None = None
    """Where it is not the VM's."""
    directory: str | None = None
    """On the datastore, where it is not the VM's."""
    file: str | None = None
    """The descriptor's name without .vmdk; by default as vSphere names them: dir.vmdk, dir_1.vmdk …"""
    uuid: str | None = None
    thin: bool = True
    eager: bool = False
    """Zeroed when it was made, where it is not thin."""
    mode: Literal[
        "persistent",
        "independent_persistent",
        "independent_nonpersistent",
        "nonpersistent",
        "undoable",
        "append",
    ] = "persistent"
    physical: bool = False
    """A raw device mapping in physical compatibility mode."""
    sharing: Literal["none", "multi-writer"] = "none"
    tracking: Literal["works", "missing", "missing-until-reset"] = "works"
    """Whether changed block tracking of the VM reaches it: `missing` never gives it a changeId, nor the
    advanced setting ctkEnabled; `missing-until-reset` does once tracking was off and on again, without a
    snapshot at the one or the other."""

    @model_validator(mode="after")
    def _sectors(self) -> Self:
        if self.size % 512:
            raise ValueError(f"the size of disk {self.key} is not a multiple of 512 bytes")
        return self


class NetworkCard(JobModel):
    network: str
    mac: str
    address_type: Literal["manual", "assigned", "generated"] | None = None
    """Who chose the MAC; by default who chooses such ones."""
    kind: Literal["vmxnet3", "e1000", "e1000e"] = "vmxnet3"


class DeviceSpec(JobModel):
    """A device that is no disk, storage controller or network card: a CD-ROM drive, a floppy drive, a serial
    port, a sound card, a USB controller, a virtual TPM …"""

    type: str
    """The API's type: ``VirtualCdrom``."""
    key: int = Field(ge=0)
    controller: int | None = 100
    """What it hangs on: 100 is the PCI controller, 200 and 201 are IDE, 400 is the SIO controller of floppy
    drives and serial ports."""
    unit: int | None = None
    properties: dict[str, JsonValue] = {}
    """Others, by the API's names; a data object in them has its type as ``_type``:
    ``{backing: {_type: VirtualCdromIsoBackingInfo, fileName: "[ds1] iso/debian.iso"}}``."""

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        from_json(value, {})
        return value


class MachineSpec(JobModel):
    name: Name
    folder: str = ""
    """Below the datacenter's VM folder, parts separated by slashes."""
    datastore: str
    directory: str | None = None
    """On the datastore; by default the name, made safe for a file system."""
    file: str | None = None
    """How the names of its files begin; by default as its directory is called."""
    instance_uuid: str | None = None
    uuid: str | None = None
    """The BIOS uuid, which two VMs may share."""
    powered_on: bool = True
    template: bool = False
    encrypted: bool = False
    """Its files and its disks, by a key of a key provider."""
    firmware: Literal["bios", "efi"] = "bios"
    secure_boot: bool = False
    annotation: str = ""
    """Its notes."""
    cpus: int = Field(default=1, ge=1)
    memory: Size = 1 * GiB
    guest: str = "debian12_64Guest"
    hardware_version: int = Field(default=19, ge=4)
    tools: Literal["running", "not-running", "not-installed"] = "running"
    quiesce: Literal["works", "application-fault", "filesystem-fault"] = "works"
    """What quiescing does where the VM is on and its Tools run; else it is ignored."""
    change_tracking: bool = False
    change_tracking_supported: bool = True
    nvram: bool = True
    """It was powered on once, so that there is a .nvram file."""
    consolidation_needed: bool = False
    """A snapshot was deleted whose disks were not merged."""
    connection: Literal["connected", "disconnected", "inaccessible", "invalid", "orphaned"] = "connected"
    question: str = ""
    """What it waits for an answer to."""
    snapshots: Literal["allowed", "disabled", "locked"] = "allowed"
    fault_tolerance: Literal["none", "primary", "secondary"] = "none"
    """Which of the two VMs of a fault tolerant one it is."""
    host: str | None = None
    """The ESXi host that it is on; by default the first one of its cluster."""
    cluster: str | None = None
    """By default the host's, or the datacenter's first."""
    pool: str = ""
    """Its resource pool, below the cluster's own: ``gold/inner``."""
    vapp: str | None = None
    """The vApp that it is in, instead of a folder and a pool."""
    tags: tuple[str, ...] = ()
    """``category/tag`` each; made where they are not there."""
    attributes: dict[str, str] = {}
    """Custom attributes; defined where they are not there."""
    configured: bool = True
    """Whether vCenter has a configuration of it: not while it is made, nor where its files are out of
    reach."""
    extra_config: dict[str, str] = {}
    """Advanced settings, such as ``guestinfo.*``, in which guests are given passwords."""
    settings: dict[str, JsonValue] = {}
    """Other properties of the API's VirtualMachineConfigSpec: ``{numCoresPerSocket: 2, memoryHotAddEnabled:
    true, bootOptions: {bootDelay: 5000}}``."""
    networks: tuple[NetworkCard, ...] = ()
    controllers: tuple[ControllerSpec, ...]
    disks: tuple[DiskSpec, ...] = ()
    devices: tuple[DeviceSpec, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Properties the user may not read."""

    @model_validator(mode="after")
    def _devices(self) -> Self:
        controllers = {controller.key: controller for controller in self.controllers}
        keys = [one.key for one in self.disks] + [one.key for one in self.devices]
        unique(f"{self.name}: device key", [*(one.key for one in self.controllers), *keys])
        unique(f"{self.name}: controller and unit", [(disk.controller, disk.unit) for disk in self.disks])
        for disk in self.disks:
            if disk.controller not in controllers:
                raise ValueError(
                    f"{self.name}: disk {disk.key} names controller {disk.controller}, which is not there"
                )
            if disk.unit == 7 and controllers[disk.controller].kind in SCSI:
                raise ValueError(
                    f"{self.name}: disk {disk.key} is at unit 7, which a SCSI controller takes itself"
                )
        return self


def unique(what: str, values: Iterable[object]) -> None:
    """Raises ValueError for what is there twice."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value} is there {count} times")
