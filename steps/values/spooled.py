"""A disk of a restore point as a compressed stream in a file, ready to be uploaded."""

from __future__ import annotations

from runner.base.model import Model


class SpooledDisk(Model):
    disk_key: int
    """The disk's key in the restore point"""
    path: str
    """Absolute path on this machine; empty: it is made when it is uploaded, since not all fit at once"""
    size: int
    """Bytes of the stream"""
    sha1: str
    """Of the stream, hex"""
    sha256: str
    """Of the stream, hex"""
    blocks: int
    """Blocks of 1 MiB that were read and compared with the point's digests, which is all of them"""
