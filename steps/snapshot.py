"""snapshot: one moment of the VM, from which all its disks are read (n6)."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from runner.model import Model


class FrozenDisk(Model):
    """A disk as the snapshot's config describes it."""

    key: int
    backing_uuid: str
    capacity: int
    file: str
    """"[datastore] dir/name.vmdk": what is to be read."""
    datastore: str
    flat: bool
    """A flat base file with no delta below it: HTTPS can read it (n38)."""
    why_not_flat: str
    change_id: str | None


class SnapshotTaken(Model):
    vcenter: str
    vm: str
    """moref"""
    moref: str
    name: str
    """sendense-<run id>"""
    created: datetime
    quiesced: str
    """yes, no, or failed: <reason>"""
    datacenter: str
    disks: tuple[FrozenDisk, ...]
    config: dict[str, JsonValue]
    """The VM's configuration at the snapshot, for the restore (n37)."""
    nvram: str | None
    """"[datastore] dir/name.nvram" or None."""
