"""Endpoints in memory: the peer of `nbd`, for what needs no server. Sparse, so a disk of 64 TiB costs what
was written to it."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator

from runner.base.units import KiB
from steps.copy.endpoint import MAX_REQUEST, Abilities, Answered, Done, RequestFailed
from steps.copy.extents import Extent, merge

_PAGE = 64 * KiB
"""The granularity of extents, as a qcow2 file's clusters by default."""


class MemoryDisk:
    """Bytes that any number of endpoints may share; what was never written reads as zeroes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pages: dict[int, bytearray] = {}

    def read(self, offset: int, into: memoryview) -> None:
        for page, start, at, length in _parts(offset, len(into)):
            content = self._pages.get(page)
            into[at : at + length] = content[start : start + length] if content else bytes(length)

    def write(self, offset: int, content: memoryview | bytes) -> None:
        for page, start, at, length in _parts(offset, len(content)):
            self._pages.setdefault(page, bytearray(_PAGE))[start : start + length] = content[at : at + length]

    def zero(self, offset: int, length: int) -> None:
        for page in self._written(offset, length):
            start = max(offset - page * _PAGE, 0)
            stop = min(offset + length - page * _PAGE, _PAGE)
            if stop - start == _PAGE:
                del self._pages[page]
            else:
                self._pages[page][start:stop] = bytes(stop - start)

    def extents(self, offset: int, length: int) -> list[Extent]:
        end = offset + length
        found: list[Extent] = []
        at = offset
        for page in self._written(offset, length):
            start, stop = max(offset, page * _PAGE), min(end, (page + 1) * _PAGE)
            found += [Extent(at, start - at, True), Extent(start, stop - start, False)]
            at = stop
        return merge([*found, Extent(at, end - at, True)])

    def _written(self, offset: int, length: int) -> list[int]:
        first, last = offset // _PAGE, (offset + length - 1) // _PAGE
        if last - first < len(self._pages):
            return [page for page in range(first, last + 1) if page in self._pages]
        return sorted(page for page in self._pages if first <= page <= last)


def _parts(offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """The pages of a range: page, start in the page, start in the range, length."""
    at = 0
    while at < length:
        page, start = divmod(offset + at, _PAGE)
        part = min(_PAGE - start, length - at)
        yield page, start, at, part
        at += part


class MemoryEndpoint:
    def __init__(
        self,
        disk: MemoryDisk,
        name: str,
        *,
        connections: int = 1,
        multi_conn: bool = True,
        read_only: bool = False,
    ) -> None:
        self.name = name
        self.abilities = Abilities(
            size=disk.size,
            read_only=read_only,
            multi_conn=multi_conn,
            can_flush=True,
            can_zero=True,
            can_extents=True,
            max_request=MAX_REQUEST,
        )
        self.channels = [
            MemoryChannel(disk, self, f"connection {number} of {connections}")
            for number in range(1, connections + 1)
        ]

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


class MemoryChannel:
    """Requests take effect, and complete, in order, at the next `advance`."""

    def __init__(self, disk: MemoryDisk, endpoint: MemoryEndpoint, label: str) -> None:
        self.label = label
        self._disk = disk
        self._endpoint = endpoint
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    def fileno(self) -> int:
        return -1

    def wanted(self) -> int:
        return 0

    def advance(self, ready: int) -> None:
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        self._queue("read", offset, len(into), lambda: self._disk.read(offset, into), done)

    def write(self, offset: int, content: memoryview, done: Done) -> None:
        self._queue("write", offset, len(content), lambda: self._disk.write(offset, content), done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        self._queue("zero", offset, length, lambda: self._disk.zero(offset, length), done)

    def flush(self, done: Done) -> None:
        self._queue("flush", 0, 0, lambda: None, done)

    def extents(self, offset: int, length: int, answered: Answered) -> None:
        self._check("extents", offset, length)
        self._waiting.append(lambda: answered(self._disk.extents(offset, length), None))

    def _queue(self, verb: str, offset: int, length: int, act: Callable[[], None], done: Done) -> None:
        self._check(verb, offset, length)

        def run() -> None:
            act()
            done(None)

        self._waiting.append(run)

    def _check(self, verb: str, offset: int, length: int) -> None:
        if verb in ("write", "zero") and self._endpoint.abilities.read_only:
            raise RequestFailed(self._endpoint.name, verb, offset, length, errno.EPERM)
        if offset + length > self._disk.size:
            raise RequestFailed(self._endpoint.name, verb, offset, length, errno.EINVAL)

    def close(self) -> None:
        self._waiting.clear()
