"""A restore point by the name that a person gives it: ``20261123T170000Z-3f9a``, any unambiguous prefix of
it, the same behind a VM (``pgtest1/20261123``), or the path of its directory. ``pgtest1`` and
``pgtest1/latest`` are the VM's newest good point, and ``latest`` is that of the repository's only VM."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from runner.base.errors import UsageError
from runner.hosts.host import Host
from steps.repository import layout, listing, manifest, marker, reader, standing
from steps.repository.listing import Listing
from steps.repository.naming import AmbiguousVmError, Names

LATEST = "latest"

_SHOWN = 5


@dataclass(frozen=True)
class Found:
    path: str
    """Absolute, of the point's directory."""
    note: str | None = None
    """Where the newest point was asked for and another one is meant: which, and why."""
    newest: bool = False
    """Whether the newest point was asked for."""


class NoSuchPointError(UsageError):
    def __init__(
        self, name: str, where: str, remedy: str = "`sendense points JOB` lists what is there"
    ) -> None:
        super().__init__(f"{where} has no restore point {name!r}; {remedy}")


class AmbiguousPointError(UsageError):
    """`candidates` are points as they may be written instead."""

    def __init__(self, name: str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        more = ", …" if len(candidates) > _SHOWN else ""
        super().__init__(
            f"{name!r} is ambiguous: {', '.join(candidates[:_SHOWN])}{more}; write more of it, or "
            "VM/POINT, or its path"
        )


class SeveralVmsError(UsageError):
    def __init__(self, root: str, count: int) -> None:
        super().__init__(f"{root} has points of {count} VMs: write VM/{LATEST}")


def find(host: Host, root: str, name: str) -> Found:
    """The point in the repository at `root`. Raises NoSuchPointError, AmbiguousPointError, AmbiguousVmError,
    SeveralVmsError, NotARepositoryError, StateError for what had to be read and could not be."""
    found = candidates(host, root, name)
    if not found:
        raise NoSuchPointError(name, f"{root} on {host.name}")
    if len(found) > 1:
        raise ambiguous(host, name, [one.path for one in found])
    return found[0]


def ambiguous(host: Host, name: str, paths: Sequence[str]) -> AmbiguousPointError:
    """`paths` of points. Those of VMs of one name are told apart by uuid and inventory path. Raises
    StateError."""
    directories = {posixpath.dirname(path) for path in paths}
    apart = len({layout.slug_of(directory) for directory in directories}) == len(directories)
    shown = [_written(host, path, by_slug=apart) for path in paths[:_SHOWN]]
    return AmbiguousPointError(name, [*shown, *paths[_SHOWN:]])


def _written(host: Host, path: str, *, by_slug: bool) -> str:
    directory, point = posixpath.split(path)
    if by_slug:
        return f"{layout.slug_of(directory)}/{point}"
    made = manifest.read(host, path)
    where = "" if made is None else f" ({made.vm.inventory_path})"
    return f"{layout.uuid_of_vm_directory(posixpath.basename(directory))}/{point}{where}"


def candidates(host: Host, root: str, name: str) -> list[Found]:
    """All points that `name` may mean, by VM directory. Raises AmbiguousVmError and SeveralVmsError where the
    newest point is asked for and it is not clear of which VM, and UnreadableError where there is none, and
    not all could be read."""
    marker.require(host, root)
    wanted = name.rstrip("/")
    if (path := _exact(root, wanted)) is not None and host.exists(path):
        return [Found(path)]
    listed = listing.find(host, root, depth=2)
    unlisted = dict(listed.failed)
    vm, _, last = wanted.rpartition("/")
    if last == LATEST:
        found = _latest(host, root, listed, vm)
    elif not (found := _beginning(host, root, listed, vm, last)) and wanted:
        found = _latest(host, root, listed, wanted)
    if not found and unlisted:
        path, why = min(unlisted.items())
        raise listing.UnreadableError(posixpath.join(root, path), host.name, why)
    return found


def _beginning(host: Host, root: str, listed: Listing, vm: str, begun: str) -> list[Found]:
    """The points whose names begin so, of `vm` or of any."""
    found = (
        [path for path in reader.points_in(listed) if posixpath.basename(path).startswith(begun)]
        if begun
        else []
    )
    if found and vm:
        directories = _directories(host, root, listed, vm)
        found = [path for path in found if posixpath.dirname(path) in directories]
    return [Found(posixpath.join(root, path)) for path in found]


def _latest(host: Host, root: str, listed: Listing, vm: str) -> list[Found]:
    """Of the VM of that name; empty: of the only one."""
    directories = _directories(host, root, listed, vm)
    if len(directories) > 1:
        if not vm:
            raise SeveralVmsError(root, len(directories))
        raise AmbiguousVmError(vm, Names.read(host, root).all(vm), root)
    found = [standing.latest(reader.read(host, posixpath.join(root, directory))) for directory in directories]
    return [Found(*one, newest=True) for one in found if one is not None]


def _exact(root: str, name: str) -> str | None:
    """The path of the point that is named by its directory and its VM's: one request finds it among
    thousands."""
    vm, point = posixpath.split(posixpath.normpath(name).removeprefix(f"{root}/"))
    if layout.uuid_of_vm_directory(vm) is None or not layout.is_point(point):
        return None
    return posixpath.join(root, vm, point)


def _directories(host: Host, root: str, listed: Listing, vm: str) -> list[str]:
    """Names of the directories of the VMs that `vm` may mean; of all, where it is empty. What VMs are called
    is asked of their newest points, and only where nothing there is called so, of all."""
    directories = sorted({posixpath.dirname(path) for path in reader.points_in(listed)})
    if not vm:
        return directories
    for name in directories:
        if vm in (name, posixpath.join(root, name)) or vm.lower() == layout.uuid_of_vm_directory(name):
            return [name]
    meant = Names.read(host, root, newest_only=True).all(vm) or Names.read(host, root).all(vm)
    return [found.name for found in meant]
