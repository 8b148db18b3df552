"""The disks of a restore point over NBD for as long as somebody works with them, outside of any run."""

from __future__ import annotations

import posixpath

from runner.step.context import Context
from steps.nbd.image_server import serve
from steps.qemu import img
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage, StoredDisk, StoredPoint

CONNECTIONS = 4
"""ssh processes per disk, if it is on another host: as for a backup."""


def serve_point(ctx: Context, point: StoredPoint, *, writable: bool) -> tuple[Serving, ...]:
    """One export a disk, all of which end with `ctx`. What is written to a writable one is thrown away then:
    the point's own files are opened for reading only. Raises what serve-image does."""
    return tuple(_serve(ctx, disk, writable=writable) for disk in point.disks)


def _serve(ctx: Context, disk: StoredDisk, *, writable: bool) -> Serving:
    host, image = ctx.host(disk.image.host), disk.image
    if not writable:
        return serve(ctx, host, image, "read-only", CONNECTIONS)
    directory = ctx.closing.enter_context(host.tempdir())
    scratch = posixpath.join(directory, "scratch.qcow2")
    img.create(host, scratch, disk.capacity)
    return serve(ctx, host, _on_top(scratch, image), "write", CONNECTIONS)


def _on_top(scratch: str, image: DiskImage) -> DiskImage:
    return image.model_copy(update={"images": (scratch, *image.images)})
