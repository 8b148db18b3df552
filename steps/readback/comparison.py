"""read_back(): an image compared with its digests, over the wire or by digests that its own host makes.

What the host's tools say is believed as far as it is checked. Before anything they digest random blocks that
were sent there; a share of the blocks that they digest, which they cannot know, is read over the wire too;
and no block is called different before it was read over the wire. Where that shows that they are wrong, or
they fail, all is read over the wire, and so it is by `auto` where the host proves slower than the wire.
They are not told which digests are expected.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from runner.base.entering import enter_both
from runner.base.errors import CommandError
from runner.base.units import human_bytes
from runner.hosts.host import Host
from runner.hosts.supervisor import NoRoomError
from runner.step.context import Context
from runner.step.tools import ToolMissing
from steps.copy.compare import BlockDifference, Compared
from steps.copy.differences import Differences, count, differences
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK
from steps.readback import wire
from steps.readback.image import ImageAtRest
from steps.readback.on_host import (
    BATCH,
    CLIENTS,
    SIDE_BY_SIDE,
    WINDOW,
    HostDigests,
    StalledError,
    ToolsError,
    proven_tools,
)
from steps.readback.wanted import Wanted
from steps.repository.manifest import ReadBy

Readback = Literal["auto", "host", "wire"]

SMALL = 32
"""Blocks of content that are read over the wire in about the time that the host needs to prove its tools."""

_PROBE = 64
"""Blocks that are read over the wire at once, at most, to see how fast it is."""

_MEASURED = SIDE_BY_SIDE * BATCH * WINDOW
"""Blocks that the host has digested when it shows how fast it is."""


@dataclass(frozen=True)
class ReadBack:
    found: Differences
    by: ReadBy
    cached: bool
    """They may have come from the host's page cache."""
    reread: int = 0
    """Blocks that the host digested and that were read over the wire too."""
    tools: str = ""
    """What the host digested them with."""
    why: str = ""
    """What decided that, in words; empty for what was asked for."""


class _SlowerError(Exception):
    """The host digests its blocks slower than the wire carries them."""

    def __init__(self, why: str) -> None:
        self.why = why


@dataclass(frozen=True)
class ImageReader:
    """`most`: differences that are looked for; `tell` is told how far it is."""

    ctx: Context
    host: Host
    image: ImageAtRest
    digests: Digests
    most: int
    tell: Callable[[Compared], None]

    def read_back(self, some: Sequence[tuple[int, int]] | None, how: Readback) -> ReadBack:
        """Of all blocks, or of `some`: runs of them (offset, length), in order. Raises ExporterError,
        ToolMissing, HostError, CopyError, Interrupted; where the host is to do it, StalledError and
        CommandError too."""
        wanted = Wanted(self.digests, some)
        content, reread = wanted.reread(random.SystemRandom())
        if how == "wire" or not content or (how == "auto" and (self.host.local or content < SMALL)):
            return self._over_wire(wanted)
        try:
            return self._on_host(wanted, reread, measures=how == "auto")
        except (ToolsError, StalledError, CommandError) as error:
            if how == "host" and not isinstance(error, ToolsError):
                raise
            why = f"{error.message}; all of it is read over the wire"
            self.ctx.warn(f"disk {self.image.key}: {why}")
        except (ToolMissing, NoRoomError) as error:
            if how == "host":
                raise
            why = error.message
        except _SlowerError as slower:
            why = slower.why
        # All of it, also what the host has digested: a disk is read back in one way, which can be said of it.
        return self._over_wire(wanted, why)

    def _over_wire(self, wanted: Wanted, why: str = "") -> ReadBack:
        with wire.opened(self.ctx, self.host, self.image) as view:

            def progressed(now: Compared) -> None:
                self.tell(now)
                view.progressed(now)

            found = differences(
                view.endpoint,
                self.digests,
                stop=self.ctx.stop,
                most=self.most,
                ranges=wanted.ranges,
                on_progress=progressed,
            )
            return ReadBack(found, "wire", view.cached, why=why)

    def _on_host(self, wanted: Wanted, reread: Sequence[int], *, measures: bool) -> ReadBack:
        with enter_both(
            wire.opened(self.ctx, self.host, self.image, beside=CLIENTS), proven_tools(self.ctx, self.host)
        ) as (view, tools):
            there = HostDigests(tools, self.image, view.exporter)
            check = _Check(self, view, there, wanted, measures=measures)
            found = check.run(reread)
            return ReadBack(found, "host", view.cached, len(reread), there.tools, check.speeds)


class _Check:
    """One image, by digests that its host makes of it. `there` and `view` lead to it."""

    def __init__(
        self, reader: ImageReader, view: wire.View, there: HostDigests, wanted: Wanted, *, measures: bool
    ) -> None:
        self._reader = reader
        self._view = view
        self._there = there
        self._wanted = wanted
        self._measures = measures
        self._total = sum(length for _, length in wanted.ranges)
        self._began = time.monotonic()
        self._at = 0
        """The host has digested what is wanted before it."""
        self._read_there = 0
        self._seen: dict[int, BlockDifference] = {}
        self.speeds = ""
        """What was measured, in words."""

    def run(self, reread: Sequence[int]) -> Differences:
        """Raises ToolsError, _SlowerError, and what reading raises."""
        probe, later = reread[:_PROBE], reread[_PROBE:]
        began = time.monotonic()
        self._read(probe)
        self._digest(sum(map(self._length, probe)) / (time.monotonic() - began))
        self._read([block for block in later if block < self._at])
        found = self._found()
        if len(found) == self._reader.most:
            return Differences(found, self._compared_before(found[-1].offset + 1))
        self._tell(self._total)
        return Differences(found, count(self._wanted.ranges))

    def _digest(self, wire_speed: float) -> None:
        began, met, digested = time.monotonic(), 0, 0
        with closing(self._there.digests(self._wanted.to_read(self._there.zeroes))) as made:
            for offset, digest in made:
                digested += 1
                self._at = offset + BLOCK
                if digest != self._reader.digests.expected(offset):
                    self._confirm(offset)
                # Also one that the host called equal, and that differs over the wire.
                met += offset in self._seen
                if met == self._reader.most:
                    return
                if digested % WINDOW == 0:
                    done = self._at if self._wanted.some is None else digested * BLOCK
                    self._tell(done, digested * BLOCK)
                if digested == _MEASURED and self._measures:
                    self._compare_speeds(wire_speed, digested * BLOCK, time.monotonic() - began)
            self._at = self._reader.digests.capacity

    def _compare_speeds(self, over_wire: float, digested: int, seconds: float) -> None:
        there = digested / seconds
        self.speeds = f"{_speed(there)} there, {_speed(over_wire)} over the wire"
        if there < over_wire:
            raise _SlowerError(f"its host was measured to be slower ({self.speeds})")

    def _confirm(self, offset: int) -> None:
        """What the host calls different. Raises ToolsError if it is not."""
        if offset not in self._seen:
            self._read([offset])
        if offset not in self._seen:
            raise ToolsError(
                self._reader.host,
                f"they gave a wrong digest of the block at offset {offset} of {self._reader.image.path}, "
                "which is right when it is read over the wire",
            )

    def _found(self) -> tuple[BlockDifference, ...]:
        return tuple(sorted(self._seen.values(), key=lambda one: one.offset)[: self._reader.most])

    def _read(self, blocks: Sequence[int]) -> None:
        """Over the wire; what differs is noted."""
        if blocks:
            found = differences(
                self._view.endpoint,
                self._reader.digests,
                stop=self._reader.ctx.stop,
                most=self._reader.most,
                blocks=blocks,
            )
            self._seen.update({one.offset: one for one in found.blocks})

    def _length(self, offset: int) -> int:
        return min(BLOCK, self._reader.digests.capacity - offset)

    def _compared_before(self, offset: int) -> int:
        return count(
            [(start, min(length, offset - start)) for start, length in self._wanted.ranges if start < offset]
        )

    def _tell(self, done: int, read: int | None = None) -> None:
        self._read_there = self._read_there if read is None else read
        seconds = time.monotonic() - self._began
        self._reader.tell(Compared(min(done, self._total), self._total, self._read_there, seconds))


def _speed(rate: float) -> str:
    return f"{human_bytes(int(rate))}/s"
