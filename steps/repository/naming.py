"""Which VM of a repository a person means, and what to call one so that no other is meant.

A name may be any of a VM's: its name, inventory path or instance uuid, the uuid's beginning, its directory,
moref or BIOS uuid. What it is called now is asked before what it was called once: of two VMs that swapped
their names, each is the one that has it.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from runner.base.errors import StateError, UsageError
from runner.hosts.host import Host
from steps.repository import layout, listing, manifest
from steps.repository.history import Entry
from steps.repository.listing import Listing
from steps.repository.manifest import VmIdentity
from steps.repository.survey import Unread, VmDirectory
from steps.repository.verification_records import Marks

SHORTEST = 4
"""Characters of the beginning of a uuid: with fewer a name that was misspelt passes for one."""

_Way = Callable[[VmDirectory, str], bool]

_BEGINNING = re.compile(rf"[0-9a-f][0-9a-f-]{{{SHORTEST - 1},}}", re.ASCII | re.IGNORECASE)


class NoSuchVmError(UsageError):
    def __init__(self, names: Iterable[str], root: str) -> None:
        super().__init__(
            f"{root} has no points of a VM called {' or '.join(names)}; `sendense points JOB` lists them"
        )


class AmbiguousVmError(UsageError):
    """`candidates` are the VMs, each as it is to be written instead."""

    def __init__(self, name: str, vms: Sequence[VmDirectory], root: str) -> None:
        self.candidates = tuple(told(vm) for vm in vms)
        super().__init__(
            f"{root} has points of {len(vms)} VMs that are called {name!r}: write the uuid, or its "
            f"beginning, of one of {'; '.join(self.candidates)}"
        )


class Names:
    """Of the VMs with points in the repository at `root`."""

    def __init__(self, root: str, vms: Iterable[VmDirectory]) -> None:
        self.root = root
        self.vms = tuple(vm for vm in vms if vm.entries or vm.unread)
        self._called = Counter(name_of(vm) for vm in self.vms)

    def find(self, name: str) -> VmDirectory:
        """Raises NoSuchVmError, AmbiguousVmError."""
        found = self.all(name)
        if not found:
            raise NoSuchVmError((name,), self.root)
        if len(found) > 1:
            raise AmbiguousVmError(name, found, self.root)
        return found[0]

    def find_all(self, names: Iterable[str]) -> tuple[VmDirectory, ...]:
        """The VM of each name, each VM once; all of them where no name is given. Raises as `find`, with all
        unknown names."""
        given = tuple(names)
        if unknown := sorted(name for name in given if not self.all(name)):
            raise NoSuchVmError(unknown, self.root)
        found = {self.find(name).path for name in given}
        return tuple(vm for vm in self.vms if not given or vm.path in found)

    def all(self, name: str) -> tuple[VmDirectory, ...]:
        """Every VM that it may mean; none if there is none."""
        return self._meant(name, _WAYS)

    def now(self, name: str) -> tuple[VmDirectory, ...]:
        """As `all`, of what vSphere knows a VM by: not what it was called once, nor a part of a name."""
        return self._meant(name, _NOW)

    def _meant(self, name: str, ways: Sequence[_Way]) -> tuple[VmDirectory, ...]:
        """By the first way in which any VM is meant."""
        for is_meant in ways:
            if found := tuple(vm for vm in self.vms if is_meant(vm, name)):
                return found
        return ()

    def label(self, vm: VmDirectory) -> str:
        """Its name; with what tells it from the others where another has that name too."""
        return name_of(vm) if self._called[name_of(vm)] < 2 else told(vm)


def identity(vm: VmDirectory) -> VmIdentity | None:
    """As its newest point has it; None where none can be read."""
    return vm.entries[-1].manifest.vm if vm.entries else None


def name_of(vm: VmDirectory) -> str:
    newest = identity(vm)
    return layout.slug_of(vm.path) if newest is None else newest.name


def uuid_of(vm: VmDirectory) -> str:
    """That in the directory's name, under which it is found whatever the VM was adopted as."""
    return layout.uuid_of_vm_directory(vm.name) or ""


def told(vm: VmDirectory) -> str:
    """``pgtest1 (DC0/vm/prod/pgtest1, 5013e3a5-…)``: all that tells it from others."""
    newest = identity(vm)
    path = "" if newest is None else f"{newest.inventory_path}, "
    return f"{name_of(vm)} ({path}{uuid_of(vm)})"


def _is_itself(vm: VmDirectory, name: str) -> bool:
    return name.rstrip("/") in (vm.path, vm.name) or name.lower() in vm.uuids


def _is_called(vm: VmDirectory, name: str) -> bool:
    newest = identity(vm)
    return newest is not None and name in (newest.name, newest.inventory_path, f"/{newest.inventory_path}")


def _has_slug(vm: VmDirectory, name: str) -> bool:
    return name == layout.slug_of(vm.path)


def _has_id(vm: VmDirectory, name: str) -> bool:
    newest = identity(vm)
    return newest is not None and (name == newest.moref or name.lower() == newest.bios_uuid.lower())


def _begins(vm: VmDirectory, name: str) -> bool:
    return _BEGINNING.fullmatch(name) is not None and any(uuid.startswith(name.lower()) for uuid in vm.uuids)


def _was_called(vm: VmDirectory, name: str) -> bool:
    return any(name in (entry.manifest.vm.name, entry.manifest.vm.inventory_path) for entry in vm.entries)


_NOW: tuple[_Way, ...] = (_is_itself, _is_called, _has_id)
_WAYS: tuple[_Way, ...] = (_is_itself, _is_called, _has_slug, _has_id, _begins, _was_called)


def newest(host: Host, root: str, listed: Listing) -> Names:
    """By the newest point of each VM alone, in one request; its name tells well enough which that is. A VM
    whose newest manifest cannot be read goes by its directory. Raises CommandError, HostError."""
    points = {posixpath.dirname(path): path for path in points_in(listed)}
    files = {path: posixpath.join(path, layout.MANIFEST) for path in points.values()}
    listing.read_files(host, root, listed, files.values())
    return Names(root, (_vm(root, vm, path, listed.contents.get(files[path])) for vm, path in points.items()))


def points_in(listed: Listing) -> list[str]:
    """Paths of points below the repository, by VM directory, then by their names."""
    found = (
        one.path.split("/") for one in listed.found.values() if one.kind == "d" and one.path.count("/") == 1
    )
    return sorted(
        f"{vm}/{point}"
        for vm, point in found
        if layout.uuid_of_vm_directory(vm) is not None and layout.is_point(point)
    )


def _vm(root: str, vm: str, path: str, content: bytes | None) -> VmDirectory:
    directory, absolute = posixpath.join(root, vm), posixpath.join(root, path)
    try:
        if content is None:
            raise StateError(f"it has no {layout.MANIFEST} that can be read")
        made = manifest.parse(content, layout.MANIFEST)
    except StateError as error:
        unread = Unread(path=absolute, why=error.message, point=posixpath.basename(path))
        return VmDirectory(directory, unread=[unread])
    return VmDirectory(directory, entries=(Entry(absolute, made, Marks()),))
