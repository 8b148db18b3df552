"""What can be copied from and to: a table of verbs. The engine never asks what is behind it.

An `Endpoint` is a disk of some size behind one or more `Channel`s (connections). A channel's verbs start a
request and return; its completions are called from `advance()`, never from the verb itself, so that no
completion runs inside another. `tests/contract/test_endpoint.py` is the one conformance suite that every
implementation passes.

    CopyError                      1   the copy or comparison failed
    ├── ConnectFailed   transient  1   no handshake in time
    ├── RequestFailed              1   a side refused a request: verb, offset, errno; transient unless it
    would stay so
    ├── LibnbdMissing              1   its Python binding is not installed for this Python
    ├── Stalled         transient  1   no request completed for too long; names who waits on whom
    └── WrongEndpoint              1   sizes differ, a target is read-only or cannot flush: nothing was
    written
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.base.errors import SendenseError
from runner.base.units import MiB, human_bytes
from steps.copy.extents import Extent

MAX_REQUEST = 32 * MiB
"""What every server takes that names no limit: qemu-nbd closes the connection at more
(NBD_MAX_BUFFER_SIZE)."""


class CopyError(SendenseError):
    pass


class ConnectFailed(CopyError):
    transient = True

    def __init__(self, name: str, uri: str, why: str) -> None:
        super().__init__(f"no NBD handshake with {name} at {uri}: {why}")
        self.name = name
        self.uri = uri


class WrongEndpoint(CopyError):
    pass


_LASTING = frozenset(
    {
        errno.EIO,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EPERM,
        errno.EACCES,
        errno.EINVAL,
        errno.ENOTSUP,
    }
)
"""Errors that a second try meets again. EIO is a side's own answer, where a connection that broke is
ENOTCONN; who runs the server may know that it only stands for a network's failure behind it."""

_REMEDY = {
    errno.EIO: "the storage below it cannot do that at this offset",
    errno.ENOSPC: "make room there and run the same command again",
    errno.EDQUOT: "raise the quota there and run the same command again",
    errno.ENOTCONN: "the connection broke",
    errno.ESHUTDOWN: "the server is shutting down",
}


class RequestFailed(CopyError):
    """`verb` is read, write, zero, flush or extents; `number` the errno that the side answered."""

    def __init__(self, name: str, verb: str, offset: int, length: int, number: int) -> None:
        self.name = name
        self.verb = verb
        self.offset = offset
        self.length = length
        self.number = number
        self.transient = number not in _LASTING
        said = os.strerror(number)
        if number in _REMEDY:
            said = f"{said}; {_REMEDY[number]}"
        super().__init__(f"{name} failed: {describe(verb, offset, length)}: {said}")


class Stalled(CopyError):
    transient = True


def describe(verb: str, offset: int, length: int) -> str:
    """``read of 1.0 MiB at offset 5242880``"""
    return "flush" if verb == "flush" else f"{verb} of {human_bytes(length)} at offset {offset}"


Done = Callable[[RequestFailed | None], None]
Answered = Callable[[list[Extent], RequestFailed | None], None]


class Channel(Protocol):
    """One connection. Requests may complete in any order; offsets and lengths are bytes inside the endpoint.

    A buffer belongs to the channel until its request completed. Verbs raise RequestFailed if a request cannot
    even start.
    """

    label: str
    """For messages: ``connection 2 of 4``."""

    @property
    def in_flight(self) -> int:
        """Requests whose completion was not called yet."""

    def fileno(self) -> int:
        """What to poll for; -1 where `advance` makes progress at once."""

    def wanted(self) -> int:
        """select.POLLIN and/or POLLOUT: what to poll for; 0 where `advance` makes progress at once."""

    def advance(self, ready: int) -> None:
        """Moves bytes (`ready` is what poll said, 0 for nothing), then calls the completions that are due."""

    def read(self, offset: int, into: memoryview, done: Done) -> None: ...

    def write(self, offset: int, content: memoryview, done: Done) -> None: ...

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Makes the range read as zeroes, also where a backing file has other bytes."""

    def flush(self, done: Done) -> None:
        """Makes durable what completed before this call: on this channel, and on all if the endpoint is
        `multi_conn` (NBD protocol, NBD_FLAG_CAN_MULTI_CONN)."""

    def extents(self, offset: int, length: int, answered: Answered) -> None:
        """Answers extents that cover exactly the range, merged; one of unknown content if the endpoint has
        none."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Abilities:
    """`max_request`: bytes of one request to the server, which longer ones are split into."""

    size: int
    read_only: bool
    multi_conn: bool
    can_flush: bool
    can_zero: bool
    can_extents: bool
    max_request: int


class Endpoint(Protocol):
    name: str
    """For messages: ``source of disk 2000``."""
    abilities: Abilities

    @property
    def channels(self) -> Sequence[Channel]: ...

    def close(self) -> None: ...


class Filter:
    """A filter, as nbdkit calls it: `under`, through channels that do some of its verbs in another way."""

    def __init__(self, under: Endpoint) -> None:
        self.name = under.name
        self.abilities = under.abilities
        self._under = under
        self._channels: list[Channel] = []

    @property
    def channels(self) -> Sequence[Channel]:
        """As many as it has by now."""
        for channel in self._under.channels[len(self._channels) :]:
            self._channels.append(self._through(channel))
        return self._channels

    def _through(self, channel: Channel) -> Channel:
        raise NotImplementedError

    def close(self) -> None:
        self._under.close()


class FilterChannel:
    def __init__(self, below: Channel) -> None:
        self.label = below.label
        self._below = below
        self.fileno = below.fileno
        self.wanted = below.wanted
        self.advance = below.advance
        self.read = below.read
        self.flush = below.flush
        self.close = below.close

    @property
    def in_flight(self) -> int:
        return self._below.in_flight

    def write(self, offset: int, content: memoryview, done: Done) -> None:
        self._below.write(offset, content, done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        self._below.zero(offset, length, done)

    def extents(self, offset: int, length: int, answered: Answered) -> None:
        self._below.extents(offset, length, answered)


class RangesChannel(FilterChannel):
    """Of what is written or zeroed only some ranges reach the channel below."""

    def _within(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        """Those between `start` and `end`."""
        raise NotImplementedError

    def write(self, offset: int, content: memoryview, done: Done) -> None:
        def write(start: int, end: int, then: Done) -> None:
            self._below.write(start, content[start - offset : end - offset], then)

        each_range(self._within(offset, offset + len(content)), write, done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        each_range(self._within(offset, offset + length), self._zero_part, done)

    def _zero_part(self, start: int, end: int, done: Done) -> None:
        self._below.zero(start, end - start, done)


def each_range(
    ranges: Sequence[tuple[int, int]], request: Callable[[int, int, Done], None], done: Done
) -> None:
    """A request for each range (start, end); `done` once they have ended, with the first failure among
    them."""
    left, first = len(ranges), None

    def one(failed: RequestFailed | None) -> None:
        nonlocal left, first
        left -= 1
        first = first or failed
        if left == 0:
            done(first)

    if not ranges:
        done(None)
    for start, end in ranges:
        request(start, end, one)
