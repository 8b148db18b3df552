"""One disk's copy onto its parent: what is read, what is written, what is taken over, and the check of what
is believed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from runner.base.errors import SendenseError, StateError
from runner.step.context import Context
from steps.copy.changes import Changes, spread
from steps.copy.compare import BlockDifference, compare
from steps.copy.digests import ENTRY, Digests, file_size
from steps.copy.earlier import Earlier
from steps.copy.endpoint import Endpoint
from steps.copy.extents import BLOCK, gaps
from steps.copy.ledger import Flushed
from steps.copy.nbd import NbdEndpoint
from steps.copy.overlay import Overlay, UntouchedDiffers
from steps.incremental.chain_doubt import damaged, doubt
from steps.nbd.image_server import serve
from steps.points import stored
from steps.qemu.img import BadImageError
from steps.values.base import Base
from steps.values.image import Image
from steps.vsphere import cbt
from steps.vsphere.client import vcenter
from steps.vsphere.errors import TrackingError, VSphereError

SHARE = 200
"""One block in so many of what is called unchanged is read at the source."""

LEAST, MOST = 64, 4096
"""Blocks of a sample, if the job does not say how large it is to be: on a disk of 64 TiB 4 GiB are read."""


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

    def __init__(self, ctx: Context, base: Base, image: Image, snapshot: str, before: Digests) -> None:
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
        self.sampled = 0
        """Bytes that were read to check what is believed."""

    @classmethod
    @contextmanager
    def opened(cls, ctx: Context, base: Base, image: Image, snapshot: str) -> Iterator[Increment]:
        """Raises ChainDoubtedError if the parent's digests are not those of its manifest, TrackingError."""
        assert base.parent is not None
        with _digests_of_parent(ctx, base, image) as before:
            yield cls(ctx, base, image, snapshot, before)

    def target(self, image: Endpoint) -> Endpoint:
        return image if self._changes is None else Overlay(image, self._changes)

    def inherit(self, digests: Digests, done: Iterable[Flushed]) -> list[tuple[int, int]]:
        """The ranges that are left alone, whose digests `digests` gets; what is `done` already is not among
        them."""
        if self._changes is None:
            return []
        ranges = [(one.offset, one.length) for one in done]
        inherited = gaps(self._image.capacity, [*self._changes.blocks(), *ranges])
        for offset, length in inherited:
            for start in range(offset, offset + length, _STRIDE):
                blocks = -(-min(_STRIDE, offset + length - start) // BLOCK)
                entries = self._before.get(start, blocks)
                if entries.strip(b"\0"):
                    digests.put(start, entries)
        return inherited

    def earlier(self) -> Earlier | None:
        """What the parent holds, where every block is read."""
        return Earlier.whole(self._before) if self._changes is None else None

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

    def check(self, source: Endpoint, share: float | None) -> None:
        """Reads a sample of what is called unchanged at the source; `share` (0 to 1) as for `spread`. Raises
        ChainDoubtedError."""
        if self._changes is None:
            return
        key = self._image.disk.key
        seed = f"{self._ctx.run.id} {key}"
        capacity = self._image.capacity
        blocks = spread(
            self._changes.blocks(), capacity, seed=seed, share=share, one_in=SHARE, least=LEAST, most=MOST
        )
        self.sampled = sum(min(BLOCK, capacity - offset) for offset in blocks)
        try:
            compare(
                source,
                self._before,
                stop=self._ctx.stop,
                blocks=blocks,
                on_progress=lambda now: self._ctx.progress(f"disk {key}", "check", **asdict(now)),
            )
        except BlockDifference as difference:
            why = (
                f"changed block tracking missed a write between offsets {difference.offset} and "
                f"{difference.offset + difference.length}"
            )
            raise doubt(self._ctx, self._base, self._image, why) from difference

    def written(self, digests: Digests) -> list[tuple[int, int]]:
        """(offset, length) of the runs of blocks that this image holds, not its parent; `digests` are those
        of the copy."""
        if self._changes is not None:
            return self._changes.blocks()
        return list(_differing(self._before, digests))

    def read(self) -> int:
        """Bytes of the blocks that were looked at, source and sample."""
        if self._changes is None:
            return self._image.capacity
        return sum(length for _, length in self._changes.blocks()) + self.sampled


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
