"""VMs and disks as vSphere describes them, as values. A disk's identity is its key plus backing uuid."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model

Untracked = Literal["", "off", "never", "missing"]


class Controller(Model):
    """What disks hang on."""

    key: int
    """As vSphere gave it."""
    kind: str
    """pvscsi, lsilogic, lsilogic-sas, buslogic, sata, ide, nvme, or the API's type name."""
    bus: int
    """Bus number; with the disk's unit the place that the guest sees."""


class Disk(Model):
    """What stays the same while snapshots come and go; sizes in bytes, to the byte."""

    key: int
    """As vSphere gave it."""
    label: str
    """``Hard disk 1``."""
    controller: Controller
    """What it hangs on."""
    unit: int
    """Unit number, unique on its controller only."""
    capacity: int
    """Bytes."""
    backing_uuid: str
    """With the key, the disk's identity."""
    datastore: str
    """The datastore of the base file, by name."""
    mode: str
    """vSphere's disk mode, such as persistent."""
    thin: bool
    """Thin provisioned."""
    change_tracking: bool
    """changeTrackingEnabled of the VM, and a backing that can have a changeId."""


class Uncovered(Model):
    """A disk that a snapshot does not cover."""

    key: int
    """As vSphere gave it."""
    label: str
    """``Hard disk 1``."""
    capacity: int
    """Bytes."""
    why: str
    """independent, physical RDM, shared bus …"""


class FrozenDisk(Model):
    """A disk as the snapshot's config describes it."""

    key: int
    """As vSphere gave it."""
    backing_uuid: str
    """With the key, the disk's identity."""
    capacity: int
    """Bytes."""
    file: str
    """"[datastore] dir/name.vmdk": what is to be read."""
    datastore: str
    """Of the file, by name."""
    flat: bool
    """A flat base file with no delta below it: HTTPS can read it."""
    why_not_flat: str
    """Empty for a flat one."""
    change_id: str | None
    """Its state for changed block tracking; None where it is not tracked."""
    untracked: Untracked = ""
    """Why there is none: tracking is off for the VM, vSphere cannot track such a disk, or it should and does
    not; empty where there is one, or where it is unknown yet."""
    rolled_back: str = ""
    """The run that put it back last, empty if none did: changeIds from before that do not tell what it
    wrote."""


class Network(Model):
    key: int
    """Of the network adapter."""
    label: str
    """``Network adapter 1``."""
    name: str
    """Of the network or port group."""
    mac: str
    """Its address."""
    adapter: str
    """vmxnet3, e1000 …"""


class VM(Model):
    vcenter: str
    """The job's name of the vCenter."""
    vcenter_uuid: str
    """about.instanceUuid of the vCenter."""
    moref: str
    """``vm-16``."""
    name: str
    """Unescaped (%2f is a slash)."""
    inventory_path: str
    """``DC1/vm/prod/pgtest1``."""
    instance_uuid: str
    """Unique in its vCenter; names the VM's directory in a repository."""
    bios_uuid: str
    """SMBIOS uuid, which clones may share."""
    datacenter: str
    """The datacenter's inventory path, as dcPath of /folder."""
    firmware: str
    """bios or efi."""
    cpus: int
    """Virtual CPUs."""
    memory: int
    """Bytes."""
    guest: str
    """The guest's operating system, in vSphere's words."""
    hardware_version: str
    """``vmx-19``."""
    vmx_file: str
    """``[datastore] dir/name.vmx``."""
    networks: tuple[Network, ...]
    """Its network adapters."""
    asked: str = ""
    """What the job called it: a name, an inventory path, a moref or a uuid."""
