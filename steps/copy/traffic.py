"""Requests in flight on the channels of some endpoints: one event loop on one thread.

One loop keeps pace with nbdcopy's threads (libnbd, BLAKE3 and poll release the GIL, so several disks run
beside each other), and nothing in the copy needs a lock.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.base.errors import Interrupted
from runner.base.units import human_seconds
from steps.copy.endpoint import Channel, Endpoint, RequestFailed, Stalled, describe
from steps.copy.extents import Extent

_TICK = 0.2
"""Seconds between two looks at the stop flag while nothing happens."""
_LONGEST_TURN = 1.0
"""Seconds that one turn adds to a stall at most: a machine that slept, or a runner that was frozen, did not
wait."""


@dataclass(frozen=True, slots=True)
class _Request:
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
        self._channels: set[Channel] = set()
        """Those that ever had one."""
        self._number = 0
        self._failed: RequestFailed | None = None
        self._waited = 0.0

    @property
    def busy(self) -> int:
        """Requests in flight."""
        return len(self._requests)

    def read(self, endpoint: Endpoint, offset: int, into: memoryview, then: Callable[[], None]) -> None:
        channel = _least_busy(endpoint)
        channel.read(offset, into, self._start(_Request(endpoint, channel, "read", offset, len(into)), then))

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
        self._channels.add(request.channel)

        def done(failed: RequestFailed | None) -> None:
            del self._requests[number]
            self._waited = 0.0
            if failed is not None:
                self._failed = self._failed or failed
            elif self._failed is None:
                then()

        return done

    def turn(self) -> None:
        """Waits until something in flight moves, at most a tick; not at all if nothing is in flight. Raises
        what failed first (RequestFailed), Stalled, Interrupted."""
        if self._stop.is_set():
            raise Interrupted()
        if not self._requests:
            return
        begun = time.monotonic()
        self._advance()
        if self._failed is not None:
            raise self._failed
        self._waited += min(time.monotonic() - begun, _LONGEST_TURN)
        if self._waited >= self._stall_timeout:
            raise Stalled(self._why_stalled())

    def _advance(self) -> None:
        poller = select.poll()
        waiting: dict[int, Channel] = {}
        at_once: list[Channel] = []
        for channel in self._channels:
            if channel.in_flight == 0:
                continue
            wanted = channel.wanted()
            if wanted:
                descriptor = channel.fileno()
                poller.register(descriptor, wanted)
                waiting[descriptor] = channel
            else:
                at_once.append(channel)
        ready = poller.poll(0 if at_once else _TICK * 1000)
        for channel in at_once:
            channel.advance(0)
        for descriptor, mask in ready:
            waiting[descriptor].advance(mask)

    def _why_stalled(self) -> str:
        oldest: dict[str, _Request] = {}
        for request in self._requests.values():
            oldest.setdefault(request.endpoint.name, request)
        whom = " and for ".join(str(request) for request in oldest.values())
        return f"no byte moved for {human_seconds(self._stall_timeout)}: the copy waits for {whom}"


def _least_busy(endpoint: Endpoint) -> Channel:
    """Several channels to what is written need multi_conn: without it one's FLUSH says nothing of another's
    writes."""
    several = endpoint.abilities.multi_conn or endpoint.abilities.read_only
    return min(endpoint.channels, key=lambda one: one.in_flight) if several else endpoint.channels[0]
