"""Reading a block that changed in part: its changed clusters from the source, the rest from the image, where
the parent shows through.

The image's block is read first. If its BLAKE3 is the one that was recorded when the parent was read at the
source, then its unchanged bytes are those that the source had at that moment, and what tracking does not name
the source has still. That tracking forgot nothing in such a block is checked by sample: some are read whole
at the source and compared. So is a block whose BLAKE3 is another one: a resumed copy may have written to it,
or the parent rotted.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from steps.copy.changes import Changes
from steps.copy.digests import Digests, digest_of, zero_digest, zeroes
from steps.copy.endpoint import Endpoint
from steps.copy.extents import Piece
from steps.copy.overlay import UntouchedDiffers
from steps.copy.traffic import Traffic


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
        self.unproven = 0
        """Bytes that were read at the source only because the image's blocks were not the parent's."""

    def read(self, traffic: Traffic, piece: Piece, into: memoryview, then: Callable[[int], None]) -> None:
        """Raises UntouchedDiffers in a turn of `traffic`."""
        changed = self._changes.within(piece.offset, piece.end)
        size = sum(end - start for start, end in changed)
        if size in (0, piece.length):
            traffic.read(self._source, piece.offset, into, lambda: then(piece.length))
            return

        def have_there(digest: bytes) -> None:
            proven = digest == self._before.expected(piece.offset)
            if proven and piece.offset not in self._sample:
                self._read_changed(traffic, piece, changed, into, lambda: then(size))
                return
            if not proven:
                self.unproven += piece.length - size
            there = bytes(into)

            def have_read() -> None:
                self._compare(piece, into, there)
                then(piece.length)

            traffic.read(self._source, piece.offset, into, have_read)

        if not piece.right:
            into[:] = zeroes(piece.length)
            have_there(zero_digest(piece.length))
        else:
            traffic.read(self._image, piece.offset, into, lambda: have_there(digest_of(into)))

    def _read_changed(
        self,
        traffic: Traffic,
        piece: Piece,
        changed: list[tuple[int, int]],
        into: memoryview,
        then: Callable[[], None],
    ) -> None:
        left = len(changed)

        def have_one() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                then()

        for start, end in changed:
            traffic.read(self._source, start, into[start - piece.offset : end - piece.offset], have_one)

    def _compare(self, piece: Piece, block: memoryview, there: bytes) -> None:
        for start, end, is_changed in self._changes.split(piece.offset, piece.end):
            part = slice(start - piece.offset, end - piece.offset)
            if not is_changed and bytes(block[part]) != there[part]:
                raise UntouchedDiffers(self._image.name, start)
