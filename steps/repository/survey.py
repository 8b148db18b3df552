"""All that a repository holds, read in one stream: a request for each of 10,000 manifests takes minutes over SSH."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from runner.errors import StateError
from runner.hosts import Host
from runner.model import Model
from runner.units import MINUTE, MiB
from steps.repository import identities, layout, manifest, marker, marks
from steps.repository.history import Entry, oldest_first
from steps.repository.identities import Adoption
from steps.repository.marks import Marks

TIMEOUT = 10 * MINUTE

FILE_LIMIT = 1 * MiB
"""A larger manifest or mark is damage: 64 disks with all their fields are 60 KiB."""

_READ = (layout.MANIFEST, *marks.NAMES.values())

# First the sizes of what belongs to disks (find's blocks are of 512 bytes; of a file that is all hole there are none), up to a
# record that is a dot; then an archive
# of the small files. tar frames names and contents, so that no name can pass for another file's content. Symlinks go in as
# themselves.
_LIST = rf"""
cd "$1" || exit 3
printf '\0'
find . -mindepth 3 -maxdepth 3 @ -type f \( -name 'disk-*' -o -name {layout.MOVING} \) -printf '%b %s %p\0'
printf '.\0'
find . -mindepth 1 -maxdepth 3 @ \
    \( -type d -not -path './*/*/*' -o \
       -path './*/{layout.IDENTITIES}' -not -path './*/*/*' -size -{FILE_LIMIT // 1024}k -o \
       -path './*/*/*' \( {" -o ".join(f"-name {name}" for name in _READ)} \) -size -{FILE_LIMIT // 1024}k \) -print0 |
tar --create --file=- --format=gnu --null --no-recursion --ignore-failed-read --files-from=-
"""
_EVERY = "\\( -path './.*' -o -path ./lost+found \\) -prune -o"
_ONE = "-not -path './{0}' -not -path './{0}/*' -prune -o"

_SECTOR = 512

_CHANGED = 1
"""GNU tar: a file changed while it was read, as when a point is pruned meanwhile; its standard error says which."""


class Skipped(Model):
    """A directory that is no restore point though it stands where one would."""

    path: str
    """Absolute."""
    why: str
    """In words."""


@dataclass
class VmDirectory:
    path: str
    """Absolute."""
    adopted: tuple[Adoption, ...] = ()
    """Of other vCenters, oldest first."""
    entries: tuple[Entry, ...] = ()
    """Oldest first."""
    damaged: list[Skipped] = field(default_factory=list)
    """Points that cannot be read: nobody knows what they are built on."""
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

    def stored_in(self, point: str) -> int:
        """What the disks of the point with that path take."""
        return sum(size for path, size in self.stored.items() if posixpath.dirname(path) == point)


@dataclass
class Survey:
    vms: dict[str, VmDirectory] = field(default_factory=dict)
    """By name of the directory, in order."""
    skipped: list[Skipped] = field(default_factory=list)


def read(host: Host, root: str, only: str | None = None) -> Survey:
    """Everything in the repository at `root`, or in its VM directory `only` (a name that layout made). What is damaged is
    named, not raised. Raises NotARepositoryError, CommandError, HostError."""
    marker.require(host, root)
    script = _LIST.replace("@", _EVERY if only is None else _ONE.format(only))
    done = host.run(("sh", "-c", script, "sh", root), timeout=TIMEOUT, ok=(0, _CHANGED))
    listed, _, archive = done.stdout.partition(b"\0.\0")
    directories, contents = _unpack(archive)
    survey = Survey(skipped=[Skipped(path=root, why=line.strip()) for line in done.stderr.splitlines() if line.strip()])
    found: dict[str, list[Entry]] = {}
    for directory in directories:
        try:
            _place(survey, found, root, directory, contents)
        except StateError as error:
            skipped = Skipped(path=posixpath.join(root, directory), why=error.message)
            survey.skipped.append(skipped)
            vm, _, point = directory.partition("/")
            if layout.is_point(point) and vm in survey.vms:
                survey.vms[vm].damaged.append(skipped)
    for vm, entries in found.items():
        survey.vms[vm].entries = oldest_first(entries)
    for path, length, taken in _sizes(listed):
        vm = path.partition("/")[0]
        if vm in survey.vms:
            if length:
                survey.vms[vm].stored[posixpath.join(root, path)] = taken
            survey.vms[vm].leftovers |= path.endswith((layout.REBUILT, layout.MOVING))
    return survey


def _place(
    survey: Survey, found: dict[str, list[Entry]], root: str, directory: str, contents: dict[str, bytes]
) -> None:
    """Raises StateError for what should be a point and is none."""
    vm, _, name = directory.partition("/")
    uuid = layout.uuid_of_vm_directory(vm)
    path = posixpath.join(root, directory)
    if not name:
        if uuid is None:
            raise StateError("it is not a VM's directory; nothing in it is listed")
        survey.vms[vm] = made = VmDirectory(path)
        made.adopted = _adopted(made, survey, contents)
    elif uuid is None:
        return
    elif name.endswith(layout.PARTIAL):
        survey.vms[vm].unfinished.append(path)
    elif layout.is_dropped(name):
        survey.vms[vm].leftovers = True
    else:
        found.setdefault(vm, []).append(_entry(path, name, survey.vms[vm].uuids, directory, contents))


def _adopted(vm: VmDirectory, survey: Survey, contents: dict[str, bytes]) -> tuple[Adoption, ...]:
    """Damaged, it hides whose the points are: they are as damaged as it is."""
    content = contents.get(f"{vm.name}/{layout.IDENTITIES}")
    try:
        return () if content is None else identities.parse(content, layout.IDENTITIES)
    except StateError as error:
        skipped = Skipped(path=posixpath.join(vm.path, layout.IDENTITIES), why=error.message)
        survey.skipped.append(skipped)
        vm.damaged.append(skipped)
        return ()


def _entry(path: str, name: str, uuids: Collection[str], directory: str, contents: dict[str, bytes]) -> Entry:
    if not layout.is_point(name):
        raise StateError("it is not named as a restore point")
    content = contents.get(f"{directory}/{layout.MANIFEST}")
    if content is None:
        raise StateError(f"it has no {layout.MANIFEST} that can be read")
    made = manifest.parse(content, layout.MANIFEST)
    if made.point != name or made.vm.instance_uuid.lower() not in uuids:
        raise StateError(f"its {layout.MANIFEST} is that of {made.vm.name}, {made.point}; it was copied or renamed")
    return Entry(path, made, _marks(directory, contents))


_NO_MARKS = Marks()


def _marks(directory: str, contents: dict[str, bytes]) -> Marks:
    if not any(f"{directory}/{name}" in contents for name in marks.NAMES.values()):
        return _NO_MARKS
    return marks.gather(lambda name: contents.get(f"{directory}/{name}"), str)


def _unpack(archive: bytes) -> tuple[list[str], dict[str, bytes]]:
    """Directories in order, and the content of files by their path."""
    directories: list[str] = []
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", encoding="utf-8", errors="backslashreplace") as tar:
        for member in tar:
            name = posixpath.normpath(member.name)
            if member.isdir():
                directories.append(name)
            elif member.isreg() and (file := tar.extractfile(member)) is not None:
                contents[name] = file.read()
    return sorted(directories), contents


def _sizes(listed: bytes) -> Iterator[tuple[str, int, int]]:
    """Paths, what is in the files, and what they take on disk, bytes."""
    for record in listed.decode("utf-8", "backslashreplace").split("\0"):
        if record:
            blocks, length, path = record.split(" ", 2)
            yield path.removeprefix("./"), int(length), int(blocks) * _SECTOR
