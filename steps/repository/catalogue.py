"""The list of a repository's restore points, read in one stream: a request for each of 10,000 manifests takes minutes
over SSH."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from runner.errors import StateError
from runner.hosts import Host
from runner.model import Model
from runner.units import MINUTE, MiB
from steps.repository import layout, manifest, marker
from steps.repository.manifest import Level, Manifest

LIST_TIMEOUT = 10 * MINUTE

MANIFEST_LIMIT = 1 * MiB
"""A larger one is damage: 64 disks with all their fields are 60 KiB."""

# tar frames names and contents, so that no name can pass for another file's content. Symlinks go in as themselves.
_LIST = rf"""
cd "$1" || exit 3
find . -mindepth 1 -maxdepth 3 \( -path './.*' -o -path ./lost+found \) -prune -o \
    \( -type d -not -path './*/*/*' -o -path './*/*/{layout.MANIFEST}' -size -{MANIFEST_LIMIT // 1024}k \) -print0 |
tar --create --file=- --format=gnu --null --no-recursion --ignore-failed-read --files-from=-
"""


_CHANGED = 1
"""GNU tar: a file changed while it was read, as when a point is pruned meanwhile; its standard error says which."""


class Point(Model):
    """One restore point, as a list shows it. Sizes in bytes."""

    vm: str
    """Its name when the point was made."""
    instance_uuid: str
    point: str
    path: str
    created: datetime
    kind: Literal["full", "incremental"]
    disks: int
    capacity: int
    data: int
    """Bytes of blocks that are not all zero."""
    level: Level
    good: bool
    """Every block was read back and compared."""
    last_good: bool
    """The newest good one of its VM."""
    quiesced: str
    notes: tuple[str, ...]


class Skipped(Model):
    """A directory that is no restore point though it stands where one would."""

    path: str
    why: str


class Catalogue(Model):
    repository: str
    host: str
    points: tuple[Point, ...]
    """By VM name, then oldest first."""
    skipped: tuple[Skipped, ...]
    unfinished: tuple[str, ...]
    """Paths of `.partial` directories."""


def read(host: Host, root: str) -> Catalogue:
    """Everything in the repository at `root`. What is damaged is named, not raised. Raises NotARepositoryError,
    CommandError, HostError."""
    marker.require(host, root)
    done = host.run(("sh", "-c", _LIST, "sh", root), timeout=LIST_TIMEOUT, ok=(0, _CHANGED))
    found: list[tuple[str, Manifest]] = []
    skipped = [Skipped(path=root, why=line.strip()) for line in done.stderr.splitlines() if line.strip()]
    directories, contents = _unpack(done.stdout)
    unfinished = tuple(posixpath.join(root, name) for name in directories if _is_partial(name))
    for directory in directories:
        try:
            if (entry := _entry(directory, contents)) is not None:
                found.append((directory, entry))
        except StateError as error:
            skipped.append(Skipped(path=posixpath.join(root, directory), why=error.message))
    return Catalogue(
        repository=root,
        host=host.name,
        points=tuple(_points(root, found)),
        skipped=tuple(skipped),
        unfinished=unfinished,
    )


def _unpack(archive: bytes) -> tuple[list[str], dict[str, bytes]]:
    """Directories in order, and the content of manifests by their directory."""
    directories: list[str] = []
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", encoding="utf-8", errors="backslashreplace") as tar:
        for member in tar:
            name = posixpath.normpath(member.name)
            if member.isdir():
                directories.append(name)
            elif member.isreg() and (file := tar.extractfile(member)) is not None:
                contents[posixpath.dirname(name)] = file.read()
    return sorted(directories), contents


def _is_partial(directory: str) -> bool:
    parent, _, name = directory.partition("/")
    return layout.uuid_of_vm_directory(parent) is not None and name.endswith(layout.PARTIAL)


def _entry(directory: str, contents: dict[str, bytes]) -> Manifest | None:
    """None for what is rightly no point. Raises StateError for what should be one and is not."""
    vm, _, name = directory.partition("/")
    uuid = layout.uuid_of_vm_directory(vm)
    if not name:
        if uuid is None:
            raise StateError("it is not a VM's directory; nothing in it is listed")
        return None
    if uuid is None or _is_partial(directory):
        return None
    if not layout.is_point(name):
        raise StateError("it is not named as a restore point")
    if directory not in contents:
        raise StateError(f"it has no {layout.MANIFEST} that can be read")
    entry = manifest.parse(contents[directory], layout.MANIFEST)
    if entry.point != name or entry.vm.instance_uuid.lower() != uuid:
        raise StateError(f"its {layout.MANIFEST} is that of {entry.vm.name}, {entry.point}; it was copied or renamed")
    return entry


def _points(root: str, found: list[tuple[str, Manifest]]) -> Iterator[Point]:
    last_good = {entry.vm.instance_uuid: directory for directory, entry in found if entry.level == "full"}
    for directory, entry in sorted(found, key=lambda pair: (pair[1].vm.name, pair[0])):
        yield Point(
            vm=entry.vm.name,
            instance_uuid=entry.vm.instance_uuid,
            point=entry.point,
            path=posixpath.join(root, directory),
            created=entry.created,
            kind=entry.kind,
            disks=len(entry.disks),
            capacity=sum(disk.capacity for disk in entry.disks),
            data=sum(disk.data for disk in entry.disks),
            level=entry.level,
            good=entry.level == "full",
            last_good=last_good.get(entry.vm.instance_uuid) == directory,
            quiesced=entry.quiesced,
            notes=entry.notes,
        )
