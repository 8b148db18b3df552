"""The ledger of a disk's transfer, kept with the run: what a resume may rely on, after it looked.

A record is believed if the image it names is the one at hand and a sample of its blocks reads back as
recorded. What is recorded of the snapshot at hand is done. What is recorded of the snapshot before it only
saves the write; what is older says nothing, since blocks may have been written over, unrecorded, for the
snapshot between.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from runner.step.context import Context, Log
from steps.copy.compare import BlockDifference, compare
from steps.copy.digests import Digests
from steps.copy.earlier import Earlier
from steps.copy.endpoint import Endpoint
from steps.copy.extents import BLOCK
from steps.copy.ledger import Flushed, Ledger, LedgerHead, Segment, read_ledger
from steps.copy.sampling import Sampling
from steps.repository import layout

SAMPLE_SHARE = 100
SAMPLE_MIN = 16
SAMPLE_MAX = 4096
"""Blocks of a ledger that are read back before it is believed: one in a hundred, within these bounds."""


class DiskLedger:
    """`name`: of its file among what the run keeps, where a run has several for one disk key."""

    def __init__(self, ctx: Context, head: LedgerHead, name: str = "") -> None:
        self._ctx = ctx
        self._log: Log = ctx.log(name or layout.ledger(head.disk_key))
        self._head = head
        self._ledger = Ledger(self._log.append)
        self._begun = False
        self.done: tuple[Flushed, ...] = ()
        """Of the snapshot at hand."""
        self.earlier: tuple[Flushed, ...] = ()
        """Of the snapshot before it, which is gone."""
        self.sampling = Sampling()
        """Of what was written, by this execution too where it fits `copy(on_content=sampling.take)`."""
        self._recorded = 0
        self._read()

    def _read(self) -> None:
        reading = read_ledger(self._log.pieces(), self._log.path)
        if reading is None or not all(self._is_of_this_image(segment) for segment in reading.segments):
            self.forget()
            return
        if reading.torn:
            # Before anything is appended: behind half a line, the next one would be damage.
            self._log.cut(reading.intact)
        self.sampling, self._recorded = reading.sampling, reading.sampling.seen
        *before, last = reading.segments
        self._begun = last.head == self._head
        if self._begun:
            self.done = last.ranges
            self.earlier = before[-1].ranges if before else ()
        else:
            self.earlier = last.ranges

    def _is_of_this_image(self, segment: Segment) -> bool:
        # The snapshot alone may differ: of an earlier one, what was written still saves writes.
        return replace(segment.head, snapshot=self._head.snapshot) == self._head

    @property
    def holds_something(self) -> bool:
        return bool(self.done or self.earlier)

    def forget(self) -> None:
        """The disk is copied from the start."""
        self._log.remove()
        self._begun, self.done, self.earlier = False, (), ()
        self.sampling, self._recorded = Sampling(), 0

    def writing(self) -> None:
        """Before the first write: what is recorded of a snapshot before this one must never again be taken
        for what the target holds, though a kill comes before a FLUSH of this one is recorded."""
        if self.earlier:
            self._begin()

    def record(self, ranges: Sequence[Flushed]) -> None:
        """What a FLUSH made safe."""
        self._begin()
        grown = self.sampling.seen != self._recorded
        self._ledger.record(ranges, self.sampling if grown else None)
        self._recorded = self.sampling.seen
        self._ctx.advanced.set()

    def _begin(self) -> None:
        if not self._begun:
            self._ledger.begin(self._head)
            self._begun = True

    def believe(self, target: Endpoint, digests: Digests, *, stall_timeout: float = 60.0) -> None:
        """Reads a sample of what is recorded back from `target`; one difference, and all of it is forgotten,
        with a warning. `digests` is a fresh one for this. What was done of a snapshot before this one is
        looked at as long as nothing of this one was written: since then another block may stand in its place,
        unrecorded."""
        blocks = sorted(self._sample(digests, self.done if self._begun else self.earlier))
        if not blocks:
            return
        try:
            compare(target, digests, stop=self._ctx.stop, blocks=blocks, stall_timeout=stall_timeout)
        except BlockDifference as difference:
            self._ctx.warn(
                f"{difference}; the ledger of this disk is not trusted, it is copied from the start"
            )
            self.forget()

    def _sample(self, digests: Digests, ranges: Sequence[Flushed]) -> set[int]:
        # By the run's id: a resume that fails does so again for the same blocks, and can be looked into.
        chance = random.Random(self._ctx.run.id)
        total = 0
        for one in ranges:
            if one.digests:
                digests.put(one.offset, one.digests)
            total += -(-one.length // BLOCK)
        wanted = min(max(total // SAMPLE_SHARE, SAMPLE_MIN), SAMPLE_MAX, total)
        numbers = sorted(chance.sample(range(total), wanted))
        found: set[int] = set()
        before = 0
        for one in ranges:
            blocks = -(-one.length // BLOCK)
            while numbers and numbers[0] < before + blocks:
                found.add(one.offset + (numbers.pop(0) - before) * BLOCK)
            before += blocks
        return found

    def what_it_held(self, digests: Digests) -> Earlier | None:
        """What the target has of the snapshot that is gone; `digests` is a fresh one that takes it."""
        return Earlier(digests, self.earlier) if self.earlier else None
