"""How much room copies will take, as far as the manifests of both repositories tell. Pure but for
`unfinished`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.base.units import MiB, human_bytes
from runner.hosts.host import Host
from runner.step.space import Space
from steps.points.image_file import on_disk
from steps.repository import layout
from steps.repository.history import Entry
from steps.repository.manifest import PointDisk
from steps.repository.vm_directory import VmDirectory
from steps.values.copy_form import CopyForm

BESIDE = MiB
"""What an image takes beyond the content of its disk, as that of a backup does."""


class NoRoomForCopiesError(SendenseError):
    def __init__(self, vm: str, needed: int, stays: int, host: Host, path: str, free: int) -> None:
        beside = f" beside the {human_bytes(stays)} of `min-free`" if stays else ""
        super().__init__(
            f"copies of {vm} do not fit: {human_bytes(needed)} needed at least in {path} on {host.name}"
            f"{beside}, {human_bytes(free)} free; free at least {human_bytes(needed + stays - free)} there"
        )


@dataclass(frozen=True)
class Bounds:
    """In bytes."""

    least: int = 0
    most: int = 0

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(self.least + other.least, self.most + other.most)

    def but(self, size: int) -> Bounds:
        return Bounds(max(0, self.least - size), max(0, self.most - size))


def of_points(vm: VmDirectory, there: VmDirectory, points: Iterable[Entry], form: CopyForm) -> Bounds:
    """Of `points` of `vm`, the oldest first, copied to what is `there`. Images that are compressed or made
    fulls are written twice: while that is done both are there."""
    points = tuple(points)
    if not points:
        return Bounds()
    copied = [entry for entry in there.entries if there.chains.good(entry)]
    fulls = [one.moment for one in copied if not any(disk.parent for disk in one.manifest.disks)]
    full = max(fulls, default=None)
    below = {disk.key: (one.point, disk.capacity) for one in copied for disk in one.manifest.disks}
    total, twice = Bounds(), 0
    for entry in points:
        flat = form.is_flat(full, entry.moment)
        if flat or not below:
            full = entry.moment
        for disk in entry.manifest.disks:
            point, capacity = below.get(disk.key, (None, None))
            known = vm.chains.by_name.get(point) if point is not None and capacity == disk.capacity else None
            own = Bounds(0, _between(vm, entry, disk, known))
            whole = _whole(vm, entry, disk)
            if capacity != disk.capacity:
                own = whole
            if form.compress is not None:
                twice, own = max(twice, own.most, whole.most if flat else 0), Bounds(0, own.most)
            total += own + Bounds(0, BESIDE)
            if flat and capacity == disk.capacity:
                total += Bounds(0, whole.most)
            below[disk.key] = (entry.point, disk.capacity)
    return Bounds(total.least, total.most + twice)


def space(host: Host, root: str, bounds: Bounds, of: str) -> Space:
    """In the repository at `root`; `of`: what it is for, in words."""
    free = host.free_bytes(root)
    return Space(host=host.name, path=root, free=free, least=bounds.least, most=bounds.most, of=of)


def _whole(vm: VmDirectory, entry: Entry, disk: PointDisk) -> Bounds:
    """Of all of the disk as one image."""
    most = min(disk.capacity, sum(_stored(vm, one, disk.key) for one in vm.chains.of(entry, disk.key)))
    least = 0 if disk.parent is not None else min(disk.data, most)
    return Bounds(least, most)


def _between(vm: VmDirectory, entry: Entry, disk: PointDisk, below: Entry | None) -> int:
    """Of what may have changed since `below`; None: it is in the source no longer."""
    if below is None:
        return _whole(vm, entry, disk).most
    places = [one.point for one in vm.entries]
    since = vm.entries[places.index(below.point) + 1 : places.index(entry.point) + 1]
    return min(disk.capacity, sum(_stored(vm, one, disk.key) for one in since))


def _stored(vm: VmDirectory, entry: Entry, key: int) -> int:
    return vm.stored.get(posixpath.join(entry.path, layout.image(key)), 0)


def unfinished(host: Host, directories: Iterable[str]) -> int:
    """Bytes that the images of interrupted copies take, in these directories: they are written no second
    time, or deleted first."""
    return sum(on_disk(host, path) for path in _images(host, directories))


def _images(host: Host, directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        if host.exists(directory):
            names = filter(layout.is_image, host.listdir(directory))
            yield from (posixpath.join(directory, name) for name in names)
