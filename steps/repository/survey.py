"""All that a repository holds, and what of it could not be read.

What could not be read is never taken for absent. It belongs to the VM in whose directory it is: nobody knows
what it is built on or what speaks against what, so of that VM nothing is deleted (`pruning`) and next to
nothing is built on (`parent`); all others are as they would be without it. Where it cannot be said whose it
is, nothing is told at all (UnreadableError).
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from runner.base.errors import StateError
from runner.base.model import Model
from runner.hosts.host import Host
from steps.repository import identities, layout, listing, manifest, marker, verification_records
from steps.repository.history import Entry, oldest_first
from steps.repository.identities import Adoption
from steps.repository.listing import Found, Listing
from steps.repository.verification_records import Marks


class Skipped(Model):
    """What is no restore point, and no VM's directory, though it stands where one would."""

    path: str
    """Absolute."""
    why: str
    """In words."""


class Unread(Model):
    """What is there, or may be, and could not be read."""

    path: str
    """Absolute."""
    why: str
    """In words."""
    point: str | None
    """The point or unfinished point that it is in; None: all of the VM's directory is in doubt."""

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return f"{self.path} cannot be read ({self.why})"


@dataclass
class VmDirectory:
    path: str
    """Absolute."""
    adopted: tuple[Adoption, ...] = ()
    """Of other vCenters, oldest first."""
    entries: tuple[Entry, ...] = ()
    """Oldest first."""
    unread: list[Unread] = field(default_factory=list)
    """In order of their paths."""
    unfinished: list[str] = field(default_factory=list)
    """Paths of `.partial` directories."""
    leftovers: bool = False
    """Of a prune that was killed."""
    stored: dict[str, int] = field(default_factory=dict)
    """What files that hold something take on disk, by path, bytes."""

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    @property
    def uuids(self) -> frozenset[str]:
        """Instance uuids of its VM: that in the directory's name, and those under which it was adopted."""
        named = layout.uuid_of_vm_directory(self.name)
        return frozenset({*filter(None, [named]), *(one.new.instance_uuid.lower() for one in self.adopted)})

    @property
    def unread_points(self) -> frozenset[str]:
        """Names."""
        return frozenset(one.point for one in self.unread if one.point is not None)

    @property
    def next_sequence(self) -> int:
        """One more than any point has; room is left for those that cannot be read. For who holds the VM's
        lock."""
        known = (entry.manifest.sequence or 0 for entry in self.entries)
        return max(known, default=0) + len(self.unread_points) + 1

    def stored_in(self, point: str) -> int:
        """What the disks of the point with that path take."""
        return sum(size for path, size in self.stored.items() if posixpath.dirname(path) == point)


@dataclass
class Survey:
    vms: dict[str, VmDirectory] = field(default_factory=dict)
    """By name of the directory, in order."""
    skipped: list[Skipped] = field(default_factory=list)


def read(host: Host, root: str, only: str | None = None) -> Survey:
    """Everything in the repository at `root`, or in its VM directory `only` (a name that layout made). What
    cannot be read is named, not raised. Raises NotARepositoryError, UnreadableError, CommandError,
    HostError."""
    marker.require(host, root)
    for _ in range(listing.ATTEMPTS):
        found = listing.find(host, root, only)
        small = [one for one in found.found.values() if _is_small(one)]
        found.failed.update((one.path, why) for one in small if (why := _why_not(one)) is not None)
        listing.read_files(host, root, found, (one.path for one in small if one.path not in found.failed))
        if not listing.vanished(found, only):
            break
    if only is not None and only not in found.found and listing.is_gone(found.failed.get(only, "")):
        return Survey()
    return _survey(root, found)


def of_vm(host: Host, directory: str) -> VmDirectory:
    """What is in a VM's directory; nothing if it is not there. Raises as `read`."""
    root, name = posixpath.split(directory)
    return read(host, root, only=name).vms.get(name) or VmDirectory(directory)


def _is_small(found: Found) -> bool:
    vm, point, name = _parts(found.path)
    if layout.uuid_of_vm_directory(vm) is None:
        return False
    return (name in listing.READ and layout.is_point(point)) or (point == layout.IDENTITIES and not name)


def _why_not(found: Found) -> str | None:
    """Why a small file is not read."""
    if found.kind != "f":
        return "it is no regular file"
    limit = layout.RECORD_LIMIT
    return None if found.size <= limit else f"it has {found.size} bytes, and such a file has {limit} at most"


def _parts(path: str) -> tuple[str, str, str]:
    """VM, point and file; empty where there is none."""
    vm, _, rest = path.partition("/")
    point, _, name = rest.partition("/")
    return vm, point, name


def _survey(root: str, found: Listing) -> Survey:
    survey = Survey()
    points: list[tuple[str, str]] = []
    failed = dict(found.failed)
    doubtful = {_parts(path)[:2] for path in failed}

    def of(vm: str) -> VmDirectory:
        return survey.vms.setdefault(vm, VmDirectory(posixpath.join(root, vm)))

    for one in sorted(found.found.values(), key=lambda one: one.path):
        vm, point, name = _parts(one.path)
        uuid = layout.uuid_of_vm_directory(vm)
        try:
            if uuid is None:
                _refuse_foreign(one)
            elif not point:
                _refuse_other(one)
                of(vm)
            elif point == layout.IDENTITIES:
                if (content := found.contents.get(one.path)) is not None:
                    of(vm).adopted = identities.parse(content, point)
            elif not name:
                if _place(of(vm), one, point) and (vm, point) not in doubtful:
                    points.append((vm, point))
            elif name not in listing.READ:
                _size(of(vm), one, root)
        except _Foreign as foreign:
            survey.skipped.append(Skipped(path=posixpath.join(root, one.path), why=foreign.message))
        except StateError as error:
            failed.setdefault(one.path, error.message)
    entries: dict[str, list[Entry]] = {}
    for vm, point in points:
        try:
            entries.setdefault(vm, []).append(_entry(of(vm), point, found.contents))
        except StateError as error:
            failed[f"{vm}/{point}"] = error.message
    for path, why in sorted(failed.items()):
        vm, point, _ = _parts(path)
        absolute = posixpath.join(root, path)
        if layout.uuid_of_vm_directory(vm) is None:
            survey.skipped.append(Skipped(path=absolute, why=why))
        else:
            named = point if point and point != layout.IDENTITIES else None
            of(vm).unread.append(Unread(path=absolute, why=why, point=named))
    for vm, some in entries.items():
        of(vm).entries = oldest_first(some)
    return survey


class _Foreign(StateError):
    """It is none of ours."""


def _refuse_foreign(one: Found) -> None:
    """What is in the repository beside VMs' directories; files do not matter."""
    hidden = one.path.startswith(".") or one.path == "lost+found"
    if one.kind == "d" and "/" not in one.path and not hidden:
        raise _Foreign("it is not a VM's directory; nothing in it is listed")


def _refuse_other(one: Found) -> None:
    if one.kind != "d":
        raise StateError("it is no directory")


def _place(vm: VmDirectory, one: Found, name: str) -> bool:
    """Whether it is a point."""
    is_point, is_partial = layout.is_point(name), name.endswith(layout.PARTIAL)
    if is_point or is_partial:
        _refuse_other(one)
    if is_partial:
        vm.unfinished.append(posixpath.join(vm.path, name))
    elif layout.is_dropped(name):
        vm.leftovers = True
    elif one.kind == "d" and not is_point:
        raise _Foreign("it is not named as a restore point")
    return is_point


def _size(vm: VmDirectory, one: Found, root: str) -> None:
    """Of what belongs to a disk."""
    if one.kind == "f" and one.size:
        vm.stored[posixpath.join(root, one.path)] = one.taken
    vm.leftovers |= one.path.endswith((layout.REBUILT, layout.MOVING))


def _entry(vm: VmDirectory, name: str, contents: dict[str, bytes]) -> Entry:
    directory = f"{vm.name}/{name}"
    content = contents.get(f"{directory}/{layout.MANIFEST}")
    if content is None:
        raise StateError(f"it has no {layout.MANIFEST}")
    made = manifest.parse(content, layout.MANIFEST)
    if made.point != name or made.vm.instance_uuid.lower() not in vm.uuids:
        raise StateError(
            f"its {layout.MANIFEST} is that of {made.vm.name}, {made.point}; it was copied or renamed"
        )
    return Entry(posixpath.join(vm.path, name), made, _marks(directory, contents))


_NO_MARKS = Marks()


def _marks(directory: str, contents: dict[str, bytes]) -> Marks:
    if not any(f"{directory}/{name}" in contents for name in verification_records.NAMES.values()):
        return _NO_MARKS
    return verification_records.gather(lambda name: contents.get(f"{directory}/{name}"), str)
