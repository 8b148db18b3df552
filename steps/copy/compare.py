"""compare(): what reads back from an endpoint against the digests of what was read at the source."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runner.base.errors import DifferenceError
from steps.copy.buffers import buffers
from steps.copy.digests import ENTRY, Digests, digest_of
from steps.copy.endpoint import Endpoint, WrongEndpoint
from steps.copy.extent_walk import Survey
from steps.copy.extents import BLOCK, WHOLE, Extent, Piece
from steps.copy.traffic import Traffic

_PROGRESS_INTERVAL = 0.5
SAMPLE_BLOCKS = 1024
"""Blocks of content in a sample at least: if one in 300 is wrong, a sample misses all of them once in 30
samples."""
SAMPLE_SHARE = 100
"""One block of content in this many is in a sample of a large disk."""


class BlockDifference(DifferenceError):
    """`offset` in bytes; `expected` and `found` are BLAKE3 in hex of the `length` bytes there."""

    def __init__(self, name: str, offset: int, length: int, expected: str, found: str) -> None:
        super().__init__(
            f"the {name} differs at offset {offset} ({length} bytes): BLAKE3 {expected} was read at the "
            f"source, {found} is read back",
            details={"offset": offset},
        )
        self.offset = offset
        self.length = length
        self.expected = expected
        self.found = found
        self.read = 0
        """Bytes that the comparison had read when it ended with this."""


@dataclass(frozen=True)
class Compared:
    """Bytes that were looked at, and those of all that are to be; `read` of them were read, the others are
    holes on both sides; `seconds` since the comparison began."""

    done: int
    total: int
    read: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """`blocks` of the disk; `compared` were looked at, `read` of them read: the others are holes on both
    sides."""

    blocks: int
    compared: int
    read: int


def compare(
    image: Endpoint,
    digests: Digests,
    *,
    stop: threading.Event,
    blocks: Iterable[int] | None = None,
    ranges: Iterable[tuple[int, int]] | None = None,
    in_flight: int = 16,
    stall_timeout: float = 60.0,
    on_progress: Callable[[Compared], None] | None = None,
    on_difference: Callable[[BlockDifference], None] | None = None,
    on_equal: Callable[[int, memoryview], None] | None = None,
) -> Comparison:
    """All blocks, those of `ranges` (offset, length; runs of whole blocks, in order), or each of the offsets
    `blocks` (in order). What the image's extents call zero is taken for zeroes, but a whole block of them is
    read if its digest says content; of single `blocks` every byte is read. `on_progress` is told now and
    then, and at the end. `on_difference` is told of every block that differs, in any order.
    ``on_equal(offset, block)`` gets each block that was read and is equal, in the order of the blocks, up to
    the first difference where that is raised; the bytes are its own until it returns.

    Raises BlockDifference for the first difference by offset, unless `on_difference` is told of them, and
    what that raises; CopyError, Interrupted.
    """
    size = image.abilities.size
    if size != digests.capacity:
        raise WrongEndpoint(f"the {image.name} has {size} bytes but the digests are of {digests.capacity}")
    return _Comparison(
        image, digests, stop, blocks, ranges, in_flight, stall_timeout, on_progress, on_difference, on_equal
    ).run()


def sample(digests: Digests, seed: str) -> list[int]:
    """Offsets of blocks, in order: the first, the last, 1 % of the blocks of content (at least 1024), and as
    many of any kind. The same seed and digests give the same sample."""
    chance = random.Random(seed)
    total = digests.size // ENTRY
    content = sum(1 for _ in digests.data_blocks())
    wanted = max(SAMPLE_BLOCKS, content // SAMPLE_SHARE)
    chosen = set(heapq.nsmallest(wanted, digests.data_blocks(), key=lambda offset: chance.random()))
    chosen.update(block * BLOCK for block in chance.sample(range(total), min(total, wanted)))
    return sorted(chosen | {0, (total - 1) * BLOCK})


@dataclass
class _Read:
    """A block under way, until it is known whether it is `equal`; `block` is what of `buffer` it takes."""

    piece: Piece
    buffer: memoryview
    block: memoryview
    equal: bool | None = None


class _Comparison:
    def __init__(
        self,
        image: Endpoint,
        digests: Digests,
        stop: threading.Event,
        blocks: Iterable[int] | None,
        ranges: Iterable[tuple[int, int]] | None,
        in_flight: int,
        stall_timeout: float,
        on_progress: Callable[[Compared], None] | None,
        on_difference: Callable[[BlockDifference], None] | None,
        on_equal: Callable[[int, memoryview], None] | None,
    ) -> None:
        self._image = image
        self._digests = digests
        self._in_flight = in_flight
        self._on_progress = on_progress
        self._differences: list[BlockDifference] = []
        self._on_difference = on_difference or self._differences.append
        self._on_equal = on_equal
        self._reading: deque[_Read] = deque()
        """In the order in which they were started: what was read ahead of the first one waits for it."""
        self._traffic = Traffic(stop, stall_timeout)
        size = digests.capacity
        if blocks is None:
            wanted = [(0, size)] if ranges is None else list(ranges)
            self._survey = Survey(wanted, left=digests.extents, right=self._holes)
        else:
            wanted = [(offset, min(BLOCK, size - offset)) for offset in blocks]
            self._survey = Survey(wanted, left=_unknown, right=_unknown)
        self._total = sum(length for _, length in wanted)
        self._buffers = buffers(in_flight)
        self._done = self._compared = self._read = self._bytes_read = 0
        self._began = self._reported = time.monotonic()

    def _holes(self, offset: int, length: int, then: Callable[[list[Extent] | None], None]) -> None:
        self._traffic.extents(self._image, offset, length, then)

    def run(self) -> Comparison:
        try:
            while not (self._traffic.busy == 0 and (self._survey.exhausted or self._differences)):
                if not self._differences:
                    self._survey.top_up(ahead=self._in_flight * BLOCK)
                    self._issue()
                self._traffic.turn()
                self._report()
        finally:
            self._buffers.clear()  # else they stay until the cycles through our callbacks are collected
        if self._differences:
            # Blocks are read in order, so the smallest offset among those in flight is the smallest of all.
            first = min(self._differences, key=lambda one: one.offset)
            first.read = self._bytes_read
            raise first
        self._report(last=True)
        return Comparison(self._digests.size // ENTRY, self._compared, self._read)

    def _issue(self) -> None:
        while piece := self._survey.next():
            if not piece.left and not piece.right:
                self._count(self._survey.take(piece.length))
            elif self._buffers:
                self._start(self._survey.take(BLOCK))
            else:
                return

    def _start(self, piece: Piece) -> None:
        buffer = self._buffers.pop()
        block = buffer[: piece.length]
        one = _Read(piece, buffer, block)
        if self._on_equal is not None:
            self._reading.append(one)
        # All of it where the digest says content and the extents say none: what differs is seen in its bytes.
        self._traffic.read_parts(
            self._image, piece.offset, piece.right or WHOLE, block, lambda read: self._have_read(one, read)
        )

    def _have_read(self, one: _Read, read: int) -> None:
        piece = one.piece
        expected = self._digests.expected(piece.offset)
        found = digest_of(one.block, is_content=piece.left != 0)
        one.equal = found == expected
        if not one.equal:
            self._on_difference(
                BlockDifference(self._image.name, piece.offset, piece.length, expected.hex(), found.hex())
            )
        if self._on_equal is None:
            self._buffers.append(one.buffer)
        while self._reading and self._reading[0].equal is not None:
            self._pass_on(self._reading.popleft())
        self._read += 1
        self._bytes_read += read
        self._count(piece)

    def _pass_on(self, one: _Read) -> None:
        # Reads end in any order: a difference that is known already may be behind this block.
        is_before = all(one.piece.offset < found.offset for found in self._differences)
        if self._on_equal is not None and one.equal and is_before:
            self._on_equal(one.piece.offset, one.block)
        self._buffers.append(one.buffer)

    def _count(self, piece: Piece) -> None:
        self._done += piece.length
        self._compared += -(-piece.length // BLOCK)

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._on_progress is not None and (last or now - self._reported >= _PROGRESS_INTERVAL):
            self._reported = now
            self._on_progress(Compared(self._done, self._total, self._bytes_read, now - self._began))


def _unknown(offset: int, length: int, then: Callable[[list[Extent] | None], None]) -> None:
    then([Extent(offset, length, False)])
