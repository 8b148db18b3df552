"""The inventory file: what the simulated vCenter holds, as people write it in YAML.

Sizes are bytes, or text like ``96 MiB`` or ``5 GiB + 512 B``. Keys are given, never computed: real ones are
whatever the server says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from runner.base.errors import UsageError
from runner.base.model import JobModel, load_value
from runner.base.units import GiB, TiB, parse_size
from runner.base.yaml_nodes import compose


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
    file: str | None = None
    """The descriptor's name without .vmdk; by default as vSphere names them: dir.vmdk, dir_1.vmdk …"""
    uuid: str | None = None
    thin: bool = True
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
    kind: Literal["vmxnet3", "e1000", "e1000e"] = "vmxnet3"


class MachineSpec(JobModel):
    name: Name
    folder: str = ""
    """Below the datacenter's VM folder, parts separated by slashes."""
    datastore: str
    directory: str | None = None
    """On the datastore; by default the name, made safe for a file system."""
    instance_uuid: str | None = None
    uuid: str | None = None
    """The BIOS uuid, which two VMs may share."""
    powered_on: bool = True
    template: bool = False
    firmware: Literal["bios", "efi"] = "bios"
    secure_boot: bool = False
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
    fault_tolerant: bool = False
    extra_config: dict[str, str] = {}
    """Advanced settings, such as ``guestinfo.*``, in which guests are given passwords."""
    networks: tuple[NetworkCard, ...] = ()
    controllers: tuple[ControllerSpec, ...]
    disks: tuple[DiskSpec, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Properties the user may not read."""

    @model_validator(mode="after")
    def _devices(self) -> Self:
        controllers = {controller.key: controller for controller in self.controllers}
        _unique(
            f"{self.name}: device key", [*(c.key for c in self.controllers), *(d.key for d in self.disks)]
        )
        _unique(f"{self.name}: controller and unit", [(disk.controller, disk.unit) for disk in self.disks])
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


class DatastoreSpec(JobModel):
    name: Name
    kind: Literal["vmfs", "nfs", "vsan", "vvol"] = "vmfs"
    capacity: Size = 10 * TiB
    free: Room | None = None
    """By default what the VMs' files leave of the capacity."""
    denied: tuple[str, ...] = ()
    """Privileges that the user lacks on it; without System.Read nothing of it can be read, not its name
    either."""


class DatacenterSpec(JobModel):
    name: Name
    folder: str = ""
    """Below the root folder."""
    datastores: tuple[DatastoreSpec, ...]
    networks: tuple[str, ...] = ("VM Network",)
    vms: tuple[MachineSpec, ...] = ()


ESXI_DATACENTER = "ha-datacenter"
"""The one that an ESXi host has; it cannot be renamed."""


class Inventory(JobModel):
    """`product` is what answers: a vCenter, or an ESXi host by itself, which has one datacenter without
    folders and no instance uuid, but a hardware uuid (`host_uuid`). `instance_uuid` is the vCenter's own.
    `denied`: privileges the user lacks, for example VirtualMachine.Config.ChangeTracking.
    `locked_file_status`: the HTTP status for a disk file that a running VM writes; which one a real vCenter
    gives is not known. `clock_ahead`: by how many seconds its clock is ahead of this machine's, negative:
    behind, as of one that nothing keeps."""

    product: Literal["vcenter", "esxi"] = "vcenter"
    host_uuid: str = "4c4c4544-0051-4210-8056-b4c04f4e3332"
    instance_uuid: str = "5e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e11"
    denied: tuple[str, ...] = ()
    locked_file_status: Literal[423, 500] = 500
    clock_ahead: float = 0.0
    unset: tuple[str, ...] = ()
    """Properties that its answers lack, such as VirtualDisk.capacityInBytes."""
    datacenters: tuple[DatacenterSpec, ...]

    @model_validator(mode="after")
    def _one_host(self) -> Self:
        folders = [vm.folder for one in self.datacenters for vm in one.vms] + [
            one.folder for one in self.datacenters
        ]
        if self.product == "esxi" and (
            any(folders) or [one.name for one in self.datacenters] != [ESXI_DATACENTER]
        ):
            raise ValueError(f"an ESXi host has one datacenter, {ESXI_DATACENTER}, and no folders")
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        _unique("datacenter", [(one.folder, one.name) for one in self.datacenters])
        # A datastore's name is unique in its datacenter only; here in all, since each is a directory of its
        # own.
        _unique("datastore", [store.name for one in self.datacenters for store in one.datastores])
        uuids = [vm.instance_uuid for one in self.datacenters for vm in one.vms if vm.instance_uuid]
        _unique("instance-uuid", uuids)
        for datacenter in self.datacenters:
            _unique(f"VM of {datacenter.name}", [(vm.folder, vm.name) for vm in datacenter.vms])
            known = {store.name for store in datacenter.datastores}
            for vm in datacenter.vms:
                for store in [vm.datastore, *(disk.datastore for disk in vm.disks if disk.datastore)]:
                    if store not in known:
                        raise ValueError(
                            f"{vm.name} names datastore {store}, which {datacenter.name} does not have"
                        )
        return self


def _unique(what: str, values: Iterable[object]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value} is there {count} times")


def load_inventory(path: Path) -> Inventory:
    """The inventory of a YAML file. Raises UsageError with a sentence for each mistake."""
    try:
        value = compose(path.read_text(), str(path)).plain()
        _anchor(value, path.absolute().parent)
        loaded = load_value(Inventory, value)
    except OSError as error:
        raise UsageError(f"the inventory {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the inventory {path} is not UTF-8 text") from error
    except ValidationError as error:
        mistakes = (
            f"{'.'.join(map(str, one['loc'])) or 'inventory'}: {one['msg']}" for one in error.errors()
        )
        raise UsageError(f"the inventory {path} has mistakes: {'; '.join(mistakes)}") from error
    assert isinstance(loaded, Inventory)
    return loaded


def _anchor(value: object, base: Path) -> None:
    """Makes the files of contents relative to the inventory file."""
    if isinstance(value, list):
        for item in value:
            _anchor(item, base)
    elif isinstance(value, dict):
        content = value.get("content")
        if isinstance(content, dict) and isinstance(content.get("file"), str):
            content["file"] = str(base / content["file"])
        for item in value.values():
            _anchor(item, base)


DEFAULT_INVENTORY = Path(__file__).with_name("inventory.yaml")
