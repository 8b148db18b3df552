"""Where a VM's restore points are in a repository: the directory with its instance uuid in its name, never
renamed, of one vCenter, or those it was adopted from."""

from __future__ import annotations

import posixpath
from typing import Protocol

from runner.base.errors import SendenseError, StateError
from runner.hosts.host import Host
from steps.repository import beforehand, identities, layout, listing, manifest, reader
from steps.repository.identities import Identity, Recorded


class Identified(Recorded, Protocol):
    """A VM that may have restore points."""

    @property
    def name(self) -> str: ...


class TwoDirectoriesError(SendenseError):
    """Two directories carry one instance uuid."""

    def __init__(self, root: str, names: list[str]) -> None:
        super().__init__(
            f"{' and '.join(names)} in {root} are directories of one VM; move all points into one of them"
        )


class OtherVcenterError(SendenseError):
    """The directory is of a VM of another vCenter, or it was adopted for another VM."""

    def __init__(self, directory: str, vm: Identified, known: Identified) -> None:
        super().__init__(
            f"{directory} is of VM {known.name!r} (instance uuid {known.instance_uuid}) of another vCenter, "
            f"{known.vcenter_uuid}; this is {vm.name!r} ({vm.instance_uuid}) of {vm.vcenter_uuid}: `sendense "
            "adopt JOB` shows both, and continues these restore points if it is the same VM; if not, give "
            "this vCenter's VMs a repository of their own"
        )


def every(host: Host, root: str) -> dict[str, str]:
    """Names of all VMs' directories, in order, each with the instance uuid in it; none where there is no
    `root`. Raises UnreadableError."""
    if (whole := beforehand.known(host, root)) is not None:
        return whole.directories()
    names = sorted(listing.find(host, root, depth=1).found)
    return {name: uuid for name in names if (uuid := layout.uuid_of_vm_directory(name)) is not None}


def find(host: Host, root: str, instance_uuid: str) -> str | None:
    """Absolute path of the VM's directory, None if it has none yet. Raises TwoDirectoriesError,
    AdoptedTwiceError, UnreadableError."""
    wanted, whole = instance_uuid.lower(), beforehand.known(host, root)
    uuids = every(host, root) if whole is None else {}
    names = [name for name, uuid in uuids.items() if uuid == wanted] if whole is None else whole.names(wanted)
    if len(names) > 1:
        raise TwoDirectoriesError(root, names)
    if names:
        return posixpath.join(root, names[0])
    if whole is not None:
        return whole.adopted_as(wanted)
    return identities.adopted_as(host, root, wanted) if uuids else None


def look(host: Host, root: str, vm: Identified) -> str:
    """Where the VM's directory is or will be; changes nothing. What of its points cannot be read does not
    matter here: any other tells whose they are. Where none does, only its name tells, and
    nothing is built on any of them. Raises TwoDirectoriesError, OtherVcenterError, StateError."""
    present = find(host, root, vm.instance_uuid)
    if present is None:
        return posixpath.join(root, layout.vm_directory(vm.name, vm.instance_uuid))
    known = known_as(host, present)
    if known is not None and not identities.is_known(known, vm):
        raise OtherVcenterError(present, vm, known)
    return present


def ensure(host: Host, root: str, vm: Identified) -> str:
    """As `look`, and makes the directory."""
    directory = look(host, root, vm)
    host.mkdir(directory)
    return directory


def known_as(host: Host, directory: str) -> Identity | None:
    """`VmDirectory.known` of this directory, whose points need not be readable where it was adopted. Raises
    StateError where whom it was adopted for cannot be read."""
    vm = reader.read(host, directory)
    for one in vm.unread:
        if one.path == posixpath.join(directory, layout.IDENTITIES):
            raise StateError(one.sentence)
    return vm.known


def point_of_run(host: Host, directory: str, run_id: str) -> str | None:
    """Absolute path of the restore point that this run published, if it did: each check of a step asks, so
    only the one manifest that can be the run's is read. Raises StateError if one that may be it cannot be
    read."""
    for name in listing.names(host, directory):
        if layout.may_be_of_run(name, run_id):
            path = posixpath.join(directory, name)
            if (made := manifest.read(host, path)) is None:
                raise StateError(
                    f"{path} on {host.name} has the name that run {run_id} publishes under, but no "
                    f"{layout.MANIFEST}: check what it is, and move it away"
                )
            if made.run == run_id:
                return path
    return None
