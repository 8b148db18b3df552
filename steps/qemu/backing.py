"""What many images say of the one below them, by their own headers, in one request: `qemu-img info` is a
process for each."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from runner.base.units import MINUTE, KiB
from runner.hosts.host import Host
from steps.qemu.img import BadImageError

_HEADER = 4 * KiB
"""The name stands in the first cluster behind the header and its extensions, which qemu-img writes 550 bytes
of, and has 1023 bytes at most."""

_MAGIC = b"QFI\xfb"

_FIELDS = struct.Struct(">4sIQI")
"""Magic, version, where the backing file's name is (0: there is none), its length (QEMU,
docs/interop/qcow2.txt)."""

# The names come on standard input: of a VM with many points they are longer than what a login shell can be
# given as a command.
_READ = ("xargs", "--null", "--no-run-if-empty", "head", "--quiet", f"--bytes={_HEADER}", "--")
_SOME_FAILED = 123
"""xargs: of a program that it ran, one ended with another exit code than 0."""


def backing_files(host: Host, paths: Sequence[str]) -> tuple[str | None, ...]:
    """Of each image, as written in it; None for an image without one. Raises BadImageError if one of them
    cannot be read or is no qcow2, CommandError."""
    if not paths:
        return ()
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = host.run(_READ, stdin=names, timeout=MINUTE + len(paths), ok=(0, _SOME_FAILED))
    if done.exit_code or len(done.stdout) != _HEADER * len(paths):
        said = " ".join(done.stderr.split()) or "one is shorter than any image"
        raise BadImageError(f"the images of {paths[0]} and others on {host.name} cannot be read: {said}")
    starts = range(0, len(done.stdout), _HEADER)
    headers = (done.stdout[start : start + _HEADER] for start in starts)
    return tuple(_backing(path, header) for path, header in zip(paths, headers, strict=True))


def _backing(path: str, header: bytes) -> str | None:
    magic, _, offset, length = _FIELDS.unpack_from(header)
    if magic != _MAGIC:
        raise BadImageError(f"{path} is not a qcow2 image")
    if offset + length > _HEADER:
        raise BadImageError(
            f"{path} does not name its backing file in its first {_HEADER} bytes, where qemu-img puts it"
        )
    return header[offset : offset + length].decode("utf-8", "backslashreplace") if offset else None
