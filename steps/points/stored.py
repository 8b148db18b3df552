"""The disks of a restore point, as they lie in a repository: each with the images that it is read from.

What an image says of the image below it is compared with the manifests before anything is opened by it: a
qcow2 from elsewhere can name any file of the host as its backing file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.errors import DifferenceError, SendenseError, StateError, UsageError
from runner.base.units import MINUTE
from runner.hosts.host import Host, portions
from runner.hosts.script import load
from steps.copy.digests import Digests, file_size
from steps.qemu import img
from steps.repository import layout, manifest, rebase_journal, standing, verification_records
from steps.repository.manifest import Manifest, PointDisk
from steps.repository.standing import Standing
from steps.values.stored_point import DiskImage, StoredDisk, StoredPoint

REMEDY = "`sendense verify` tells which points are whole"

_REAL_PATHS = load("steps/points/scripts/real-paths.sh")
_NO_FILE = 4


class ChainError(SendenseError):
    """A disk's images are not what the manifests say: nothing was opened."""

    def __init__(self, key: int, point: str, why: str) -> None:
        super().__init__(f"disk {key} of {point} cannot be read: {why}; {REMEDY}")


class NoSuchDiskError(UsageError):
    def __init__(self, point: str, missing: Sequence[int], present: Sequence[int]) -> None:
        names, have = (", ".join(str(key) for key in keys) for keys in (missing, present))
        super().__init__(f"{point} has no disk {names}; it has {have}")


class DigestsDamagedError(DifferenceError):
    def __init__(self, disk: StoredDisk, why: str) -> None:
        super().__init__(
            f"the digests of disk {disk.key} in {disk.digests} on {disk.image.host} are not those that its "
            f"manifest names ({why}), so nothing can be compared with them; `qemu-img convert` still reads "
            "the image"
        )


@dataclass(frozen=True)
class _Link:
    """One image of a disk: `disk` as the manifest of its point has it, at `path`."""

    point: str
    disk: PointDisk
    path: str


def read(host: Host, root: str, path: str, keys: Sequence[int] = ()) -> StoredPoint:
    """The point in the directory `path` of the repository at `root`, with all its disks or those of `keys`.
    Changes nothing.

    Raises ChainError, NoSuchDiskError, StateError, BadImageError.
    """
    made = _manifest(host, path)
    _refuse_unknown(made, keys)
    wanted = [disk for disk in made.disks if not keys or disk.key in keys]
    chains = _sound(
        host, root, {disk.key: _chain(host, posixpath.dirname(path), made, disk) for disk in wanted}
    )
    return StoredPoint(
        vm=made.vm.name,
        point=made.point,
        path=path,
        host=host.name,
        disks=tuple(_stored(host, path, disk, chains[disk.key]) for disk in wanted),
        notes=_notes(host, made, path),
    )


def weighed(host: Host, root: str, path: str, keys: Sequence[int] = ()) -> tuple[StoredPoint, Standing]:
    """As `read`, with what speaks against relying on it; of one that cannot be read the error names the point
    to take instead."""
    known = standing.read(host, path, keys)
    try:
        found = read(host, root, path, keys)
    except (ChainError, StateError) as error:
        if known.newest_good is not None:
            error.add(known.remedy)
        raise
    return found.model_copy(update={"doubts": known.doubts}), known


def refuse_unknown_disks(host: Host, path: str, keys: Sequence[int]) -> None:
    """Raises NoSuchDiskError, StateError."""
    _refuse_unknown(_manifest(host, path), keys)


def _refuse_unknown(made: Manifest, keys: Sequence[int]) -> None:
    present = [disk.key for disk in made.disks]
    if missing := [key for key in keys if key not in present]:
        raise NoSuchDiskError(made.point, missing, present)


def receive_digests(host: Host, disk: StoredDisk, local: Path) -> Digests:
    """The disk's digests in the new file `local`, proven to be those that its manifest names. Raises
    DigestsDamagedError."""
    try:
        digests = Digests.receive(
            local, disk.capacity, host.read_chunks(disk.digests, limit=file_size(disk.capacity))
        )
    except FileNotFoundError as error:
        raise DigestsDamagedError(disk, "the file is gone") from error
    except StateError as error:
        raise DigestsDamagedError(disk, error.message) from error
    if (found := digests.digest()) != disk.digest:
        digests.close()
        raise DigestsDamagedError(disk, f"BLAKE3 {found}, not {disk.digest}")
    return digests


def _manifest(host: Host, path: str) -> Manifest:
    found = manifest.read(host, path)
    if found is None:
        raise StateError(
            f"{path} on {host.name} has no {layout.MANIFEST}: it is not a restore point, or no longer one"
        )
    if found.point != posixpath.basename(path):
        raise StateError(f"{path} on {host.name} has the manifest of {found.point}: it was copied or renamed")
    return found


def _stored(host: Host, path: str, disk: PointDisk, chain: Sequence[_Link]) -> StoredDisk:
    image = DiskImage(
        key=disk.key,
        capacity=disk.capacity,
        host=host.name,
        images=tuple(link.path for link in chain),
        export=layout.export(layout.slug_of(posixpath.dirname(path)), disk.key),
    )
    return StoredDisk(
        key=disk.key,
        label=disk.label,
        capacity=disk.capacity,
        backing_uuid=disk.backing_uuid,
        data=disk.data,
        point=posixpath.basename(path),
        image=image,
        digests=posixpath.join(path, disk.digests),
        digest=disk.digest,
    )


def _chain(host: Host, vm: str, made: Manifest, disk: PointDisk) -> list[_Link]:
    """By the manifests, the point's own image first."""
    top = disk
    links = [_Link(made.point, disk, posixpath.join(vm, made.point, disk.image))]
    while disk.parent is not None:
        if any(link.point == disk.parent for link in links):
            raise ChainError(top.key, made.point, f"its chain has a cycle through {disk.parent}")
        below = manifest.read(host, posixpath.join(vm, disk.parent))
        found = None if below is None else below.disk(top.key)
        if found is None:
            raise ChainError(
                top.key, made.point, f"it is backed by {disk.parent}, which is gone or has no such disk"
            )
        links.append(_Link(disk.parent, found, posixpath.join(vm, disk.parent, found.image)))
        disk = found
    return links


def _sound(host: Host, root: str, chains: dict[int, list[_Link]]) -> dict[int, list[_Link]]:
    """As they are settled: all images are regular files in the repository, and back one another as the
    manifests say. Two requests for all of them, since the host may be far away. Raises ChainError."""
    every = [(key, chain, link) for key, chain in chains.items() for link in chain]
    paths = [link.path for _, _, link in every]
    for (key, chain, link), real in zip(every, _real_paths(host, [root, *paths], every), strict=True):
        if real != link.path:
            raise ChainError(key, chain[0].point, f"{link.path} leads to {real}")
    seen = dict(zip(paths, img.infos(host, paths), strict=True))
    settled = {key: _settled(host, chain, seen) for key, chain in chains.items()}
    for key, chain in settled.items():
        for link, below in zip(chain, [*chain[1:], None], strict=True):
            if (why := _why_wrong(link, below, seen[link.path], chain[0].disk)) is not None:
                raise ChainError(key, chain[0].point, f"{link.path} {why}")
    return settled


def _settled(host: Host, chain: list[_Link], seen: dict[str, img.ImageInfo]) -> list[_Link]:
    """Without the images that the one above no longer has as backing file: a prune may be killed once an
    image that it rebuilt is in its place and before the manifest says so. Raises StateError."""
    found, left = [], chain
    while left:
        link, *left = left
        found.append(link)
        lies_on = seen[link.path].backing_file
        if lies_on == link.disk.backing:
            continue
        now = rebase_journal.read(host, posixpath.dirname(link.path))
        if now is not None and now.disk.key == link.disk.key and now.disk.backing == lies_on:
            below = [one.point for one in left]
            left = left[below.index(now.disk.parent) :] if now.disk.parent in below else []
    return found


def _real_paths(
    host: Host, paths: Sequence[str], every: Sequence[tuple[int, list[_Link], _Link]]
) -> Iterator[str]:
    """Where the images really lie, with the repository's own path, the first of `paths`, as it was given."""
    root, *images = paths
    before = 0
    for some in portions(images):
        done = host.run(_REAL_PATHS.argv(root, *some), timeout=MINUTE, ok=(0, _NO_FILE))
        first, _, rest = done.stdout.partition(b"\n")
        real_root, found = first.decode(), [name.decode() for name in rest.split(b"\0")[:-1]]
        if done.exit_code == _NO_FILE:
            key, chain, link = every[before + len(found)]
            raise ChainError(key, chain[0].point, f"{link.path} is gone, or not a regular file")
        for path in found:
            yield root + path.removeprefix(real_root) if path.startswith(f"{real_root}/") else path
        before += len(found)


def _why_wrong(link: _Link, below: _Link | None, seen: img.ImageInfo, top: PointDisk) -> str | None:
    if seen.data_file is not None:
        return f"keeps its data in another file, {seen.data_file}"
    if seen.corrupt:
        return "was marked corrupt by qemu"
    if seen.virtual_size != top.capacity:
        return f"has {seen.virtual_size} bytes, the disk {top.capacity}"
    if below is None:
        return (
            None
            if seen.backing_file is None
            else f"is backed by {seen.backing_file}, but is a full by its manifest"
        )
    if seen.backing_file is None:
        return f"has no backing file, but is backed by {below.point} by its manifest"
    if posixpath.isabs(seen.backing_file) or _beside(link.path, seen.backing_file) != below.path:
        return f"is backed by {seen.backing_file}, but by {below.point} by its manifest"
    if seen.backing_format != img.FORMAT:
        return f"does not say that its backing file is {img.FORMAT}"
    return None


def _beside(path: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def _notes(host: Host, made: Manifest, path: str) -> tuple[str, ...]:
    try:
        against = tuple(verification_records.against(verification_records.read(host, path)))
    except StateError as error:
        against = (f"{error.message}.",)
    return (*against, *made.notes)
