"""An image that is to be read back from its host."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from steps.qemu import nbd_server
from steps.repository import layout
from steps.values.image import Image
from steps.values.stored_point import StoredDisk


@dataclass(frozen=True)
class ImageAtRest:
    """Nobody writes to it."""

    key: int
    name: str
    """In messages: ``image of disk 2000 on store``"""
    path: str
    opens: nbd_server.Image
    """What qemu opens: the path, where the image's own header names its backing file, or each image of its
    chain."""
    capacity: int
    export: str
    """NBD export name, where it is served."""
    depth: int = 1
    """Images of its chain at most."""


def of_backup(image: Image, depth: int) -> ImageAtRest:
    """Of an unfinished restore point: its header, which `qemu-img` restores by, is verified with it."""
    return ImageAtRest(
        key=image.key,
        name=f"image of disk {image.key} on {image.host}",
        path=image.path,
        opens=image.path,
        capacity=image.capacity,
        export=layout.export(layout.slug_of(posixpath.dirname(image.directory)), image.key),
        depth=depth,
    )


def of_point(disk: StoredDisk) -> ImageAtRest:
    image = disk.image
    return ImageAtRest(
        key=disk.key,
        name=f"disk {disk.key} of {disk.point}",
        path=image.path,
        opens=image.nodes,
        capacity=image.capacity,
        export=image.export,
        depth=len(image.images),
    )
