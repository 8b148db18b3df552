"""A disk of a VM in vSphere that is written, or read back."""

from __future__ import annotations

from datetime import datetime

from runner.base.model import Model
from runner.step.step import Given
from steps.values.wire import Wire


class VmDiskServing(Given):
    """Served over NBD."""

    vm: str
    """moref of the VM"""
    disk_key: int
    """The disk's key in the restore point"""
    file: str
    """"[datastore] dir/name.vmdk\""""
    capacity: int
    """Bytes"""
    transport: str
    """vddk or https; export where nothing is served, since an export lease reads it"""
    uris: tuple[str, ...]
    """NBD URIs here, one a connection; each passed a handshake"""
    read_only: bool
    """Whether it refuses writes"""
    extents: bool
    """Whether it can tell holes"""
    content_id: str = ""
    """vSphere's, of what was in the disk when it was opened; empty where it has none"""
    wire: Wire | None = None
    """What more connections can be opened over, if another host has it and each costs vSphere nothing"""


class VmDiskWritten(Model):
    disk_key: int
    """The disk's key in the restore point"""
    file: str
    """"[datastore] dir/name.vmdk\""""
    written: int
    """Bytes that were written, in all; of what earlier attempts wrote, whole blocks"""
    read: int
    """Bytes that were read at the point, the last time it was resumed"""
    seconds: float
    """Of the writing, the last time it was resumed"""


class VmDiskChecked(Model):
    disk_key: int
    """The disk's key in the restore point"""
    file: str
    """"[datastore] dir/name.vmdk\""""
    blocks: int
    """Blocks of 1 MiB that were compared with what vSphere has"""
    read: int
    """How many of them were read; of the others vSphere says that nothing was ever written there"""
    read_by: str
    """vddk, https or export: the way that they were read"""
    content_id: str = ""
    """vSphere's, of what was compared: another one once something was written to the disk; empty where it has
    none"""
    at: datetime
    """When"""
    whole: bool = True
    """Whether these are all blocks of the disk; else changed block tracking was trusted with the others"""
