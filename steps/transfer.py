"""transfer: the disk's bytes, from source to image, with a digest of every block."""

from __future__ import annotations

from runner.model import Model
from steps.create_qcow2 import Image


class Copied(Model):
    image: Image
    snapshot: str
    """moref of the snapshot that was read"""
    digests: str
    """Path of disk-<key>.blake3 on the image's host."""
    digest: str
    """BLAKE3 (hex) of that file."""
    data: int
    """Bytes of 1 MiB blocks that are not all zero."""
    zero: int
    seconds: float
    """Of the copy."""
