"""The one reader of VMs' directories: a listing, and the small files of what it lists, become `VmDirectory`.

What could not be read is never taken for absent. It belongs to the VM in whose directory it is: it is unknown
what it is built on or what speaks against what, so of that VM nothing is deleted (`retention`) and next to
nothing is built on (`parent`); all others are as they would be without it. Where it cannot be said whose it
is, nothing is told at all (UnreadableError).
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from runner.base.errors import StateError
from runner.base.model import Model
from runner.hosts.host import Host
from steps.repository import (
    beforehand,
    identities,
    layout,
    listing,
    locked,
    manifest,
    marker,
    verification_records,
)
from steps.repository.history import Entry, oldest_first
from steps.repository.listing import Found, Listing
from steps.repository.verification_records import Marks
from steps.repository.vm_directory import Unread, VmDirectory

_OF_VM = (layout.IDENTITIES, layout.LOCKED)
"""Names of the small files of a VM."""


class Skipped(Model):
    """What is no restore point, and no VM's directory, though it stands where one would."""

    path: str
    """Absolute."""
    why: str
    """In words."""


@dataclass
class Contents:
    """Of a repository."""

    vms: dict[str, VmDirectory] = field(default_factory=dict)
    """By name of the directory, in order."""
    skipped: list[Skipped] = field(default_factory=list)


def read_all(host: Host, root: str, *, newest_only: bool = False) -> Contents:
    """Everything in the repository at `root`, or of each VM its newest point alone: that tells what it is
    called, and by its name which it is. What cannot be read is named, not raised. Raises
    NotARepositoryError, UnreadableError, CommandError, HostError."""
    marker.require(host, root)
    return contents_of(root, listed(host, root, newest_only=newest_only))


def read(host: Host, directory: str) -> VmDirectory:
    """What is in a VM's directory; nothing if it is not there. Raises as `read_all`."""
    root, name = posixpath.split(directory)
    if (whole := beforehand.known(host, root)) is not None:
        return whole.vm(name)
    found = listed(host, root, name)
    marker.check(host, root, found.contents.get(layout.MARKER))
    listing.refuse_unknown(host, root, found)
    if name not in found.found and listing.is_gone(found.failed.get(name, "")):
        return VmDirectory(directory)
    return contents_of(root, found).vms.get(name) or VmDirectory(directory)


def points_in(found: Listing) -> list[str]:
    """Paths of points below the repository, by VM directory, then by their names."""
    directories = (one.path for one in found.found.values() if one.kind == "d")
    return sorted(path for path in directories if _is_point(*_parts(path)))


def listed(host: Host, root: str, only: str | None = None, *, newest_only: bool = False) -> Listing:
    """With the contents of small files."""
    for _ in range(listing.ATTEMPTS):
        found = listing.find(host, root) if only is None else listing.read_vm(host, root, only)
        if newest_only:
            found.found = _newest(found)
        listing.read_files(host, root, found, to_be_read(found))
        # A run that publishes or deletes meanwhile moved something: what was read is of no one moment.
        if not listing.vanished(found, only):
            break
    return found


def to_be_read(found: Listing) -> list[str]:
    """Paths of the small files whose contents it does not have; of those that are not read, it says why."""
    small = [one for one in found.found.values() if _is_small(one)]
    found.failed.update((one.path, why) for one in small if (why := _why_not(one)) is not None)
    known = found.failed.keys() | found.contents.keys()
    return [one.path for one in small if one.path not in known]


def _newest(found: Listing) -> dict[str, Found]:
    """Without all points of a VM but the last by name."""
    newest = {posixpath.dirname(path): path for path in points_in(found)}
    parts = ((path, one, *_parts(path)) for path, one in found.found.items())
    return {
        path: one
        for path, one, vm, point, _ in parts
        if not layout.is_point(of := _point_of(point)) or newest.get(vm) == f"{vm}/{of}"
    }


def _point_of(name: str) -> str:
    """The point that a directory is of, be it that of its marks."""
    return layout.point_of_marks(name) or name


def _is_point(vm: str, point: str, name: str) -> bool:
    return layout.uuid_of_vm_directory(vm) is not None and layout.is_point(point) and not name


def _is_small(found: Found) -> bool:
    # By its name first: most are files of disks.
    if found.path.rpartition("/")[2] not in (*listing.READ, *_OF_VM):
        return False
    vm, point, name = _parts(found.path)
    if layout.uuid_of_vm_directory(vm) is None:
        return False
    return (name in listing.READ and layout.is_point(_point_of(point))) or (point in _OF_VM and not name)


def _is_of_drill(path: str) -> bool:
    vm, point, name = _parts(path)
    return name == verification_records.DRILLED and _is_point(vm, _point_of(point), "")


def _why_not(found: Found) -> str | None:
    """Why a small file is not read."""
    if found.kind != "f":
        return "it is not a regular file"
    if found.owner not in locked.ROOTS and posixpath.basename(found.path) == layout.LOCKED:
        return locked.NOT_ROOTS
    limit = layout.RECORD_LIMIT
    return (
        None
        if found.size <= limit
        else (f"it has {found.size} bytes, more than the {limit} of any such file")
    )


def _parts(path: str) -> tuple[str, str, str]:
    """VM, point and file; empty where there is none."""
    vm, _, rest = path.partition("/")
    point, _, name = rest.partition("/")
    return vm, point, name


def contents_of(root: str, found: Listing) -> Contents:
    contents = Contents()
    points: dict[str, list[str]] = {}
    failed = dict(found.failed)
    drills = {path: failed.pop(path) for path in found.failed if _is_of_drill(path)}
    # One file that cannot be read puts all of its point in doubt: it may be what speaks against it.
    doubtful = {(vm, _point_of(point)) for vm, point, _ in map(_parts, failed)}

    def of(vm: str) -> VmDirectory:
        if vm not in contents.vms:
            contents.vms[vm] = VmDirectory(posixpath.join(root, vm))
        return contents.vms[vm]

    for path, one in sorted(found.found.items()):
        vm, point, name = _parts(path)
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
            elif point == layout.LOCKED:
                if (content := found.contents.get(one.path)) is not None and one.path not in failed:
                    of(vm).locked = locked.parse(content, point)
            elif (marked := layout.point_of_marks(point)) is not None:
                if not name:
                    _refuse_other(one)
                # Of a point that a killed prune deleted.
                of(vm).leftovers |= f"{vm}/{marked}" not in found.found
            elif not name:
                if _place(of(vm), one, point) and (vm, point) not in doubtful:
                    points.setdefault(vm, []).append(point)
            elif name not in listing.READ:
                _size(of(vm), one, f"{point}/{name}")
        except _Foreign as foreign:
            contents.skipped.append(Skipped(path=posixpath.join(root, one.path), why=foreign.message))
        except StateError as error:
            failed.setdefault(one.path, error.message)
    for vm, names in points.items():
        entries, unread = _entries(of(vm), names, found.contents, drills)
        of(vm).entries = oldest_first(entries)
        failed.update((f"{vm}/{point}", why) for point, why in unread.items())
    for path, why in sorted(failed.items()):
        vm, point, _ = _parts(path)
        absolute = posixpath.join(root, path)
        if layout.uuid_of_vm_directory(vm) is None:
            contents.skipped.append(Skipped(path=absolute, why=why))
        else:
            named = _point_of(point) if point and point not in _OF_VM else None
            of(vm).unread.append(Unread(path=absolute, why=why, point=named))
    return contents


class _Foreign(StateError):
    """It is none of ours."""


def _refuse_foreign(one: Found) -> None:
    """What is in the repository beside VMs' directories; files do not matter."""
    hidden = one.path.startswith(".") or one.path == "lost+found"
    if one.kind == "d" and "/" not in one.path and not hidden:
        raise _Foreign("it is not the directory of a VM, and is not listed")


def _refuse_other(one: Found) -> None:
    if one.kind != "d":
        raise StateError("it is not a directory")


def _place(vm: VmDirectory, one: Found, name: str) -> bool:
    """Whether it is a point."""
    is_point, is_partial = layout.is_point(name), name.endswith(layout.PARTIAL)
    if is_point or is_partial:
        _refuse_other(one)
    if is_partial:
        vm.unfinished.append(posixpath.join(vm.path, name))
    elif layout.is_dropped(name) or layout.point_of_rebuilt(name) is not None:
        vm.leftovers = True
    elif one.kind == "d" and not is_point:
        raise _Foreign("its name is not that of a restore point")
    return is_point


def _size(vm: VmDirectory, one: Found, path: str) -> None:
    """Of what belongs to a disk; `path` is relative to the VM's directory."""
    if one.kind == "f" and one.size:
        vm.stored[f"{vm.path}/{path}"] = one.taken
    vm.leftovers |= path.endswith((layout.REBUILT, layout.MOVING))


def _entries(
    vm: VmDirectory, points: Iterable[str], contents: dict[str, bytes], drills: Mapping[str, str]
) -> tuple[list[Entry], dict[str, str]]:
    """Of the points that can be read, and why the others cannot, by their names. `drills`: why records of
    drills cannot be read, by path."""
    entries: list[Entry] = []
    failed: dict[str, str] = {}
    uuids = vm.uuids
    for point in points:
        try:
            entries.append(_entry(f"{vm.path}/{point}", uuids, contents, drills))
        except StateError as error:
            failed[point] = error.message
    return entries, failed


def _entry(path: str, uuids: Container[str], contents: dict[str, bytes], drills: Mapping[str, str]) -> Entry:
    directory, name = "/".join(path.rsplit("/", 2)[1:]), path.rpartition("/")[2]
    # Taken out: of thousands the texts need not stay beside the models.
    content = contents.pop(f"{directory}/{layout.MANIFEST}", None)
    if content is None:
        raise StateError(f"it has no {layout.MANIFEST}")
    made = manifest.parse(content, layout.MANIFEST)
    # A directory that was copied by hand would pass for a second point with the same image.
    if made.point != name or made.vm.instance_uuid.lower() not in uuids:
        raise StateError(
            f"its {layout.MANIFEST} is that of {made.vm.name}, {made.point}; it was copied or renamed"
        )
    return Entry(path, made, _marks(directory, contents, drills))


_NO_MARKS = Marks()


def _marks(directory: str, contents: dict[str, bytes], drills: Mapping[str, str]) -> Marks:
    marks = layout.marks(directory)
    names = verification_records.NAMES.values()
    found = {name: contents.get(f"{marks}/{name}", contents.get(f"{directory}/{name}")) for name in names}
    drilled = verification_records.DRILLED
    why = drills.get(f"{marks}/{drilled}")
    if why is None and found[drilled] is None:
        why = drills.get(f"{directory}/{drilled}")
    if why is None and all(content is None for content in found.values()):
        return _NO_MARKS
    gathered = verification_records.gather(found.__getitem__, str)
    if why is None:
        return gathered
    return gathered.model_copy(
        update={"drilled_unread": f"{verification_records.DRILLED} cannot be read ({why})"}
    )
