"""A restore point by the name that a person gives it: ``20261123T170000Z-3f9a``, the beginning of it, the same behind a
VM (``pgtest1/20261123``), or the path of its directory."""

from __future__ import annotations

import posixpath

from runner.errors import UsageError
from runner.hosts import Host
from runner.units import MINUTE
from steps.repository import layout, marker, vm_directory

LIST_TIMEOUT = 2 * MINUTE

# One request for all, since a host may be far away and hold thousands of VMs.
_LIST = "cd \"$1\" && find . -mindepth 2 -maxdepth 2 -type d -not -path './.*' -print0"

_SHOWN = 5


class NoSuchPointError(UsageError):
    def __init__(self, name: str, where: str, remedy: str = "`sendense points JOB` lists what is there") -> None:
        super().__init__(f"{where} has no restore point {name!r}; {remedy}")


class AmbiguousPointError(UsageError):
    """`candidates` are paths of points."""

    def __init__(self, name: str, candidates: list[str]) -> None:
        self.candidates = tuple(candidates)
        shown = [f"{layout.slug_of(posixpath.dirname(path))}/{posixpath.basename(path)}" for path in candidates]
        more = ", …" if len(shown) > _SHOWN else ""
        super().__init__(
            f"{name!r} may be any of {', '.join(shown[:_SHOWN])}{more}; write more of it, or VM/POINT, or its path"
        )


def find(host: Host, root: str, name: str) -> str:
    """Absolute path of the point's directory in the repository at `root`. Raises NoSuchPointError, AmbiguousPointError,
    NotARepositoryError, StateError for a damaged manifest that had to be read."""
    found = candidates(host, root, name)
    if not found:
        raise NoSuchPointError(name, f"{root} on {host.name}")
    if len(found) > 1:
        raise AmbiguousPointError(name, found)
    return found[0]


def candidates(host: Host, root: str, name: str) -> list[str]:
    """Absolute paths of all points that `name` may mean, by VM directory, then oldest first."""
    marker.require(host, root)
    wanted = name.rstrip("/")
    if wanted.startswith("/"):
        found = _points(host, root)
        return [wanted] if posixpath.normpath(wanted) in found else []
    vm, _, prefix = wanted.rpartition("/")
    found = [path for path in _points(host, root) if posixpath.basename(path).startswith(prefix)] if prefix else []
    if not vm:
        return found
    return [path for path in found if _may_be(vm, path)] or [path for path in found if _is_of(host, path, vm)]


def _points(host: Host, root: str) -> list[str]:
    done = host.run(("sh", "-c", _LIST, "sh", root), timeout=LIST_TIMEOUT)
    names = done.stdout.decode("utf-8", "backslashreplace").split("\0")
    paths = (name.removeprefix("./").split("/") for name in names if name)
    return sorted(
        posixpath.join(root, vm, point)
        for vm, point in paths
        if layout.uuid_of_vm_directory(vm) is not None and layout.is_point(point)
    )


def _may_be(vm: str, path: str) -> bool:
    """Whether `vm` names the VM by what its directory tells: the whole name, the slug, or the instance uuid."""
    directory = posixpath.basename(posixpath.dirname(path))
    return vm in (directory, layout.slug_of(directory), layout.uuid_of_vm_directory(directory))


def _is_of(host: Host, path: str, vm: str) -> bool:
    """Whether the point's manifest calls the VM so: a directory keeps its first name, and slugs are not whole names."""
    manifest = vm_directory.read(host, path)
    return manifest is not None and vm in (manifest.vm.name, manifest.vm.inventory_path)
