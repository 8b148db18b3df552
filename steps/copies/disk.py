"""One disk of a restore point, copied into an image in another repository.

What the copy below it there has already, by the digests of both, is not read. Every block that is written is
one whose digest was made at the backup: else the copy fails. A FLUSH is recorded, and a copy that was
interrupted resumes there.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.base.errors import DifferenceError
from runner.hosts.host import Host
from runner.step.context import Context
from steps.copies.repacked import repack
from steps.copy.compare import BlockDifference, Compared
from steps.copy.differing import differing, runs
from steps.copy.digests import Digests
from steps.copy.engine import Progress, copy
from steps.copy.extents import BLOCK, gaps
from steps.copy.ledger import LedgerHead
from steps.incremental.disk_ledger import DiskLedger
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.nbd.image_server import serve
from steps.points.stored import receive_digests
from steps.qemu import img
from steps.readback.comparison import ImageReader, ReadBack
from steps.readback.image import ImageAtRest
from steps.repository import layout
from steps.repository.manifest import PointDisk
from steps.values.stored_point import DiskImage, StoredDisk

CONNECTIONS = 4
"""At either end, as for a backup."""


class OriginalDamagedError(DifferenceError):
    def __init__(self, disk: StoredDisk, offset: int) -> None:
        super().__init__(
            f"disk {disk.key} of {disk.point} is not copied: it does not match its digest at offset "
            f"{offset}: {disk.image.path} on {disk.image.host}, or one of its backing images, is damaged; "
            "`sendense verify` marks it",
            details={"offset": offset, "disk": disk.key},
        )


class CopyDiffersError(DifferenceError):
    def __init__(self, disk: StoredDisk, host: Host, difference: BlockDifference) -> None:
        super().__init__(
            f"the copy of disk {disk.key} of {disk.point} on {host.name} does not match its digest at offset "
            f"{difference.offset}: BLAKE3 {difference.expected} was read at the source, {difference.found} "
            "is read back; run the same command to copy it again",
            details={"offset": difference.offset, "disk": disk.key},
        )


@dataclass(frozen=True)
class DiskCopy:
    """Of `disk`, in the unfinished point `directory` on `host`, on its copy `below` there."""

    ctx: Context
    disk: StoredDisk
    host: Host
    directory: str
    below: StoredDisk | None
    to: str
    """The job's name of that repository."""
    flat: bool = False
    """Whether its image stands on no other one in the end, although it is made on `below`."""
    compress: bool = False

    @property
    def image(self) -> DiskImage:
        top = posixpath.join(self.directory, layout.image(self.disk.key))
        below = () if self.below is None else self.below.image.images
        return self.disk.image.model_copy(update={"host": self.host.name, "images": (top, *below)})

    def make(self, made: PointDisk) -> PointDisk:
        """`made`: as the original's manifest has it; returns it as the copy's has it. Raises
        OriginalDamagedError, CopyDiffersError, DigestsDamagedError, CopyError, NoSpaceError, Interrupted."""
        ctx, disk, began = self.ctx, self.disk, time.monotonic()
        with receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / "expected") as expected:
            ours = self._differs(expected)
            ledger = self._ledger()
            try:
                if not self._is_repacked(ledger):
                    self._write(expected, ours, ledger)
                    self.host.sync(self.image.path)
                    if self._repacks:
                        self._repack()
                if self._flattened:
                    ours = [(0, expected.capacity)]
                back = self._read_back(expected, ours)
            except DifferenceError:
                ledger.forget()
                raise
            digests = posixpath.join(self.directory, layout.digests(disk.key))
            self.host.write_sparse(digests, expected.size, expected.pieces())
        blocks = sum(-(-length // BLOCK) for _, length in ours)
        return made.model_copy(
            update={
                "parent": None if self.below is None or self.flat else self.below.point,
                "by": "all" if self.below is None or self.flat else "digests",
                "reason": "copied from another repository"
                + ("" if made.parent is None else f", where it is backed by {made.parent}"),
                "written": blocks,
                "compared": blocks,
                "inherited": 0,
                "cached": back.cached,
                "readback": back.by,
                "leaks": 0,
                "copy_seconds": time.monotonic() - began,
                "verified": datetime.now(UTC),
            }
        )

    @property
    def _called(self) -> str:
        return f"copy of disk {self.disk.key} of {self.disk.point} in {self.to} on {self.host.name}"

    @property
    def _flattened(self) -> bool:
        return self.flat and self.below is not None

    @property
    def _repacks(self) -> bool:
        return self.compress or self._flattened

    @property
    def _final(self) -> DiskImage:
        """The image as it is published."""
        image = self.image
        return image.model_copy(update={"images": image.images[:1]}) if self._flattened else image

    def _backing(self, *, final: bool) -> str | None:
        """As written in the image: in the one that is published, or in that which is written to."""
        stands_on = None if self.below is None or (final and self.flat) else self.below.point
        return None if stands_on is None else layout.backing(stands_on, self.disk.key)

    def _repack(self) -> None:
        backing = self._backing(final=True)
        repack(self.ctx, self.host, self.image.images, backing=backing, compress=self.compress)

    def _is_repacked(self, ledger: DiskLedger) -> bool:
        """A run that was killed once it had done so has all of the disk in the image, which is then only read
        back."""
        if not (self._repacks and ledger.holds_something):
            return False
        found = img.info(self.host, self.image.path)
        compressed = found.cluster_size == img.COMPRESSED_CLUSTER
        return found.backing_file == self._backing(final=True) and compressed == self.compress

    def _differs(self, expected: Digests) -> list[tuple[int, int]]:
        """What the image is to hold itself."""
        if self.below is None:
            return [(0, expected.capacity)]
        with receive_digests(self.host, self.below, self.ctx.scratch / "below") as below:
            return runs(differing(expected, below), expected.capacity)

    def _ledger(self) -> DiskLedger:
        """With an image that it tells of."""
        path, disk = self.image.path, self.disk
        head = LedgerHead(
            disk_key=disk.key,
            capacity=disk.capacity,
            backing_uuid=disk.backing_uuid,
            image=f"{self.host.name}:{path} of {disk.point}",  # that of the next point has the same name
            snapshot=disk.point,
        )
        # A run copies disks of one key of many VMs, each at its own time and place.
        name = f"{layout.ledger(disk.key)}-{posixpath.basename(posixpath.dirname(self.directory))}-{self.to}"
        ledger = DiskLedger(self.ctx, head, name)
        backing = self._backing(final=False)
        kept = ledger.holds_something and self.host.exists(path)
        if not (kept and (self._is_repacked(ledger) or img.info(self.host, path).backing_file == backing)):
            ledger.forget()
            img.create(self.host, path, disk.capacity, backing=backing)
        return ledger

    def _write(self, expected: Digests, ours: Sequence[tuple[int, int]], ledger: DiskLedger) -> None:
        ctx, disk = self.ctx, self.disk
        with (
            ctx.scope(),
            Digests.create(ctx.scratch / "read", disk.capacity) as read,
            Digests.create(ctx.scratch / "recorded", disk.capacity) as recorded,
        ):
            inherited = gaps(disk.capacity, ours)
            for offset, length in inherited:
                for at, entries in expected.entries(offset, length):
                    read.put(at, entries)
            served = serve(ctx, ctx.host(disk.image.host), disk.image, "read-only", CONNECTIONS)
            onto = serve(ctx, self.host, self.image, "write", CONNECTIONS)
            original = f"disk {disk.key} of {disk.point} on {disk.image.host}"
            with (
                GrowingEndpoint(ctx, served.uris, served.wire, original) as source,
                GrowingEndpoint(ctx, onto.uris, onto.wire, self._called) as target,
            ):

                def progressed(now: Progress) -> None:
                    self._tell("copy", now.done, disk.capacity, now.read, now.seconds)
                    source.moved(now.read, disk.capacity - now.done)
                    target.moved(now.data, disk.capacity - now.done)

                ledger.believe(target, recorded)
                copy(
                    source,
                    target,
                    read,
                    stop=ctx.stop,
                    done=ledger.done,
                    inherited=inherited,
                    on_flushed=ledger.record,
                    on_progress=progressed,
                )
            if read.digest() != disk.digest:
                raise OriginalDamagedError(disk, next(differing(expected, read)))

    def _read_back(self, expected: Digests, ours: Sequence[tuple[int, int]]) -> ReadBack:
        disk, image = self.disk, self._final
        at_rest = ImageAtRest(
            key=disk.key,
            name=self._called,
            path=image.path,
            opens=image.nodes,
            capacity=disk.capacity,
            export=image.export,
            depth=len(image.images),
        )

        def tell(now: Compared) -> None:
            self._tell("verify", now.done, now.total, now.read, now.seconds)

        with self.ctx.scope():
            back = ImageReader(self.ctx, self.host, at_rest, expected, 1, tell).read_back(ours, "auto")
        if back.found.blocks:
            raise CopyDiffersError(disk, self.host, back.found.blocks[0])
        return back

    def _tell(self, phase: str, done: int, total: int, read: int, seconds: float) -> None:
        label = f"{self.disk.point} disk {self.disk.key}"
        self.ctx.progress(label, phase, done, total, read=read, seconds=seconds)
