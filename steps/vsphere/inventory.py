"""VMs and disks as vSphere describes them, as values. A disk's identity is its key plus backing uuid."""

from __future__ import annotations

from runner.model import Model


class Controller(Model):
    """`kind`: pvscsi, lsilogic, lsilogic-sas, buslogic, sata, ide, nvme, or the API's type name."""

    key: int
    kind: str
    bus: int


class Disk(Model):
    """What stays the same while snapshots come and go; sizes in bytes, to the byte."""

    key: int
    label: str
    controller: Controller
    unit: int
    capacity: int
    backing_uuid: str
    datastore: str
    """The datastore of the base file, by name."""
    mode: str
    thin: bool
    change_tracking: bool
    """changeTrackingEnabled of the VM, and a backing that can have a changeId."""


class Uncovered(Model):
    """A disk that a snapshot does not cover: `why` is independent, physical RDM, shared bus …"""

    key: int
    label: str
    capacity: int
    why: str


class FrozenDisk(Model):
    """A disk as the snapshot's config describes it."""

    key: int
    backing_uuid: str
    capacity: int
    file: str
    """"[datastore] dir/name.vmdk": what is to be read."""
    datastore: str
    flat: bool
    """A flat base file with no delta below it: HTTPS can read it."""
    why_not_flat: str
    change_id: str | None


class Network(Model):
    key: int
    label: str
    name: str
    mac: str
    adapter: str


class VM(Model):
    vcenter: str
    """The job's name of the vCenter."""
    vcenter_uuid: str
    """about.instanceUuid of the vCenter."""
    moref: str
    name: str
    """Unescaped (%2f is a slash)."""
    inventory_path: str
    instance_uuid: str
    bios_uuid: str
    datacenter: str
    """The datacenter's inventory path, as dcPath of /folder."""
    firmware: str
    cpus: int
    memory: int
    """Bytes."""
    guest: str
    hardware_version: str
    vmx_file: str
    networks: tuple[Network, ...]
