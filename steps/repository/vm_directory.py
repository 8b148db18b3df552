"""A VM's directory in a repository: found by the VM's instance uuid, never renamed, of one vCenter only."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Protocol

from runner.errors import SendenseError
from runner.hosts import Host
from steps.repository import layout
from steps.repository.manifest import Manifest, parse


class Identified(Protocol):
    """What tells a VM from all others."""

    @property
    def name(self) -> str: ...

    @property
    def instance_uuid(self) -> str: ...

    @property
    def vcenter_uuid(self) -> str:
        """about.instanceUuid of its vCenter."""


class TwoDirectoriesError(SendenseError):
    """Two directories carry one instance uuid."""

    def __init__(self, root: str, names: list[str]) -> None:
        super().__init__(
            f"{' and '.join(names)} in {root} are directories of one VM; move the points of one into the other"
        )


class OtherVcenterError(SendenseError):
    """The instance uuid is unique within a vCenter only."""

    def __init__(self, directory: str, vm: Identified, vcenter_uuid: str) -> None:
        super().__init__(
            f"{directory} holds a VM of another vCenter (uuid {vcenter_uuid}) with the instance uuid of {vm.name!r} "
            f"of vCenter {vm.vcenter_uuid}; give this vCenter's VMs a repository of their own"
        )


def find(host: Host, root: str, instance_uuid: str) -> str | None:
    """Absolute path of the VM's directory, None if it has none yet. Raises TwoDirectoriesError."""
    wanted = instance_uuid.lower()
    names = [name for name in host.listdir(root) if layout.uuid_of_vm_directory(name) == wanted]
    if len(names) > 1:
        raise TwoDirectoriesError(root, names)
    return posixpath.join(root, names[0]) if names else None


def look(host: Host, root: str, vm: Identified) -> str:
    """Where the VM's directory is or will be; changes nothing. Raises TwoDirectoriesError, OtherVcenterError."""
    present = find(host, root, vm.instance_uuid)
    if present is None:
        return posixpath.join(root, layout.vm_directory(vm.name, vm.instance_uuid))
    newest = next(manifests(host, present), None)
    if newest is not None and newest.vm.vcenter_uuid != vm.vcenter_uuid:
        raise OtherVcenterError(present, vm, newest.vm.vcenter_uuid)
    return present


def ensure(host: Host, root: str, vm: Identified) -> str:
    """As `look`, and makes the directory."""
    directory = look(host, root, vm)
    host.mkdir(directory)
    return directory


def points(host: Host, directory: str) -> list[str]:
    """Names of what looks like a restore point, oldest first by the second that they tell."""
    return [name for name in host.listdir(directory) if layout.is_point(name)]


def manifests(host: Host, directory: str) -> Iterator[Manifest]:
    """Of the VM's points, newest first as `points` has them. Raises StateError for a damaged one."""
    for name in reversed(points(host, directory)):
        if (manifest := read(host, posixpath.join(directory, name))) is not None:
            yield manifest


def read(host: Host, point: str) -> Manifest | None:
    """The manifest in the directory `point`; None without one. Raises StateError."""
    path = posixpath.join(point, layout.MANIFEST)
    try:
        return parse(host.read(path), f"{path} on {host.name}")
    except FileNotFoundError:
        return None


def point_of_run(host: Host, directory: str, run_id: str) -> str | None:
    """Absolute path of the restore point that this run published, if it did. Raises StateError."""
    for name in points(host, directory):
        path = posixpath.join(directory, name)
        if layout.may_be_of_run(name, run_id) and (manifest := read(host, path)) is not None and manifest.run == run_id:
            return path
    return None
