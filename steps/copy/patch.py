"""Reading a block that changed in part: its changed clusters from the source, the rest from the image, where
the parent shows through.

The image's block is read first, as far as its extents call it content. If its BLAKE3 is the one that was
recorded when the parent was read at the source, then its unchanged bytes are those that the source had at
that moment, and what tracking does not name the source has still. That tracking forgot nothing in such a
block is checked by sample: some are read whole at the source and compared. So is a block whose BLAKE3 is
another one: a resumed copy may have written to it, or the parent rotted.
"""

from __future__ import annotations

from collections.abc import Container

from steps.copy.changes import Changes
from steps.copy.digests import Digests, digest_of, zero_digest, zeroes
from steps.copy.endpoint import Endpoint
from steps.copy.engine import HaveRead
from steps.copy.extents import Piece, parts_of, ranges
from steps.copy.overlay import UntouchedDiffers
from steps.copy.traffic import Traffic, after


class Patching:
    """`image` reads as the parent wherever the copy has not written; `before` are the parent's digests.
    `sample`: offsets of blocks that changed in part and are read whole all the same. `read` fits
    `copy(reading=…)`."""

    def __init__(
        self,
        source: Endpoint,
        image: Endpoint,
        changes: Changes,
        before: Digests,
        sample: Container[int] = frozenset(),
    ) -> None:
        self._source = source
        self._image = image
        self._changes = changes
        self._before = before
        self._sample = sample

    def read(self, traffic: Traffic, piece: Piece, into: memoryview, then: HaveRead) -> None:
        """Raises UntouchedDiffers, here or in a turn of `traffic`."""
        changed = self._changes.mask(piece.offset, piece.length)
        if changed in (0, parts_of(piece.length)):
            traffic.read_parts(
                self._source, piece.offset, piece.left, into, lambda read: then(read, piece.left)
            )
            return

        def have_there(found: bytes) -> None:
            """`into` is what the image has, and `found` the BLAKE3 of that."""
            if found == self._before.expected(piece.offset) and piece.offset not in self._sample:
                self._read_changed(traffic, piece, changed, into, then)
            else:
                self._read_whole(traffic, piece, changed, into, then)

        if piece.right:

            def have_read(read: int) -> None:
                have_there(digest_of(into, is_content=True))

            traffic.read_parts(self._image, piece.offset, piece.right, into, have_read)
        else:
            into[:] = zeroes(piece.length)
            have_there(zero_digest(piece.length))

    def _read_changed(
        self, traffic: Traffic, piece: Piece, changed: int, into: memoryview, then: HaveRead
    ) -> None:
        # What the source calls a hole costs no reading, so it is compared without any sample.
        self._compare(piece, ~changed & ~piece.left, into, zeroes(piece.length))
        for start, end in ranges(changed & ~piece.left, piece.length):
            into[start:end] = zeroes(end - start)
        wanted = ranges(changed & piece.left, piece.length)
        size, parts = sum(end - start for start, end in wanted), (changed | piece.right) & piece.left
        if not wanted:
            then(size, parts)
            return
        done = after(len(wanted), lambda: then(size, parts))
        for start, end in wanted:
            traffic.read(self._source, piece.offset + start, into[start:end], done)

    def _read_whole(
        self, traffic: Traffic, piece: Piece, changed: int, into: memoryview, then: HaveRead
    ) -> None:
        there = bytes(into)

        def have_read(size: int) -> None:
            self._compare(piece, ~changed, into, there)
            then(size, piece.left)

        traffic.read_parts(self._source, piece.offset, piece.left, into, have_read)

    def _compare(self, piece: Piece, parts: int, block: memoryview, other: bytes) -> None:
        for start, end in ranges(parts & parts_of(piece.length), piece.length):
            if bytes(block[start:end]) != other[start:end]:
                raise UntouchedDiffers(self._image.name, piece.offset + start)
