"""The inventory file: what the simulated vCenter holds, as people write it in YAML. Its VMs are in
`machine_spec`, those that are made by number in `estate_spec`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from runner.base.errors import UsageError
from runner.base.model import JobModel, load_value
from runner.base.units import TiB
from runner.base.yaml_nodes import compose
from steps.lab.simulator.estate_spec import EstateSpec
from steps.lab.simulator.machine_spec import MachineSpec, Name, Room, Size, unique


class DatastoreSpec(JobModel):
    name: Name
    kind: Literal["vmfs", "nfs", "vsan", "vvol"] = "vmfs"
    capacity: Size = 10 * TiB
    free: Room | None = None
    """By default what the VMs' files leave of the capacity."""
    cluster: str | None = None
    """The datastore cluster that it is in."""
    denied: tuple[str, ...] = ()
    """Privileges that the user lacks on it; without System.Read nothing of it can be read, not its name
    either."""


class ClusterSpec(JobModel):
    name: Name
    hosts: tuple[Name, ...] = ()
    """By default one, named after the cluster."""
    standalone: bool = False
    """One host without a cluster."""
    hardware: int = Field(default=21, ge=4)
    """The newest version of virtual hardware that its hosts make."""
    pools: tuple[str, ...] = ()
    """Resource pools; one in another is ``gold/inner``."""


class VappSpec(JobModel):
    name: Name
    folder: str = ""
    """The VM folder in which it is shown."""
    cluster: str | None = None
    pool: str = ""


class DatacenterSpec(JobModel):
    name: Name
    folder: str = ""
    """Below the root folder."""
    clusters: tuple[ClusterSpec, ...] = (ClusterSpec(name="cluster1"),)
    vapps: tuple[VappSpec, ...] = ()
    datastores: tuple[DatastoreSpec, ...]
    networks: tuple[str, ...] = ("VM Network",)
    distributed: dict[str, tuple[str, ...]] = {}
    """Distributed switches, with the names of their port groups."""
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
    key_provider: bool = False
    """Whether there is one, so that a new VM can have a virtual TPM."""
    newest_hardware: int = 21
    """The newest hardware version that its hosts run."""
    chunked_uploads: bool = False
    """Whether a disk may come in under a lease without Content-Length."""
    private_leases: bool = False
    """Whether a lease can be used by its own session alone."""
    unset: tuple[str, ...] = ()
    """Properties that its answers lack, such as VirtualDisk.capacityInBytes."""
    tags: tuple[str, ...] = ()
    """``category/tag`` each, besides those that VMs name."""
    tagged: dict[str, tuple[str, ...]] = {}
    """Tags of what is no VM, by its inventory path: ``{DC1/vm/production: [backup/gold]}``."""
    attributes: tuple[str, ...] = ()
    """Custom attributes, besides those that VMs have values of."""
    rest: Literal["both", "api", "rest", "session-only", "none"] = "both"
    """Which of its REST interfaces there are: /api and /rest, one of them, /rest with no more than a login
    under /api (7.0 before its second update), or none."""
    estate: EstateSpec | None = None
    """VMs that are made, not written: ``{vms: 1000}``."""
    datacenters: tuple[DatacenterSpec, ...] = ()

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
        unique("datacenter", [(one.folder, one.name) for one in self.datacenters])
        # A datastore's name is unique in its datacenter only; here in all, since each is a directory of its
        # own.
        unique("datastore", [store.name for one in self.datacenters for store in one.datastores])
        uuids = [vm.instance_uuid for one in self.datacenters for vm in one.vms if vm.instance_uuid]
        unique("instance-uuid", uuids)
        for datacenter in self.datacenters:
            unique(f"VM of {datacenter.name}", [(vm.folder, vm.name) for vm in datacenter.vms])
            known = {store.name for store in datacenter.datastores}
            for vm in datacenter.vms:
                for store in [vm.datastore, *(disk.datastore for disk in vm.disks if disk.datastore)]:
                    if store not in known:
                        raise ValueError(
                            f"{vm.name} names datastore {store}, which {datacenter.name} does not have"
                        )
        return self


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
ESTATE = Path(__file__).with_name("estate.yaml")
