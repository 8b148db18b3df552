"""What is on a disk before its machine starts, read on the host that boots it: the disk is served there, and
not here."""

from __future__ import annotations

import json
import posixpath
from functools import cache
from typing import Any

from runner.base.errors import CommandError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.hosts.script import load
from steps.efi.gpt import Read

_READ_DISK = load("steps/efi/scripts/read-disk.sh")


def reader(host: Host, node: dict[str, Any], capacity: int, directory: str) -> Read:
    """Of a disk of `capacity` bytes that QEMU's block layer calls `node`. `directory`, on `host`, is for what
    is read. Each MiB is read once. What it reads raises CommandError, HostError."""
    scratch = posixpath.join(directory, "part-of-disk")

    @cache
    def portion(place: int) -> bytes:
        size = min(MiB, capacity - place * MiB)
        # Not qemu-img dd: its count is from the disk's beginning, not from what it skips (tried with 7.2).
        part = {"driver": "raw", "read-only": True, "offset": place * MiB, "size": size, "file": node}
        done = host.run(_READ_DISK.argv(f"json:{json.dumps(part)}", scratch), ok=None)
        if done.exit_code:
            raise CommandError(host.name, ("qemu-img", "convert"), done.exit_code, done.stderr)
        return done.stdout

    def read(offset: int, length: int) -> bytes:
        first, last = offset // MiB, (offset + length - 1) // MiB
        content = b"".join(map(portion, range(first, last + 1)))
        return content[offset - first * MiB :][:length]

    return read
