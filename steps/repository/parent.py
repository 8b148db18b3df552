"""The parent of a disk's next image: the newest restore point, if that has the disk and its whole chain can
be relied on.

Everything of a parent (its image, its digests, its changeId) comes from the one manifest of that point, so
that an image can never be backed by one moment and hold the changes since another.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Annotated

from runner.base.errors import SendenseError
from runner.base.model import HOW, Model
from runner.hosts.host import Host
from steps.repository import identities, layout, reader, verification_records
from steps.repository.chains import Chains
from steps.repository.history import Entry
from steps.repository.listing import UnreadableError
from steps.repository.manifest import LastFull, Level
from steps.repository.verification_records import Suspicion
from steps.repository.vm_directory import VmDirectory


class Parent(Model):
    """One disk in one restore point."""

    point: str
    """Name of the restore point."""
    image: str
    """As its child names it: ``../<point>/disk-2000.qcow2``."""
    digests: str
    """Absolute path of its digests file."""
    digest: str
    """BLAKE3 (hex) of that file, as its manifest says."""
    change_id: str | None
    rolled_back: str = ""
    """As `PointDisk.rolled_back`."""
    level: Level
    """How far its disk is verified, and with it what it is built on."""
    last_full: LastFull
    full: Annotated[str, HOW] = ""
    """Name of the point that its chain begins with; empty in a record of an earlier version, which is no
    reason to make an image again."""


@dataclass(frozen=True)
class Sought:
    """The disk as it is now."""

    key: int
    backing_uuid: str
    capacity: int
    vcenter_uuid: str
    instance_uuid: str


class NoParentError(SendenseError):
    """`message` says why there is none; `caught` is the doubt that the asking run itself cast on the newest
    point, and `distrusted` are all points that it speaks against, oldest first."""

    def __init__(self, why: str, caught: str = "", distrusted: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.caught = caught
        self.distrusted = distrusted


def find(host: Host, directory: str, sought: Sought, run: str) -> Parent:
    """Looks at all points in the VM's `directory`, in one stream. Raises NoParentError; UnreadableError where
    the directory itself cannot be read."""
    seen = _look(host, directory)
    newest = _newest(seen, sought)
    disk = newest.disk(sought.key)
    assert disk is not None
    if disk.capacity != sought.capacity:
        raise NoParentError(f"it has {sought.capacity} bytes, in {newest.point} it had {disk.capacity}")
    entries = _chain(seen, newest, sought.key, run)
    return Parent(
        point=newest.point,
        image=layout.backing(newest.point, sought.key),
        digests=posixpath.join(newest.path, disk.digests),
        digest=disk.digest,
        change_id=disk.change_id,
        rolled_back=disk.rolled_back,
        level="full" if seen.chains.compared(newest, sought.key) else disk.level,
        last_full=_last_full(entries, sought.key),
        full=entries[-1].point,
    )


def _look(host: Host, directory: str) -> VmDirectory:
    seen = reader.read(host, directory)
    for one in seen.unread:
        if one.point is None and not one.of_locks:
            raise UnreadableError(one.path, host.name, one.why)
    return seen


def _newest(seen: VmDirectory, sought: Sought) -> Entry:
    """Of all points the newest, or none: where that has another disk at the key, or none (a disk that was
    away may have been written to by another VM, which tracking does not tell), nothing may be built on an
    older one."""
    if (entry := seen.newest) is None:
        _refuse_unread(seen, ())
        raise NoParentError("this is the VM's first restore point")
    if why := identities.why_not_believed(entry.point, entry.manifest.vm, sought, seen.adopted):
        raise NoParentError(why)
    if (disk := entry.disk(sought.key)) is None:
        been = any(before.disk(sought.key) is not None for before in seen.entries)
        raise NoParentError(
            f"it was not in {entry.point}" if been else ("it is not in any restore point yet")
        )
    # Keys are slots: a disk that was exchanged has its predecessor's key.
    if disk.backing_uuid != sought.backing_uuid:
        raise NoParentError(f"it is another disk than the one with its key in {entry.point}")
    return entry


def _chain(seen: VmDirectory, newest: Entry, key: int, run: str) -> list[Entry]:
    """The points that disk `key` of `newest` is read from, down to its full."""
    chains = seen.chains
    chain, lost = chains.of(newest, key), chains.lost(newest, key)
    if (bottom := chain[-1].disk(key)) is None or bottom.parent is not None:
        _refuse_unread(seen, ())
        missing = bottom.parent if bottom is not None else chain[-1].point
        raise NoParentError(
            f"disk {key} of {newest.point} is backed by {missing}, which does not exist or has no such disk"
        )
    _refuse_unread(seen, chain[-1].manifest.unread)
    if (doubt := chains.doubt(newest, key)) is not None:
        why = f"{doubt.point} {doubt.why}"
        if doubt.run != run:
            raise NoParentError(why)
        raise NoParentError(why, doubt.cause, _distrusted(chains, newest, key))
    if lost is not None:
        raise NoParentError(f"{lost.point}, which would back it, {lost.why}")
    return chain


def _distrusted(chains: Chains, newest: Entry, key: int) -> tuple[str, ...]:
    """Those that share a point with the chain of `newest`."""
    chain = {entry.point for entry in chains.of(newest, key)}
    return tuple(
        entry.point
        for entry in chains.history
        if entry.disk(key) is not None
        and chains.doubt(entry, key) is not None
        and not chain.isdisjoint(below.point for below in chains.of(entry, key))
    )


def _refuse_unread(seen: VmDirectory, older: Container[str]) -> None:
    """What cannot be read may be newer, may be what the newest is built on, and what was found on it may
    speak against that. `older`: names of points of which it is known that they are older than the full of the
    chain, since they could not be read when that was published. So one full is made, and not one a night for
    as long as nobody looks."""
    for one in seen.unread:
        if one.of_locks or (one.point or "").endswith(layout.PARTIAL):
            continue
        if one.point not in older:
            raise NoParentError(f"{one.sentence}, so the parent is unknown")


def _last_full(chain: Sequence[Entry], key: int) -> LastFull:
    """Of the first in `chain`. Where it was not noted yet, the chain's full is the last one that is known
    of."""
    for above, entry in enumerate(chain):
        disk = entry.disk(key)
        if disk is not None and disk.last_full is not None:
            return LastFull(at=disk.last_full.at, points=disk.last_full.points + above)
    return LastFull(at=chain[-1].manifest.moment, points=len(chain))


def is_sound(host: Host, directory: str, parent: Parent, key: int) -> bool:
    """Whether `parent` is still there, as it was, and its chain is trusted."""
    seen = _look(host, directory)
    entry = next((entry for entry in seen.entries if entry.point == parent.point), None)
    disk = None if entry is None else entry.disk(key)
    if entry is None or disk is None or (disk.digest, disk.change_id) != (parent.digest, parent.change_id):
        return False
    try:
        _chain(seen, entry, key, run="")
    except NoParentError:
        return False
    return True


def mark_suspect(host: Host, directory: str, point: str, suspicion: Suspicion) -> None:
    """Marks the disk suspect in `point` and in all that it is built on, back to its full. The newest comes
    first: it is what a next image would be backed by, so that a crash between leaves no chain that looks
    sound."""
    by_name = {entry.point: entry for entry in _look(host, directory).entries}
    below: str | None = point
    marked: set[str] = set()
    while below is not None and below not in marked and (entry := by_name.get(below)) is not None:
        verification_records.suspect(host, entry.path, suspicion)
        marked.add(below)
        disk = entry.disk(suspicion.key)
        below = None if disk is None else disk.parent
