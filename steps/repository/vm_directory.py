"""A VM's directory in a repository: found by the VM's instance uuid, never renamed, of one vCenter, or those it was adopted from."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Protocol

from runner.errors import SendenseError
from runner.hosts import Host
from steps.repository import identities, layout
from steps.repository.identities import DiskIdentity, Identity, Recorded
from steps.repository.manifest import Manifest, parse


class Identified(Recorded, Protocol):
    """A VM that may have restore points."""

    @property
    def name(self) -> str: ...


class TwoDirectoriesError(SendenseError):
    """Two directories carry one instance uuid."""

    def __init__(self, root: str, names: list[str]) -> None:
        super().__init__(
            f"{' and '.join(names)} in {root} are directories of one VM; move the points of one into the other"
        )


class OtherVcenterError(SendenseError):
    """The directory is of a VM of another vCenter, or it was adopted for another VM."""

    def __init__(self, directory: str, vm: Identified, known: Identified) -> None:
        super().__init__(
            f"{directory} is of VM {known.name!r} (instance uuid {known.instance_uuid}) of another vCenter, {known.vcenter_uuid}; "
            f"this is {vm.name!r} ({vm.instance_uuid}) of {vm.vcenter_uuid}: `sendense adopt JOB` shows both, and continues these "
            "restore points if it is the same VM; if not, give this vCenter's VMs a repository of their own"
        )


def find(host: Host, root: str, instance_uuid: str) -> str | None:
    """Absolute path of the VM's directory, None if it has none yet. Raises TwoDirectoriesError, AdoptedTwiceError."""
    wanted = instance_uuid.lower()
    uuids = {name: layout.uuid_of_vm_directory(name) for name in host.listdir(root)}
    names = [name for name, uuid in uuids.items() if uuid == wanted]
    if len(names) > 1:
        raise TwoDirectoriesError(root, names)
    if names:
        return posixpath.join(root, names[0])
    return identities.adopted_as(host, root, wanted) if any(uuids.values()) else None


def look(host: Host, root: str, vm: Identified) -> str:
    """Where the VM's directory is or will be; changes nothing. Raises TwoDirectoriesError, OtherVcenterError, StateError."""
    present = find(host, root, vm.instance_uuid)
    if present is None:
        return posixpath.join(root, layout.vm_directory(vm.name, vm.instance_uuid))
    known = known_as(host, present)
    if known is not None and not identities.is_known(known, vm):
        raise OtherVcenterError(present, vm, known)
    return present


def known_as(host: Host, directory: str) -> Identity | None:
    """What the VM of this directory is called in vSphere as far as is known here: as it was adopted last, else as in its newest
    point; None where there is none. Raises StateError."""
    if adopted := identities.read(host, directory):
        return adopted[-1].new
    newest = next(manifests(host, directory), None)
    return None if newest is None else identity_of(newest)


def identity_of(made: Manifest) -> Identity:
    return Identity(
        vcenter_uuid=made.vm.vcenter_uuid,
        instance_uuid=made.vm.instance_uuid,
        bios_uuid=made.vm.bios_uuid,
        name=made.vm.name,
        inventory_path=made.vm.inventory_path,
        disks=tuple(DiskIdentity(key=disk.key, backing_uuid=disk.backing_uuid) for disk in made.disks),
    )


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
