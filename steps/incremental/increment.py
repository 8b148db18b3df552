"""One disk's copy onto its parent: what is read, what is written, what is taken over, and what is read only
to check what is believed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runner.base.errors import SendenseError, StateError
from runner.step.context import Context
from steps.copy.changes import Changes, spread
from steps.copy.compare import BlockDifference, compare
from steps.copy.digests import ENTRY, Digests, file_size
from steps.copy.earlier import Earlier
from steps.copy.endpoint import Endpoint
from steps.copy.engine import Reading
from steps.copy.extents import BLOCK, gaps, one_by_one
from steps.copy.ledger import Flushed
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.copy.overlay import Overlay, UntouchedDiffers
from steps.copy.patch import Patching
from steps.incremental.chain_doubt import damaged, doubt
from steps.nbd.image_server import serve
from steps.points import stored
from steps.qemu.img import BadImageError
from steps.values.base import Base
from steps.values.copied import Checked
from steps.values.image import Image
from steps.vsphere import cbt
from steps.vsphere.client import vcenter
from steps.vsphere.errors import TrackingError, VSphereError

SHARE = 200
"""One block in so many of what is called unchanged is read at the source."""

LEAST, MOST = 64, 4096
"""Blocks of a sample, if the job does not say how large it is to be: on a disk of 64 TiB 4 GiB are read."""

PARTLY_SHARE, PARTLY_LEAST = 16, 16
"""One in so many of the blocks that changed in part is read whole, and so many at least. More than of the
others: what a driver that tracks writes forgets lies beside what it was told at the same time."""


class RefusedSinceError(VSphereError):
    """The areas were given when the parent was chosen, and are refused now: it is chosen again, in this
    run."""

    invalidates = ("base",)
    self_healing = True

    def __init__(self, error: TrackingError) -> None:
        super().__init__(error.message)


class UnknownImageError(SendenseError):
    """The image does not match its record, so it is recreated, in this run."""

    invalidates = ("target",)
    self_healing = True

    def __init__(self, image: Image) -> None:
        super().__init__(
            f"the unfinished image {image.path} on {image.host} does not match its record: it is recreated"
        )


class Increment:
    """`base` has a parent. Good while `opened` is."""

    def __init__(
        self,
        ctx: Context,
        base: Base,
        image: Image,
        snapshot: str,
        before: Digests,
        share: float | None,
    ) -> None:
        assert base.parent is not None
        self._ctx = ctx
        self._base = base
        self._parent = base.parent
        self._image = image
        self._before = before
        """The parent's digests."""
        self._changes: Changes | None = None
        # Asked again though the decision asked already: areas are too many for a record, and the same
        # snapshot gives the same answer.
        if base.by == "cbt":
            client = vcenter(ctx, base.vcenter)
            since = self._parent.change_id or ""
            areas = cbt.areas(client, base.vm, snapshot, image.key, image.capacity, since)
            try:
                self._changes = Changes(areas, image.capacity)
            except TrackingError as error:
                raise RefusedSinceError(error) from error
        self._unchanged, self._partly = self._sample(share)

    def _sample(self, share: float | None) -> tuple[list[tuple[int, int]], frozenset[int]]:
        """Blocks (offset, length) of those without changes, and offsets of those that changed in part."""
        if self._changes is None:
            return [], frozenset()
        # By the run's id: a resume looks at the same blocks.
        seed, capacity = f"{self._ctx.run.id} {self._image.key}", self._image.capacity
        outside = gaps(capacity, self._changes.blocks())
        unchanged = spread(outside, seed=seed, share=share, one_in=SHARE, least=LEAST, most=MOST)
        partly = spread(
            self._changes.partly(),
            seed=seed,
            share=None if share is None else max(share, 1 / PARTLY_SHARE),
            one_in=PARTLY_SHARE,
            least=PARTLY_LEAST,
            most=MOST,
        )
        return one_by_one(unchanged, capacity), frozenset(partly)

    @classmethod
    @contextmanager
    def opened(
        cls, ctx: Context, base: Base, image: Image, snapshot: str, share: float | None
    ) -> Iterator[Increment]:
        """`share`: of what tracking calls unchanged, 0 to 1, that is read to check it; None: the usual one.
        Raises ChainDoubtedError if the parent's digests are not those of its manifest, TrackingError."""
        assert base.parent is not None
        with _digests_of_parent(ctx, base, image) as before:
            yield cls(ctx, base, image, snapshot, before, share)

    def between(self, source: Endpoint, image: Endpoint) -> tuple[Endpoint, Reading | None]:
        """The target of the copy, and how it reads."""
        if self._changes is None:
            return image, None
        target = Overlay(image, self._changes)
        return target, Patching(source, target, self._changes, self._before, self._partly).read

    def inherit(self, digests: Digests, done: Iterable[Flushed]) -> list[tuple[int, int]]:
        """The ranges that are left alone, whose digests `digests` gets; what is `done` already is not among
        them, nor what is read to check it."""
        if self._changes is None:
            return []
        ranges = [(one.offset, one.length) for one in done]
        inherited = gaps(self._image.capacity, [*self._changes.blocks(), *self._unchanged, *ranges])
        for offset, length in inherited:
            for start, entries in self._before.entries(offset, length):
                digests.put(start, entries)
        return inherited

    def earlier(self) -> Earlier:
        """What the image has from its parent of what is read and may be the same: every block, or those that
        are never written."""
        if self._changes is None:
            return Earlier.whole(self._before)
        parents = (Flushed(offset, length, self._before.get(offset)) for offset, length in self._unchanged)
        return Earlier(self._before, parents)

    @contextmanager
    def doubting(self) -> Iterator[None]:
        """Around the copy. Raises ChainDoubtedError for a block that the source has otherwise than it is
        believed to."""
        try:
            yield
        except UntouchedDiffers as error:
            block = error.offset // BLOCK * BLOCK
            # Either tracking forgot a write or the parent rotted: only reading the parent tells which.
            if (rot := self._rot(block)) is not None:
                raise damaged(self._ctx, self._base, self._image, rot, block) from error
            why = f"changed block tracking missed a write at offset {error.offset}"
            raise doubt(self._ctx, self._base, self._image, why) from error

    def _rot(self, offset: int) -> str | None:
        """Why the parent's block at `offset` is not what was read at the source; None if it is. (The image
        itself may hold some of the block already.)"""
        ctx, host, path = self._ctx, self._ctx.host(self._image.host), posixpath.dirname(self._parent.digests)
        root = posixpath.dirname(posixpath.dirname(path))
        try:
            (disk,) = stored.read(host, root, path, (self._image.disk.key,)).disks
            with ctx.scope():
                served = serve(ctx, host, disk.image, "read-only", connections=1)
                with NbdEndpoint(served.uris, f"disk {disk.key} of {disk.point}", stop=ctx.stop) as endpoint:
                    compare(endpoint, self._before, stop=ctx.stop, blocks=[offset])
        except BlockDifference:
            return f"a block of the chain does not match its digest at offset {offset}"
        except (stored.ChainError, StateError, BadImageError) as error:
            return error.message
        return None

    def refuse_unknown_image(self) -> None:
        """Where it is not known what the image holds, and the parent's digests are to tell what needs no
        write. Raises UnknownImageError."""
        if self._changes is None:
            raise UnknownImageError(self._image)

    def check(self, digests: Digests) -> None:
        """`digests` are those of the copy. Raises ChainDoubtedError if a block that tracking calls unchanged
        is not what it was in the parent."""
        # Both are of bytes of the source, at two moments: whatever the image holds, they differ by a write.
        for offset, length in self._unchanged:
            if digests.get(offset) != self._before.get(offset):
                missed = f"missed a write between offsets {offset} and {offset + length}"
                raise doubt(self._ctx, self._base, self._image, f"changed block tracking {missed}")

    def checked(self) -> Checked | None:
        if self._changes is None:
            return None
        return Checked(
            unchanged=len(self._unchanged), partly=len(self._partly), of=len(self._changes.partly())
        )

    def written(self, digests: Digests) -> list[tuple[int, int]]:
        """(offset, length) of the runs of blocks that this image holds, not its parent; `digests` are those
        of the copy."""
        if self._changes is not None:
            return self._changes.blocks()
        return list(_differing(self._before, digests))

    def read_before(self, done: Iterable[Flushed]) -> int:
        """Bytes that were read at the source for the content among what is `done`."""
        content = [one for one in done if one.digests]
        if self._changes is None:
            return sum(one.length for one in content)
        return sum(
            self._read_for(self._changes, block, min(BLOCK, one.end - block))
            for one in content
            for block in range(one.offset, one.end, BLOCK)
        )

    def _read_for(self, changes: Changes, block: int, length: int) -> int:
        changed = sum(end - start for start, end in changes.within(block, block + length))
        return changed if changed and block not in self._partly else length


_STRIDE = 1024 * BLOCK
"""Bytes of disk whose entries are held at a time."""


@contextmanager
def _digests_of_parent(ctx: Context, base: Base, image: Image) -> Iterator[Digests]:
    assert base.parent is not None
    host, path = ctx.host(image.host), base.parent.digests
    try:
        before = Digests.receive(
            ctx.scratch / "parent", image.capacity, host.read_chunks(path, limit=file_size(image.capacity))
        )
    except (FileNotFoundError, StateError) as error:
        raise damaged(ctx, base, image, f"its digests file {path} is gone or has another size") from error
    with before:
        if before.digest() != base.parent.digest:
            raise damaged(ctx, base, image, f"its digests file {path} is not the one that was written")
        yield before


def _differing(before: Digests, after: Digests) -> Iterator[tuple[int, int]]:
    begun: int | None = None
    for start in range(0, after.capacity, _STRIDE):
        blocks = -(-min(_STRIDE, after.capacity - start) // BLOCK)
        old, new = before.get(start, blocks), after.get(start, blocks)
        for number in range(blocks):
            entry = slice(number * ENTRY, (number + 1) * ENTRY)
            offset = start + number * BLOCK
            if old[entry] != new[entry]:
                begun = offset if begun is None else begun
            elif begun is not None:
                yield begun, offset - begun
                begun = None
    if begun is not None:
        yield begun, after.capacity - begun
