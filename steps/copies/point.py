"""One restore point, copied into another repository: its images made there, one by one; the digests of the
original and the VM's files as they are; the manifest, everything on stable storage, and then one rename.

The source is only read. The copy has the name, the sequence and the witness of the original.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import DifferenceError, Interrupted, SendenseError, StateError
from runner.base.model import Model
from runner.hosts.host import Host
from runner.step.context import Context
from steps.copies import missing, size
from steps.copies.disk import DiskCopy
from steps.copies.missing import VmCopies
from steps.copies.repacked import require_zstd
from steps.copies.size import NoRoomForCopiesError
from steps.points import stored
from steps.points.place import Place
from steps.repository import identities, layout, manifest, marker, reader
from steps.repository.history import Entry
from steps.repository.manifest import Manifest, Origin, PointDisk
from steps.repository.section import Repository
from steps.repository.vm_directory import VmDirectory
from steps.repository.vm_lock import hold
from steps.trail import log
from steps.values.copy_form import CopyForm
from steps.values.stored_point import StoredDisk, StoredPoint


class SameRepositoryError(StateError):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other} are the same repository: there is nothing to copy")


class SavedDiffersError(DifferenceError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(
            f"{path} on {host} is not what was saved at the backup, so its point is not copied; `sendense "
            "verify` marks it"
        )


class PointCopied(Model):
    point: str
    written: int
    """Blocks of 1 MiB that its images hold themselves"""
    fulls: int
    """Of its disks, those with an image that stands on no other one"""


@dataclass(frozen=True)
class Copying:
    """Of one VM's points, from one repository into another."""

    ctx: Context
    source: Place
    to: Place
    vm: VmCopies
    form: CopyForm

    def run(self) -> list[PointCopied]:
        """Those that this run has copied, also before it was interrupted. Raises what `DiskCopy.make` does,
        SavedDiffersError, SameRepositoryError, NotOnlyCopiesError, LockedError, CannotCompressError,
        NoRoomForCopiesError."""
        ctx, host = self.ctx, self.to.host
        if self._uuid(self.source) == self._uuid(self.to):
            raise SameRepositoryError(self.source.name, self.to.name)
        if not host.exists(self.directory):
            host.mkdir(self.directory)
        hold(ctx, host, self.directory, self._locked)
        there = reader.read(host, self.directory)
        missing.refuse_others(self.to.name, [there])
        if self.form.compress is not None:
            require_zstd(ctx, host)
        self._remove_unfinished(there)
        self._log_what_is_not_logged(there)
        before = self._copied_before(there)
        if not before:
            self._require_room()
        self._copy_identities()
        return before + [
            copied
            for point in self.vm.points
            if point not in there.chains.by_name and (copied := self._put(point)) is not None
        ]

    def discard(self) -> None:
        """What this run has not finished goes. What it has copied is good, and stays."""
        ctx, host = self.ctx, self.to.host
        if not host.exists(self.directory):
            return
        with ctx.scope():
            hold(ctx, host, self.directory, self._locked)
            self._log_what_is_not_logged(reader.read(host, self.directory))
            host.remove(self.partial, recursive=True)

    @property
    def directory(self) -> str:
        return posixpath.join(self.to.path, self.vm.name)

    @property
    def partial(self) -> str:
        """Where a point is until it is whole."""
        return posixpath.join(self.directory, layout.partial(self.ctx.run.id))

    @property
    def _locked(self) -> str:
        return f"VM {self.vm.vm!r} in repository {self.to.name}"

    def _uuid(self, place: Place) -> str:
        return marker.require(place.host, place.path).uuid

    def _copied_before(self, there: VmDirectory) -> list[PointCopied]:
        """By this run."""
        run = self.ctx.run.id
        found = [one for one in there.entries if (origin := one.manifest.copied) and origin.run == run]
        return [_told(one.point, one.manifest.disks) for one in found]

    def _log_what_is_not_logged(self, there: VmDirectory) -> None:
        """An execution of this run that was killed behind the rename of a copy did not come to log it: at
        most the last one. Of no other run: a point that somebody forged gets no entry."""
        run = self.ctx.run.id
        origins = ((one.manifest.copied, one.point) for one in there.entries)
        copies = [(origin.at, point) for origin, point in origins if origin is not None and origin.run == run]
        if copies and not self._is_logged(point := max(copies)[1]):
            self._log(point)

    def _is_logged(self, point: str) -> bool:
        """By the repository's host: of a large repository the log is hundreds of megabytes."""
        entry = f'"act":"copy","vm":"{self.vm.name}","points":["{point}"]'
        path = posixpath.join(self.to.path, layout.LOG)
        return self.to.host.run(("grep", "-qF", "-e", entry, path), ok=None).exit_code == 0

    def _require_room(self) -> None:
        """Raises NoRoomForCopiesError."""
        host, path = self.to.host, self.to.path
        repository: Repository = self.ctx.section("repositories", self.to.name)
        needed = max(0, self.vm.least - size.unfinished(host, [self.partial]))
        stays = repository.min_free or 0
        if (free := host.free_bytes(path)) < needed + stays:
            raise NoRoomForCopiesError(self.vm.vm, needed, stays, host, path, free)

    def _log(self, point: str) -> None:
        text = f"from {self.source.name}"
        log.note(self.ctx, self.to.host, self.to.path, "copy", vm=self.directory, points=(point,), text=text)

    def _remove_unfinished(self, there: VmDirectory) -> None:
        """Of other runs: the VM's lock is ours, so none of them lives, and what they had is copied again."""
        others = [path for path in there.unfinished if path != self.partial]
        self.to.host.remove(*others, recursive=True)

    def _copy_identities(self) -> None:
        """Of an adopted VM: as whom its points are its own."""
        path = posixpath.join(self.source.path, self.vm.name, layout.IDENTITIES)
        try:
            content = self.source.host.read(path, limit=layout.RECORD_LIMIT)
        except FileNotFoundError:
            return
        # Damage, or what somebody wrote there, would put all copies in doubt.
        identities.parse(content, f"{path} on {self.source.host.name}")
        self.to.host.write(posixpath.join(self.directory, layout.IDENTITIES), content)

    def _put(self, point: str) -> PointCopied | None:
        """None if it vanished meanwhile, which is a warning: the other repository's retention does not wait
        for copies."""
        path = posixpath.join(self.source.path, self.vm.name, point)
        try:
            return self._copy(path)
        except Interrupted:
            raise
        except (SendenseError, FileNotFoundError):
            if self.source.host.exists(path):
                raise
        self.ctx.warn(f"{self.vm.vm}/{point} was deleted in {self.source.name} before it could be copied")
        return None

    def _copy(self, path: str) -> PointCopied:
        source, host = self.source, self.to.host
        found, made = stored.read(source.host, source.path, path), manifest.read(source.host, path)
        if made is None:
            raise FileNotFoundError(path)
        if not host.exists(self.partial):
            host.mkdir(self.partial)
        below = missing.older(reader.read(host, self.directory), made)
        fulls = (one.moment for one in below if not any(disk.parent for disk in one.manifest.disks))
        flat = self.form.is_flat(next(fulls, None), made.moment)
        disks = tuple(self._disk(disk, found, below, flat=flat) for disk in made.disks)
        self._complete(path, made, disks)
        host.rename(self.partial, posixpath.join(self.directory, made.point))
        self._log(made.point)
        return _told(made.point, disks)

    def _disk(self, disk: PointDisk, found: StoredPoint, older: Sequence[Entry], *, flat: bool) -> PointDisk:
        (original,) = (one for one in found.disks if one.key == disk.key)
        below = self._below(disk, older)
        compress = self.form.compress is not None
        return DiskCopy(
            self.ctx, original, self.to.host, self.partial, below, self.to.name, flat, compress
        ).make(disk)

    def _below(self, disk: PointDisk, older: Sequence[Entry]) -> StoredDisk | None:
        """The disk in the newest of these copies that has it, in the same size."""
        for entry in older:
            known = entry.manifest.disk(disk.key)
            if known is not None and known.capacity == disk.capacity:
                (below,) = stored.read(self.to.host, self.to.path, entry.path, (disk.key,)).disks
                return below
        return None

    def _complete(self, path: str, made: Manifest, disks: tuple[PointDisk, ...]) -> None:
        host, directory = self.to.host, self.partial
        wanted = {name for disk in disks for name in (disk.image, disk.digests)}
        # Of a point that vanished while a killed run copied it.
        others = [name for name in host.listdir(directory) if name not in wanted]
        host.remove(*(posixpath.join(directory, name) for name in others), recursive=True)
        files = posixpath.join(directory, layout.VM_FILES)
        host.mkdir(files)
        for name, content in self._saved(path, made):
            host.write(posixpath.join(files, name), content)
        origin = Origin(repository=self._uuid(self.source), at=datetime.now(UTC), run=self.ctx.run.id)
        copied = made.model_copy(update={"disks": disks, "copied": origin})
        # Before the manifest that vouches for them.
        host.sync(*(posixpath.join(directory, name) for name in sorted(wanted)), files)
        host.write(posixpath.join(directory, layout.MANIFEST), manifest.dump(copied))
        host.sync(directory)

    def _saved(self, path: str, made: Manifest) -> list[tuple[str, bytes]]:
        """The VM's files, each compared with its digest where the manifest has one."""
        host: Host = self.source.host
        there = set(host.listdir(posixpath.join(path, layout.VM_FILES)))
        known = (made.config, made.nvram, layout.VM_INVENTORY)
        names = sorted(made.saved) if made.saved else sorted(there & set(filter(None, known)))
        found = []
        for name in names:
            file = posixpath.join(path, layout.VM_FILES, name)
            content = b"" if name not in there else host.read(file)
            if made.saved and (name not in there or hashlib.sha256(content).hexdigest() != made.saved[name]):
                raise SavedDiffersError(file, host.name)
            found.append((name, content))
        if not host.exists(path):  # what is gone has no files, which is not to say that it had none
            raise FileNotFoundError(path)
        return found


def _told(point: str, disks: Sequence[PointDisk]) -> PointCopied:
    return PointCopied(
        point=point,
        written=sum(disk.written for disk in disks),
        fulls=sum(disk.parent is None for disk in disks),
    )
