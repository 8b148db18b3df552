"""Which VMs were backed up before under what a job calls its VM. Names go from one VM to another; this tells that one did."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from runner.hosts import Host
from steps.repository import layout, survey, vm_directory
from steps.repository.identities import Identity
from steps.repository.manifest import Manifest


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
    """Those that a job meant by `wanted`, or that were called so, the last backed up last. Looked at are the directories named
    after `wanted`, and those of the VMs with the instance `uuids`: a directory keeps the name of its first backup, so that a VM
    backed up first under another name is not found by this one. One listing and a few small files are read. Raises StateError
    for a damaged identities.json, HostError, CommandError."""
    slug = layout.slug(wanted.rstrip("/").rpartition("/")[2])
    named = {uuid.lower() for uuid in (*uuids, wanted)}
    found = []
    for name, uuid in vm_directory.every(host, root).items():
        if uuid in named or layout.slug_of(name) == slug:
            directory = posixpath.join(root, name)
            if (seen := _seen(host, directory, wanted)) is not None:
                found.append(seen)
    return tuple(sorted(found, key=lambda seen: seen.published))


def _seen(host: Host, directory: str, wanted: str) -> BackedUp | None:
    """What of its points cannot be read is passed over: who builds on them, lists or prunes them says so; the others tell whose
    they are as well."""
    seen = survey.of_vm(host, directory)
    if not seen.entries or not _is_meant(newest := seen.entries[-1].manifest, wanted):
        return None
    known = seen.adopted[-1].new if seen.adopted else vm_directory.identity_of(newest)
    points = len(seen.entries) + len(seen.unread_points)
    return BackedUp(directory, newest.job, newest.stored or newest.published, points, known)


def _is_meant(made: Manifest, wanted: str) -> bool:
    vm = made.vm
    if vm.asked:
        return vm.asked == wanted
    return wanted.strip("/") in (vm.name, vm.inventory_path, vm.moref, vm.instance_uuid, vm.bios_uuid)
