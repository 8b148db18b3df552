"""Requests in flight on the channels of some endpoints: one event loop on one thread.

One loop keeps pace with nbdcopy's threads (libnbd, BLAKE3 and poll release the GIL, so several disks run
beside each other), and nothing in the copy needs a lock.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from runner.base.errors import Interrupted
from runner.base.units import human_seconds
from steps.copy.digests import zeroes
from steps.copy.endpoint import Channel, Endpoint, RequestFailed, Stalled, describe
from steps.copy.extents import Extent, ranges

_TICK = 0.2
"""Seconds between two looks at the stop flag while nothing happens."""
_LONGEST_TURN = 1.0
"""Seconds that one turn adds to a stall at most: a machine that slept, or a runner that was frozen, did not
wait."""


class _Request(NamedTuple):
    endpoint: Endpoint
    channel: Channel
    verb: str
    offset: int
    length: int

    def __str__(self) -> str:
        return (
            f"the {self.endpoint.name} ({describe(self.verb, self.offset, self.length)}, "
            f"{self.channel.label})"
        )


class Traffic:
    """Each verb starts a request on the least busy channel; `then` is called in `turn` when it succeeded."""

    def __init__(self, stop: threading.Event, stall_timeout: float) -> None:
        self._stop = stop
        self._stall_timeout = stall_timeout
        self._requests: dict[int, _Request] = {}
        self._poller = select.poll()
        self._polled: dict[int, Channel] = {}
        """By descriptor."""
        self._waiting: dict[Channel, int] = {}
        """What each is polled for."""
        self._stirred: set[Channel] = set()
        """Those that may wait for something else than before: they got a request, or were advanced."""
        self._number = self._completed = 0
        self._failed: RequestFailed | None = None
        self._waited = 0.0

    @property
    def busy(self) -> int:
        """Requests in flight."""
        return len(self._requests)

    def read(self, endpoint: Endpoint, offset: int, into: memoryview, then: Callable[[], None]) -> None:
        channel = _least_busy(endpoint)
        channel.read(offset, into, self._start(_Request(endpoint, channel, "read", offset, len(into)), then))

    def read_parts(
        self, endpoint: Endpoint, offset: int, mask: int, into: memoryview, then: Callable[[int], None]
    ) -> None:
        """Of the block at `offset` the parts that `mask` has, at least one, and zeroes for the others;
        ``then(read)`` with the bytes that were read."""
        wanted = ranges(mask, len(into))
        size, at = sum(end - start for start, end in wanted), 0
        for start, end in wanted:
            into[at:start] = zeroes(start - at)
            at = end
        into[at:] = zeroes(len(into) - at)
        done = after(len(wanted), lambda: then(size))
        for start, end in wanted:
            self.read(endpoint, offset + start, into[start:end], done)

    def write(self, endpoint: Endpoint, offset: int, content: memoryview, then: Callable[[], None]) -> None:
        channel = _least_busy(endpoint)
        channel.write(
            offset, content, self._start(_Request(endpoint, channel, "write", offset, len(content)), then)
        )

    def zero(self, endpoint: Endpoint, offset: int, length: int, then: Callable[[], None]) -> None:
        channel = _least_busy(endpoint)
        channel.zero(offset, length, self._start(_Request(endpoint, channel, "zero", offset, length), then))

    def flush(self, endpoint: Endpoint, then: Callable[[], None]) -> None:
        channel = _least_busy(endpoint)
        channel.flush(self._start(_Request(endpoint, channel, "flush", 0, 0), then))

    def extents(
        self, endpoint: Endpoint, offset: int, length: int, then: Callable[[list[Extent] | None], None]
    ) -> None:
        """A query that fails answers None."""
        channel = _least_busy(endpoint)
        found: list[Extent] | None = None
        done = self._start(_Request(endpoint, channel, "extents", offset, length), lambda: then(found))

        def answered(extents: list[Extent], failed: RequestFailed | None) -> None:
            nonlocal found
            found = extents if failed is None else None
            done(None)

        channel.extents(offset, length, answered)

    def _start(self, request: _Request, then: Callable[[], None]) -> Callable[[RequestFailed | None], None]:
        self._number += 1
        number = self._number
        self._requests[number] = request
        self._stirred.add(request.channel)

        def done(failed: RequestFailed | None) -> None:
            del self._requests[number]
            self._completed += 1
            self._waited = 0.0
            if failed is not None:
                self._failed = self._failed or failed
            elif self._failed is None:
                then()

        return done

    def turn(self) -> None:
        """Waits until a request completed, at most a tick; not at all if nothing is in flight. Raises what
        failed first (RequestFailed), Stalled, Interrupted."""
        if self._stop.is_set():
            raise Interrupted()
        if not self._requests:
            return
        begun, completed = time.monotonic(), self._completed
        took = 0.0
        # A request takes several wake-ups, since it does not fit into a socket; what to do next is no
        # question until one completed.
        while self._completed == completed and took < _TICK:
            self._advance(_TICK - took)
            took = time.monotonic() - begun
        if self._failed is not None:
            raise self._failed
        self._waited += min(took, _LONGEST_TURN)
        if self._waited >= self._stall_timeout:
            raise Stalled(self._why_stalled())

    def _advance(self, seconds: float) -> None:
        """Moves what can be moved; waits until something can, at most so long."""
        at_once = self._arm()
        ready = self._poller.poll(0 if at_once else seconds * 1000)
        for channel in at_once:
            channel.advance(0)
        for descriptor, mask in ready:
            channel = self._polled[descriptor]
            self._stirred.add(channel)
            channel.advance(mask)

    def _arm(self) -> list[Channel]:
        """Polls for what the channels wait for now; returns those with requests that need not wait. One whose
        server hung up waits for nothing any more, else it would wake us for ever."""
        at_once: list[Channel] = []
        for channel in self._stirred:
            wanted = channel.wanted()
            if channel.in_flight and not wanted:
                at_once.append(channel)
            if wanted == self._waiting.get(channel, 0):
                continue
            descriptor = channel.fileno()
            if wanted:
                self._poller.register(descriptor, wanted)
                self._polled[descriptor] = channel
            else:
                self._poller.unregister(descriptor)
            self._waiting[channel] = wanted
        self._stirred = set(at_once)
        return at_once

    def _why_stalled(self) -> str:
        oldest: dict[str, _Request] = {}
        for request in self._requests.values():
            oldest.setdefault(request.endpoint.name, request)
        whom = " and for ".join(str(request) for request in oldest.values())
        return f"no byte moved for {human_seconds(self._stall_timeout)}: the copy waits for {whom}"


def after(count: int, then: Callable[[], None]) -> Callable[[], None]:
    """What calls `then` when it is called for the `count`-th time."""
    left = count

    def one() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            then()

    return one


def _least_busy(endpoint: Endpoint) -> Channel:
    """Several channels to what is written need multi_conn: without it one's FLUSH says nothing of another's
    writes."""
    several = endpoint.abilities.multi_conn or endpoint.abilities.read_only
    return min(endpoint.channels, key=lambda one: one.in_flight) if several else endpoint.channels[0]
