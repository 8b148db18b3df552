"""qemu-nbd: the command line that exports an image on a unix socket (qemu-nbd(8))."""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from runner.base.units import MiB
from runner.step.tools import Program
from steps.qemu.img import FORMAT
from steps.qemu.nodes import Nodes

QEMU_NBD = Program(
    program="qemu-nbd",
    asks=("qemu-nbd", "--version"),
    answers=r"^qemu-nbd (\d+\.\d+\S*)",
    # Before 4.0 its server told sizes and extents in multiples of its own block: an image that ends in the
    # middle of one had another size at each end (qemu's ChangeLog/4.0, NBD). --pid-file came with 4.1, each
    # other option is older.
    minimum=(4, 1),
    package="qemu-utils",
    purpose="disks that are read or written here",
)

Cache = Literal["writeback", "none"]

Image = str | Nodes
"""The path of a qcow2 image, or an image with its backing images."""

SPARE_CONNECTIONS = 2
"""Beyond those that carry data: one for a readiness probe and one for a connection that is dying
unnoticed."""

_KEEPS_BUFFERS = (
    f"MALLOC_MMAP_THRESHOLD_={4 * MiB}",
    f"MALLOC_TRIM_THRESHOLD_={32 * MiB}",
)
"""qemu-nbd allocates a buffer for each request, and glibc takes a MiB from the kernel and gives it back each
time, page by page (mallopt(3)). 1.5 GiB read in requests of 1 MiB: 1.45 CPU seconds, and 0.60 with these, at
50 MiB of memory more; half a GiB written: 0.60 and 0.35. To another C library they mean nothing."""

CONNECTIONS_PER_FORWARD = 2
"""Through one ssh process. OpenSSH lets 2 MiB of a channel be under way (channels.h,
CHAN_TCP_WINDOW_DEFAULT): with a round trip of 20 ms that is 100 MB/s a connection. A second one doubles it
and costs no further login."""


def argv(
    image: Image, at: str | int, export: str, *, read_only: bool, shared: int, cache: Cache, pid_file: str
) -> tuple[str, ...]:
    """`at` is the path of a unix socket or a port of 127.0.0.1. The server stays in the foreground and serves
    until it is ended. It listens before it opens the image; `pid_file` is there once it has both, last of all
    (tried with 7.2).

    `shared` connections at once, since the default of 1 lets the second wait for ever, and `--persistent`,
    since without it the first probe ends the server. With either cache a FLUSH is an fsync, which the promise
    of the ledger depends on, so it is named even where it is the default. `none` opens the image with
    O_DIRECT: what is read comes from storage.
    """
    return (
        "env",
        *_KEEPS_BUFFERS,
        "qemu-nbd",
        "--persistent",
        f"--shared={shared}",
        *_listening(at),
        f"--export-name={export}",
        f"--cache={cache}",
        f"--pid-file={pid_file}",
        # Zeroes are found by the copy engine, which must know them anyhow; looking twice costs a core.
        "--detect-zeroes=off",
        "--discard=unmap",
        *(("--read-only",) if read_only else ()),
        *((f"--format={FORMAT}", image) if isinstance(image, str) else (image.name,)),
    )


def null_argv(socket: str, export: str) -> tuple[str, ...]:
    """A server of 512 zero bytes that belong to no file: to see whether it can be reached."""
    at = _listening(socket)
    return (
        "qemu-nbd",
        "--persistent",
        *at,
        f"--export-name={export}",
        "--image-opts",
        "driver=null-co,size=512",
    )


def _listening(at: str | int) -> tuple[str, ...]:
    return (f"--socket={at}",) if isinstance(at, str) else ("--bind=127.0.0.1", f"--port={at}")


def port_uri(port: int, export: str) -> str:
    """As seen on the server's host."""
    return f"nbd://127.0.0.1:{port}/{quote(export, safe='')}"


def uri(socket: str, export: str) -> str:
    """The NBD URI of an export on a unix socket (the NBD project's uri.md)."""
    return f"nbd+unix:///{quote(export, safe='')}?socket={quote(socket)}"


def parsed(uri: str) -> tuple[str | int, str]:
    """Of a `uri` or `port_uri`: the socket's path or the port, and the export's name. Raises ValueError."""
    parts = urlsplit(uri)
    export = unquote(parts.path.removeprefix("/"))
    if parts.scheme == "nbd+unix" and (socket := parse_qs(parts.query).get("socket")):
        return socket[0], export
    if parts.scheme == "nbd" and parts.hostname == "127.0.0.1" and parts.port is not None:
        return parts.port, export
    raise ValueError(f"no NBD URI of ours: {uri}")


def refuses_direct(stderr: str) -> bool:
    """Whether a server that died was asked for O_DIRECT on a file system that has none, or for a raw file
    that does not end where its file system's blocks do, and cannot be written so (tried with 7.2)."""
    return "O_DIRECT" in stderr or "not a multiple of request alignment" in stderr


def port_is_taken(stderr: str) -> bool:
    """Whether a server that died found another process listening on its port."""
    return "Failed to find an available port" in stderr or "Address already in use" in stderr


def is_in_use(stderr: str) -> bool:
    """Whether a server that died found another process holding the image's lock."""
    return "Is another process using the image" in stderr
