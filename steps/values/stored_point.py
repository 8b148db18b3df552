"""A restore point as it is stored in a repository: its disks, each with the images that it is read from."""

from __future__ import annotations

from runner.base.model import Model
from steps.qemu.nodes import Format, Nodes


class DiskImage(Model):
    """A disk in an image file with its backing images. Sizes in bytes."""

    key: int
    """The disk's key in its VM"""
    capacity: int
    """The disk's size in bytes"""
    host: str
    """The job's name of the host it is on"""
    images: tuple[str, ...]
    """Absolute paths on that host, each lying on the next one; all but the last are qcow2"""
    format: Format = "qcow2"
    """Format of the last one"""
    export: str
    """NBD export name: <vm slug>-disk-<key>"""

    @property
    def path(self) -> str:
        return self.images[0]

    @property
    def nodes(self) -> Nodes:
        return Nodes(self.images, self.format)


class StoredDisk(Model):
    """One disk of a restore point."""

    key: int
    """The disk's key in its VM"""
    label: str
    """Its name in vSphere, such as `Hard disk 1`"""
    capacity: int
    """Its size in bytes"""
    backing_uuid: str
    """The backing uuid it had in vSphere"""
    data: int
    """Bytes of its blocks of 1 MiB that are not all zero"""
    point: str
    """Name of the restore point"""
    image: DiskImage
    """Where it is read from"""
    digests: str
    """Path of its digests file on the same host"""
    digest: str
    """BLAKE3 (hex) of that file, as the manifest says"""


class StoredPoint(Model):
    vm: str
    """The VM's name when the point was made"""
    point: str
    """Name of the restore point"""
    path: str
    """Absolute path of its directory"""
    host: str
    """The job's name of the host it is on"""
    disks: tuple[StoredDisk, ...]
    """Its disks, or those that were asked for"""
    notes: tuple[str, ...]
    """What speaks against it and what is missing in it, in sentences"""
    doubts: tuple[str, ...] = ()
    """Why these disks are not trusted, in words; it was opened anyway"""
