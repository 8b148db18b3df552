"""An image of a copy, compressed or made one without a backing file, before it is read back. qemu-img writes
a new file, which then takes its place; one that was killed is done again."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from runner.base.errors import CommandError, SendenseError
from runner.base.units import HOUR
from runner.base.waiting import until
from runner.hosts.files import NoSpaceError
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.tools import ToolMissing
from steps.qemu import img
from steps.repository import layout

TIMEOUT = 96 * HOUR
"""Of one command: 62 TiB at 200 MB/s, which one core compresses."""

ZSTD = (5, 1)
"""The first qemu-img that knows `compression_type` (ChangeLog/5.1)."""


class CannotCompressError(SendenseError):
    def __init__(self, host: str, found: str) -> None:
        super().__init__(
            f"`compress: zstd` takes qemu-img 5.1 or newer, and host {host} has {found}: install a newer "
            "qemu-utils there, or leave `compress` out"
        )


def require_zstd(ctx: Context, host: Host) -> str:
    """The version of qemu-img on the host that compresses. Raises CannotCompressError, ToolMissing,
    HostError."""
    img.QEMU_IMG.require(ctx, host)
    try:
        return img.QEMU_IMG.require_newer(ctx, host, ZSTD)
    except ToolMissing as missing:
        raise CannotCompressError(host.name, missing.found) from missing


def repack(ctx: Context, host: Host, images: Sequence[str], *, backing: str | None, compress: bool) -> None:
    """The first of `images`, each lying on the next one. `backing` is the one it keeps, as written in it;
    with none it holds all of the disk itself. Raises CommandError, NoSpaceError, Interrupted."""
    path = images[0]
    new = path + layout.REBUILT
    # qemu-img keeps the mode of a file that is there.
    img.make_empty(host, new)
    try:
        _run(ctx, host, img.repack_argv(images, new, backing=backing, compress=compress), new)
    except (CommandError, NoSpaceError):
        host.remove(new)
        raise
    # It leaves what it wrote in the cache.
    host.sync(new)
    host.rename(new, path, replace=True)
    host.sync(posixpath.dirname(path))


def _run(ctx: Context, host: Host, argv: Sequence[str], new: str) -> None:
    with ctx.scope():
        child = ctx.start(host, argv)

        def failure(code: int | None = None) -> Exception:
            said = child.stderr()
            if img.is_full(said):
                return NoSpaceError(host.name, new)
            return CommandError(host.name, tuple(argv), code, said)

        def has_ended() -> bool:
            if code := child.poll():
                raise failure(code)
            return code == 0

        until(has_ended, stop=ctx.stop, timeout=TIMEOUT, late=failure)
