"""Writing a disk that has bytes already: of a block only the parts that differ are written.

A block of the target is read before it is written. So nothing is written that is there already, and nothing
is written over but what the target may have. A block of the source is written only once it is what its digest
says.

    rewriting = Rewriting(source, target, wanted, may_have)
    copy(rewriting.source, rewriting.target, digests, reading=rewriting.read, …)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from steps.copy.digests import ENTRY, Digests, digest_of, zeroes
from steps.copy.endpoint import Answered, Channel, CopyError, Endpoint, Filter, FilterChannel, RangesChannel
from steps.copy.engine import HaveRead
from steps.copy.extents import BLOCK, PART, WHOLE, Extent, Piece, ranges
from steps.copy.ledger import Flushed
from steps.copy.traffic import Traffic


class UnknownContent(CopyError):
    """The target has at `offset` (bytes) neither what it is to get nor what it may have: it is left alone."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(f"the {name} has other bytes at offset {offset} than it had before: they are kept")
        self.offset = offset


class SourceDamaged(CopyError):
    """The source's block at `offset` (bytes) is not what its digest says: it is not written."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(f"the {name} does not match its digest at offset {offset}: it is not written")
        self.offset = offset


class Rewriting:
    """`wanted` are the digests of `source`; `may_have` those of what `target` has where it differs from it,
    None where it may have anything. `read` fits `copy(reading=…)`; `source` and `target` are the two ends to
    give it."""

    def __init__(
        self, source: Endpoint, target: Endpoint, wanted: Digests, may_have: Digests | None = None
    ) -> None:
        self._from = source
        self._onto = target
        self._wanted = wanted
        self._may_have = may_have
        self._masks: dict[int, int] = {}
        """Which parts differ of the blocks that are about to be written, by offset."""
        self.source: Endpoint = _Blank(source)
        self.target: Endpoint = _Differing(target, self._masks)
        self.written = 0
        """Bytes of the parts that differed."""

    def read(self, traffic: Traffic, piece: Piece, into: memoryview, then: HaveRead) -> None:
        """Raises UnknownContent, SourceDamaged in a turn of `traffic`."""
        there = memoryview(bytearray(piece.length))
        wanted = self._wanted.expected(piece.offset)

        def have_both(read: int) -> None:
            if digest_of(into) != wanted:
                raise SourceDamaged(self._from.name, piece.offset)
            self._masks[piece.offset] = mask = _differing(there, into)
            self.written += sum(end - start for start, end in ranges(mask, piece.length))
            then(read, WHOLE)

        def have_target() -> None:
            found = digest_of(there)
            if found == wanted:
                into[:] = there
                have_both(0)
                return
            if self._may_have is not None and found != self._may_have.expected(piece.offset):
                raise UnknownContent(self._onto.name, piece.offset)
            if self._wanted.get(piece.offset) == bytes(ENTRY):
                into[:] = zeroes(piece.length)  # which nobody need send
                have_both(0)
                return
            traffic.read_parts(self._from, piece.offset, WHOLE, into, have_both)

        traffic.read(self._onto, piece.offset, there, have_target)

    def forget(self, settled: Iterable[Flushed]) -> None:
        """What is safe is written no more."""
        for one in settled:
            for offset in range(one.offset, one.end, BLOCK):
                self._masks.pop(offset, None)


def _differing(there: memoryview, wanted: memoryview) -> int:
    """The mask of the parts that differ."""
    mask = 0
    for number in range(-(-len(there) // PART)):
        part = slice(number * PART, (number + 1) * PART)
        mask |= (there[part] != wanted[part]) << number
    return mask


class _Blank(Filter):
    """Tells no holes, so that each block is looked at: a hole may lie over content."""

    def _through(self, channel: Channel) -> Channel:
        return _BlankChannel(channel)


class _Differing(Filter):
    """Writes only the parts in `masks`."""

    def __init__(self, under: Endpoint, masks: dict[int, int]) -> None:
        super().__init__(under)
        self._masks = masks

    def _through(self, channel: Channel) -> Channel:
        return _DifferingChannel(channel, self._masks)


class _BlankChannel(FilterChannel):
    def extents(self, offset: int, length: int, answered: Answered) -> None:
        answered([Extent(offset, length, False)], None)


class _DifferingChannel(RangesChannel):
    """A request is of one block, or of a part of it."""

    def __init__(self, below: Channel, masks: dict[int, int]) -> None:
        super().__init__(below)
        self._masks = masks

    def _within(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        block = start // BLOCK * BLOCK
        runs = ((block + low, block + high) for low, high in ranges(self._masks[block], BLOCK))
        return [(max(low, start), min(high, end)) for low, high in runs if low < end and high > start]
