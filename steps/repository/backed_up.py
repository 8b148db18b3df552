"""Which VMs were backed up before under what a job calls its VM. Names go from one VM to another; this tells
that one did."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from runner.base.slug import slug
from runner.hosts.host import Host
from steps.repository import layout, reader, vm_place
from steps.repository.identities import Identity
from steps.repository.manifest import Manifest
from steps.repository.vm_directory import VmDirectory


@dataclass(frozen=True)
class BackedUp:
    """One VM, as its newest point has it that can be read."""

    directory: str
    """Absolute."""
    job: str
    """That made the point."""
    published: datetime
    points: int
    vm: Identity
    """What it is called in vSphere: as in that point, or as it was adopted since."""


def as_called(host: Host, root: str, wanted: str, uuids: Collection[str]) -> tuple[BackedUp, ...]:
    """Those that a job meant by `wanted`, or that were called so, the last backed up last. Looked at are the
    directories named after `wanted`, and those of the VMs with the instance `uuids`: a directory keeps the
    name of its first backup, so that a VM backed up first under another name is not found by this one. What
    of their points cannot be read is left out: who builds on it, lists it or prunes says so. Raises
    UnreadableError, CommandError, HostError."""
    called = slug(wanted.rstrip("/").rpartition("/")[2])
    named = {uuid.lower() for uuid in (*uuids, wanted)}
    directories = [
        posixpath.join(root, name)
        for name, uuid in vm_place.every(host, root).items()
        if uuid in named or layout.slug_of(name) == called
    ]
    return in_directories(host, directories, lambda made: _is_meant(made, wanted))


def in_directories(
    host: Host, directories: Iterable[str], fits: Callable[[Manifest], bool] = lambda made: True
) -> tuple[BackedUp, ...]:
    """Those whose newest point `fits`, the last backed up last. What of their points cannot be read is left
    out. Raises as `as_called`."""
    seen = (_seen(reader.read(host, directory), fits) for directory in directories)
    return tuple(sorted(filter(None, seen), key=lambda one: one.published))


def _seen(vm: VmDirectory, fits: Callable[[Manifest], bool]) -> BackedUp | None:
    if vm.newest is None or vm.known is None or not fits(vm.newest.manifest):
        return None
    made = vm.newest.manifest
    return BackedUp(vm.path, made.job, made.published, len(vm.entries), vm.known)


def _is_meant(made: Manifest, wanted: str) -> bool:
    vm = made.vm
    if vm.asked:
        return vm.asked == wanted
    return wanted.strip("/") in (vm.name, vm.inventory_path, vm.moref, vm.instance_uuid, vm.bios_uuid)
