"""Overlays that take what a guest writes, and no more than they may: thrown away as soon as QEMU has them.

Each is a qcow2 image in a sparse file of a fixed size, and QEMU sees of that file what `size` of its raw
driver says. A write beyond it gets ENOSPC, and the machine stops: `BLOCK_IO_ERROR` with `nospace` (tried with
7.2, to the byte). NVMe has no such stop: `steps.boot.nvme_errors`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from runner.base.errors import CommandError
from runner.base.units import KiB, MiB, human_bytes
from runner.hosts.files import NoSpaceError
from runner.hosts.host import Host
from runner.hosts.script import load
from steps.boot.errors import BootError
from steps.qemu import nbd_server, nodes
from steps.qemu.img import is_full
from steps.values.machine import Machine, MachineDisk

SMALLEST = 4 * MiB
"""Of one: the tables of the largest disk that VMFS allows take 3 MiB of it."""

_STEP = 64 * KiB
_OPTIONS = "compat=1.1,cluster_size=64k,extended_l2=on,lazy_refcounts=on"
"""With extended L2 entries a cluster is filled 2 KiB at a time: without them, a first write of 4 KiB reads
the other 60 of its cluster from the point, which may be far away. 500 such writes took 2.3 MB of the host's
disk with them, and 33 MB without."""

_MAKE_TIMEOUT = 60.0
_MAKE_OVERLAYS = load("steps/boot/scripts/make-overlays.sh")


def shares(machine: Machine, limit: int) -> Mapping[int, int]:
    """Disk key → the size of its overlay in bytes; all together have `limit` at most. The disk that boots
    gets half of it, and the others share the rest. Raises BootError if that is too little to start with."""
    if not machine.disks:
        return {}
    first, *others = sorted(machine.disks, key=_boots_at)
    parts = {first.key: limit // 2 if others else limit}
    parts |= {disk.key: (limit - limit // 2) // len(others) for disk in others}
    if min(parts.values()) < SMALLEST:
        least = SMALLEST * max(2 * len(others), 1)
        raise BootError(
            f"an overlay of {human_bytes(limit)} is too little for {len(machine.disks)} disks: raise "
            f"`overlay` of the limits to {human_bytes(least)} or more"
        )
    return {key: part // _STEP * _STEP for key, part in parts.items()}


def make(host: Host, directory: str, machine: Machine, sizes: Mapping[int, int]) -> None:
    """One for each disk, in `directory`. Raises NoSpaceError, CommandError, HostError."""
    if not machine.disks:
        return
    told = [
        word
        for disk in machine.disks
        for word in (_path(directory, disk), str(disk.capacity), str(sizes[disk.key]))
    ]
    argv = _MAKE_OVERLAYS.argv(_OPTIONS, *told)
    done = host.run(argv, timeout=_MAKE_TIMEOUT, ok=None)
    if is_full(done.stderr):
        raise NoSpaceError(host.name, directory)
    if done.exit_code:
        raise CommandError(host.name, ("qemu-img", "create"), done.exit_code, done.stderr)


def arguments(
    directory: str, machine: Machine, sizes: Mapping[int, int], sources: Mapping[int, str]
) -> Iterator[str]:
    """Of QEMU: a node ``disk-<key>`` for each disk. `sources` as `steps.boot.request.BootRequest.disks`."""
    for disk in machine.disks:
        told = _overlay(disk, _path(directory, disk), sizes[disk.key], sources[disk.key])
        yield from ("-blockdev", json.dumps(told))


def node(disk: MachineDisk) -> str:
    """Its name in QEMU's block graph."""
    return f"disk-{disk.key}"


def source_node(source: str) -> dict[str, Any]:
    """Of QEMU's block layer; `source` as one of `steps.boot.request.BootRequest.disks`."""
    if posixpath.isabs(source):
        return {"driver": "raw", "file": {"driver": "file", "filename": source, "read-only": True}}
    return nodes.served(*nbd_server.parsed(source))


def _overlay(disk: MachineDisk, path: str, size: int, source: str) -> dict[str, Any]:
    return {
        "driver": "qcow2",
        "node-name": node(disk),
        # Nobody needs it after a crash of the host.
        "cache": {"direct": False, "no-flush": True},
        "file": {"driver": "raw", "size": size, "file": {"driver": "file", "filename": path}},
        "backing": {**source_node(source), "read-only": True},
    }


def _path(directory: str, disk: MachineDisk) -> str:
    return posixpath.join(directory, f"disk-{disk.key}.qcow2")


def _boots_at(disk: MachineDisk) -> tuple[bool, int]:
    return disk.boot is None, disk.boot or 0
