"""The VM's directory in the repository, as a step of a backup asks for it."""

from __future__ import annotations

import posixpath

from runner.hosts.host import Host
from runner.step.context import Context
from steps.repository import marker, vm_place
from steps.vsphere.inventory import VM
from steps.vsphere.owner import reserved


def reserved_directory(ctx: Context, host: Host, root: str, vm: VM) -> str | None:
    """The directory with the lock that this run holds: nobody adopts, moves or deletes it meanwhile, so the
    host need not be asked again. None if the run holds none there. Nor need it be asked for the repository's
    marker: the lock's open file keeps the file system mounted, and where that is unmounted by force the
    directory is gone, in which things are made but which is not made."""
    place = reserved(ctx, vm.instance_uuid)
    if place.lock is None or place.host is None or place.host.name != host.name:
        return None
    directory = posixpath.dirname(place.lock)
    return directory if posixpath.dirname(directory) == root else None


def look(ctx: Context, host: Host, root: str, vm: VM) -> str:
    """As `vm_place.look`. Raises NotARepositoryError too."""
    if (directory := reserved_directory(ctx, host, root, vm)) is not None:
        return directory
    marker.require(host, root)
    return vm_place.look(host, root, vm)


def ensure(ctx: Context, host: Host, root: str, vm: VM) -> str:
    """As `vm_place.ensure`. Raises NotARepositoryError too."""
    if (directory := reserved_directory(ctx, host, root, vm)) is not None:
        return directory
    marker.require(host, root)
    return vm_place.ensure(host, root, vm)
