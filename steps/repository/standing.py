"""What a user must know of a restore point before using it, and which point of a VM is the one to
rely on."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from runner.base.errors import UsageError
from runner.hosts.host import Host
from steps.repository import reader
from steps.repository.chains import Chains
from steps.repository.history import Entry
from steps.repository.vm_directory import VmDirectory


@dataclass(frozen=True)
class Standing:
    vm: str
    """The VM's name."""
    point: str
    doubts: tuple[str, ...]
    """What speaks against the disks that were asked for, or against what they are built on, in words. Not
    that fewer than all blocks were compared: that is known of a point that was made so."""
    newest_good: str | None
    """The VM's newest good point."""

    def refuse(self, accepted: str) -> None:
        """`accepted`: what is to be written to have it all the same. Raises SuspectPointError."""
        if self.doubts:
            raise SuspectPointError(self, accepted)

    @property
    def remedy(self) -> str:
        good = self.newest_good
        return (
            "no point of this VM is good" if good is None else f"the newest good point of this VM is {good}"
        )


class SuspectPointError(UsageError):
    """Nothing was touched."""

    def __init__(self, standing: Standing, accepted: str) -> None:
        self.doubts = standing.doubts
        super().__init__(
            f"{standing.point} is not trusted: {'; '.join(standing.doubts)}; {standing.remedy}; {accepted}"
        )


def read(host: Host, path: str, keys: Collection[int] = ()) -> Standing:
    """Of the point in the directory `path`, with all its disks or those of `keys`. Where what may speak
    against it cannot be read, that speaks against it. Raises NotARepositoryError, UnreadableError,
    CommandError, HostError."""
    directory, point = posixpath.split(path)
    return of(reader.read(host, directory), point, keys)


def of(vm: VmDirectory, point: str, keys: Collection[int] = ()) -> Standing:
    """Of its point of that name."""
    chains, good = vm.chains, vm.chains.newest_good
    entry = chains.by_name.get(point)
    doubts = (
        [one.sentence for one in vm.unread if one.point == point]
        if entry is None
        else _doubts(chains, entry, keys)
    )
    return Standing(vm.vm_name, point, tuple(doubts), None if good is None else good.point)


def _doubts(chains: Chains, entry: Entry, keys: Collection[int]) -> Iterator[str]:
    for disk in entry.manifest.disks:
        if keys and disk.key not in keys:
            continue
        for found in (chains.lost(entry, disk.key), chains.doubt(entry, disk.key)):
            if found is not None:
                yield f"disk {disk.key} {found.seen_from(entry.point)}"


def latest(vm: VmDirectory) -> tuple[str, str | None] | None:
    """The path of the VM's newest good point, or where none is good of its newest; and, where it is not the
    newest or not good, a sentence that says so. None for a VM without a point that can be read."""
    if (newest := vm.newest) is None:
        return None
    good = vm.chains.newest_good
    taken = good or newest
    newer = [f"{newest.point} is not good: {vm.chains.why_not_good(newest)}"] if newest is not good else []
    newer += [one.sentence for one in vm.unread if not one.of_locks]  # it may be newer
    if not newer:
        return taken.path, None
    name = vm.vm_name
    if good is None:
        return (
            taken.path,
            f"no point of {name} is good; using the newest, {taken.point} ({'; '.join(newer)})",
        )
    return taken.path, f"using {taken.point}, the newest good point of {name} ({'; '.join(newer)})"
