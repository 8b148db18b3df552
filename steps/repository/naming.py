"""Which VM of a repository a person means, and what to call one so that no other is meant.

A name may be any of a VM's: its name, inventory path or instance uuid, the uuid's beginning, its directory,
moref or BIOS uuid. What it is called now is asked before what it was called once: of two VMs that swapped
their names, each is the one that has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from runner.base.errors import UsageError
from runner.hosts.host import Host
from steps.repository import layout, reader
from steps.repository.vm_directory import VmDirectory

SHORTEST = 4
"""Characters of a uuid's prefix: with fewer a misspelt name passes for one."""

_Meaning = Callable[[VmDirectory, str], bool]

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
            f"{root} has points of {len(vms)} VMs called {name!r}: write the uuid of one, or any "
            f"unambiguous prefix of it: {'; '.join(self.candidates)}"
        )


class Names:
    """Of the VMs with points in the repository at `root`."""

    def __init__(self, root: str, vms: Iterable[VmDirectory]) -> None:
        self.root = root
        self.vms = tuple(vm for vm in vms if vm.entries or vm.unread)
        self._called = Counter(vm.vm_name for vm in self.vms)

    @classmethod
    def read(cls, host: Host, root: str, *, newest_only: bool = False) -> Names:
        """Raises as `reader.read_all`."""
        return cls(root, reader.read_all(host, root, newest_only=newest_only).vms.values())

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
        return self._meant(name, _EVER)

    def now(self, name: str) -> tuple[VmDirectory, ...]:
        """As `all`, of what vSphere knows a VM by: not what it was called once, nor a part of a name."""
        return self._meant(name, _NOW)

    def _meant(self, name: str, meanings: Sequence[_Meaning]) -> tuple[VmDirectory, ...]:
        """By the first of `meanings` by which any VM is meant."""
        for is_meant in meanings:
            if found := tuple(vm for vm in self.vms if is_meant(vm, name)):
                return found
        return ()

    def label(self, vm: VmDirectory) -> str:
        """Its name; with what tells it from the others where another has that name too."""
        return vm.vm_name if self._called[vm.vm_name] < 2 else told(vm)


def told(vm: VmDirectory) -> str:
    """``pgtest1 (DC0/vm/prod/pgtest1, 5013e3a5-…)``: all that tells it from others."""
    path = "" if vm.newest is None else f"{vm.newest.manifest.vm.inventory_path}, "
    return f"{vm.vm_name} ({path}{vm.uuid})"


def _is_itself(vm: VmDirectory, name: str) -> bool:
    return name.rstrip("/") in (vm.path, vm.name) or name.lower() in vm.uuids


def _is_called(vm: VmDirectory, name: str) -> bool:
    if vm.newest is None:
        return False
    now = vm.newest.manifest.vm
    return name in (now.name, now.inventory_path, f"/{now.inventory_path}")


def _has_slug(vm: VmDirectory, name: str) -> bool:
    return name == layout.slug_of(vm.path)


def _has_id(vm: VmDirectory, name: str) -> bool:
    if vm.newest is None:
        return False
    now = vm.newest.manifest.vm
    return name == now.moref or name.lower() == now.bios_uuid.lower()


def _begins(vm: VmDirectory, name: str) -> bool:
    return _BEGINNING.fullmatch(name) is not None and any(uuid.startswith(name.lower()) for uuid in vm.uuids)


def _was_called(vm: VmDirectory, name: str) -> bool:
    return any(name in (entry.manifest.vm.name, entry.manifest.vm.inventory_path) for entry in vm.entries)


_NOW: tuple[_Meaning, ...] = (_is_itself, _is_called, _has_id)
_EVER: tuple[_Meaning, ...] = (_is_itself, _is_called, _has_slug, _has_id, _begins, _was_called)
