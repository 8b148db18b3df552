"""copy(): every byte of a source into a target of the same size, with the digest of every block.

    survey what is next ─┬→ read a block ─→ digest ─┬→ its content: write it ──────────┬→ settled ─→ FLUSH
                         └→ a run of zeroes ────────┴→ its zeroes: zero them, or leave ┘             ─→ safe:
                                                       them where the target reads so              on_flushed

Blocks are read, digested, counted and made safe as a whole. Of a block only what the source's extents call
content is read, and only what holds more than zeroes is written: both by parts of 64 KiB, see `extents`. What
the target reads as is asked of the target: a skipped hole is one that would change nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from runner.base.units import MiB
from steps.copy.buffers import buffers
from steps.copy.digests import Digests, content_of, digest_of, zero_digest
from steps.copy.earlier import Earlier
from steps.copy.endpoint import MAX_REQUEST, Endpoint, WrongEndpoint
from steps.copy.extent_walk import Survey
from steps.copy.extents import BLOCK, Extent, Piece, gaps, ranges
from steps.copy.ledger import Flushed, join
from steps.copy.traffic import Traffic, after


@dataclass(frozen=True)
class Tuning:
    """How a copy is done; bytes and seconds."""

    in_flight: int = 16
    """Blocks between the start of their read and the end of their write, over all connections."""
    window: int = 256 * MiB
    """Source bytes read but not flushed in the target, at most: what a kill makes us copy twice."""
    flush_interval: float = 5.0
    """At most this old gets a write before it is flushed, however slow the source is."""
    stall_timeout: float = 60.0


@dataclass(frozen=True)
class Progress:
    """Bytes completed. `skipped`: nothing had to be done, since the target read as zero there or was known
    safe. `read`: those that came from the source, whatever was done with them; `seconds` since the copy
    began."""

    data: int
    zero: int
    skipped: int
    read: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def done(self) -> int:
        return self.data + self.zero + self.skipped


@dataclass(frozen=True)
class Copy:
    """A copy that ended well. `blind`: bytes of ranges whose extents the source failed to tell, which were
    read."""

    progress: Progress
    blind: int


_PROGRESS_INTERVAL = 0.5

HaveRead = Callable[[int, int], None]
"""``then(read, parts)``: how many bytes came from the source, and the mask of the parts beside which there
are only zeroes."""

Reading = Callable[[Traffic, Piece, memoryview, HaveRead], None]
"""``reading(traffic, piece, into, then)`` fills `into` with the source's bytes of `piece`, one block, and
calls `then`, now or in a turn of `traffic`."""


def copy(
    source: Endpoint,
    target: Endpoint,
    digests: Digests,
    *,
    stop: threading.Event,
    tuning: Tuning | None = None,
    done: Iterable[Flushed] = (),
    inherited: Iterable[tuple[int, int]] = (),
    earlier: Earlier | None = None,
    reading: Reading | None = None,
    blank: bool = False,
    on_content: Callable[[memoryview, int], None] | None = None,
    on_flushed: Callable[[Sequence[Flushed]], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Copy:
    """Returns once a FLUSH made everything durable. `digests` is fresh but for what is `inherited`, and of
    the same capacity.

    `done` is safe already (what a ledger lists): only its digests are taken over. What is `inherited`, ranges
    (offset, length) of whole blocks, is left alone: the target has it from its backing file, and `digests`
    holds its digests. What the target holds from an `earlier` moment is read and digested like all else, and
    not written where it is the same. Without a `reading` all that the source's extents call content is read
    there. A `blank` target has zeroes wherever this same source was not written to it: it is not asked for
    its extents, and no zero is written. `on_content` gets each block that is written before it is, and the
    mask of its parts that are not all zero. `on_flushed` gets what has become safe, after each FLUSH: ranges
    whose writes completed before it was issued. Raises CopyError, Interrupted, and what the callbacks raise.
    """
    return _Copy(
        source,
        target,
        digests,
        stop,
        tuning or Tuning(),
        done,
        inherited,
        earlier,
        reading or _content(source),
        blank,
        on_content,
        on_flushed,
        on_progress,
    ).run()


def _content(source: Endpoint) -> Reading:
    def read(traffic: Traffic, piece: Piece, into: memoryview, then: HaveRead) -> None:
        traffic.read_parts(source, piece.offset, piece.left, into, lambda read: then(read, piece.left))

    return read


def _zero(offset: int, length: int, then: Callable[[list[Extent] | None], None]) -> None:
    then([Extent(offset, length, True)])


class _Copy:
    def __init__(
        self,
        source: Endpoint,
        target: Endpoint,
        digests: Digests,
        stop: threading.Event,
        tuning: Tuning,
        done: Iterable[Flushed],
        inherited: Iterable[tuple[int, int]],
        earlier: Earlier | None,
        reading: Reading,
        blank: bool,
        on_content: Callable[[memoryview, int], None] | None,
        on_flushed: Callable[[Sequence[Flushed]], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        _refuse_wrong_ends(source, target, digests)
        self._target = target
        self._digests = digests
        self._tuning = tuning
        self._earlier = earlier
        self._reading = reading
        self._on_content = on_content
        self._on_flushed = on_flushed
        self._on_progress = on_progress
        self._begun = self._reported = time.monotonic()
        self._data = self._zero = self._skipped = self._read_bytes = 0
        self._traffic = Traffic(stop, tuning.stall_timeout)
        self._survey = Survey(
            gaps(source.abilities.size, self._adopt(done, inherited)),
            left=lambda offset, length, then: self._traffic.extents(source, offset, length, then),
            right=_zero
            if blank
            else lambda offset, length, then: self._traffic.extents(target, offset, length, then),
        )
        self._buffers = buffers(tuning.in_flight)
        self._zeroing = 0
        """Zero requests in flight."""
        self._unflushed = 0
        """Bytes read since their read was issued and until a FLUSH covered them."""
        self._settled: list[Flushed] = []
        """Completed since the last FLUSH was issued."""
        self._settled_read = 0
        """Bytes of `_settled` that were read."""
        self._settled_since = 0.0
        self._flushing = False
        self._finished = False

    def _adopt(self, done: Iterable[Flushed], inherited: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        ranges = list(inherited)
        self._skipped += sum(length for _, length in ranges)
        for one in done:
            if one.digests:
                self._digests.put(one.offset, one.digests)
            self._skipped += one.length
            ranges.append((one.offset, one.length))
        return ranges

    def run(self) -> Copy:
        try:
            while not self._finished:
                self._survey.top_up(ahead=self._tuning.in_flight * BLOCK)
                self._issue()
                self._flush_if_due()
                self._traffic.turn()
                if (now := time.monotonic()) - self._reported >= _PROGRESS_INTERVAL:
                    self._report(now)
        finally:
            self._buffers.clear()  # else they stay until the cycles through our callbacks are collected
        return Copy(self._report(time.monotonic()), self._survey.blind)

    def _issue(self) -> None:
        """Starts what there is room for."""
        while piece := self._survey.next():
            if not piece.left and not piece.right:
                # Nothing to transfer and nothing to change: all of it at once, however long the hole is.
                piece = self._survey.take(piece.length)
                self._skipped += piece.length
                self._settle(piece, b"")
            elif not piece.left:
                # Zero requests hold no buffer, so nothing else bounds how many are under way.
                if self._zeroing >= self._tuning.in_flight:
                    return
                self._write_zeroes(self._survey.take(MAX_REQUEST), read=0)
            else:
                # A window of less than a block would never admit one.
                if not self._buffers or self._unflushed + BLOCK > max(self._tuning.window, BLOCK):
                    return
                self._read(self._survey.take(BLOCK))

    def _read(self, piece: Piece) -> None:
        buffer = self._buffers.pop()
        # Counted from the read on: a kill between read and FLUSH has the bytes read again.
        self._unflushed += piece.length
        block = buffer[: piece.length]

        def have_read(read: int, parts: int) -> None:
            self._read_bytes += read
            self._have_read(piece, buffer, block, parts)

        self._reading(self._traffic, piece, block, have_read)

    def _have_read(self, piece: Piece, buffer: memoryview, block: memoryview, parts: int) -> None:
        # By the bytes, not by the extents: a source may call content what holds only zeroes.
        content = content_of(block, parts)
        digest = digest_of(block, is_content=True) if content else zero_digest(piece.length)
        is_there = self._earlier is not None and self._earlier.holds(piece.offset, digest)
        if content:
            # The digests file has zeroes for a block of zeroes, which keeps it sparse.
            self._digests.put(piece.offset, digest)
        if content and not is_there:
            if self._on_content is not None:
                self._on_content(block, content)
            self._write(piece, content, buffer, digest)
            return
        # Given back before any request: zeroing needs no bytes of ours.
        self._buffers.append(buffer)
        if piece.right and not is_there:
            self._write_zeroes(piece, read=piece.length)
        else:
            self._skipped += piece.length
            self._settle(piece, digest if content else b"", read=piece.length)

    def _write(self, piece: Piece, content: int, buffer: memoryview, digest: bytes) -> None:
        """The parts in `content`, and zeroes where the target has other bytes; where it reads as zero it is
        left alone."""
        written, zeroed = (ranges(mask, piece.length) for mask in (content, piece.right & ~content))

        def have_written() -> None:
            self._buffers.append(buffer)
            data, zero = (sum(end - start for start, end in parts) for parts in (written, zeroed))
            self._data += data
            self._zero += zero
            self._skipped += piece.length - data - zero
            self._settle(piece, digest, read=piece.length)

        done = after(len(written) + len(zeroed), have_written)
        for start, end in written:
            self._traffic.write(self._target, piece.offset + start, buffer[start:end], done)
        for start, end in zeroed:
            self._traffic.zero(self._target, piece.offset + start, end - start, done)

    def _write_zeroes(self, piece: Piece, read: int) -> None:
        self._zeroing += 1
        self._traffic.zero(self._target, piece.offset, piece.length, lambda: self._have_zeroed(piece, read))

    def _have_zeroed(self, piece: Piece, read: int) -> None:
        self._zeroing -= 1
        self._zero += piece.length
        self._settle(piece, b"", read=read)

    def _settle(self, piece: Piece, digests: bytes, read: int = 0) -> None:
        if not self._settled:
            self._settled_since = time.monotonic()
        self._settled.append(Flushed(piece.offset, piece.length, digests))
        self._settled_read += read

    def _flush_if_due(self) -> None:
        """At half a window, so that the other half fills meanwhile; at an age; and once at the end."""
        # One at a time: a second FLUSH would cover what the first one leaves out, and nothing sooner.
        if self._flushing:
            return
        last = self._survey.exhausted and self._traffic.busy == 0
        old = self._settled and time.monotonic() - self._settled_since >= self._tuning.flush_interval
        if not (last or old or self._settled_read >= max(self._tuning.window // 2, BLOCK)):
            return
        # Only what completed before this FLUSH is issued is safe once it succeeds: later completions wait for
        # the next.
        covered, read = self._settled, self._settled_read
        self._settled, self._settled_read, self._flushing = [], 0, True
        self._traffic.flush(self._target, lambda: self._have_flushed(covered, read, last))

    def _have_flushed(self, covered: list[Flushed], read: int, last: bool) -> None:
        self._flushing = False
        self._unflushed -= read
        # The ledger learns of it only here: a line in it is a promise that the bytes survive a power cut.
        if covered and self._on_flushed is not None:
            self._on_flushed(join(covered))
        self._finished = last

    def _report(self, now: float) -> Progress:
        self._reported = now
        progress = Progress(self._data, self._zero, self._skipped, self._read_bytes, now - self._begun)
        if self._on_progress is not None:
            self._on_progress(progress)
        return progress


def _refuse_wrong_ends(source: Endpoint, target: Endpoint, digests: Digests) -> None:
    size = source.abilities.size
    for name, other in ((target.name, target.abilities.size), ("digests file", digests.capacity)):
        if other != size:
            raise WrongEndpoint(
                f"the {source.name} has {size} bytes but the {name} is for {other}: nothing was copied"
            )
    if target.abilities.read_only:
        raise WrongEndpoint(f"the {target.name} is read-only: nothing was copied")
    if not target.abilities.can_flush:
        raise WrongEndpoint(
            f"the {target.name} cannot flush, so nothing in it would be safe: nothing was copied"
        )
