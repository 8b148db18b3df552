"""An image on a parent, as a target: of each block only what changed is written.

The copy hands over what it knows of a block, since digests are of whole blocks. That the rest of a block is
what the image has is seen as it is read (`patch.py`), and here for the blocks that are holes of the source,
which nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from steps.copy.changes import Changes
from steps.copy.endpoint import (
    Channel,
    CopyError,
    Done,
    Endpoint,
    Filter,
    RangesChannel,
    RequestFailed,
    each_range,
)
from steps.copy.extents import BLOCK


class UntouchedDiffers(CopyError):
    """The source differs from the parent at `offset` (bytes), in a cluster that is called unchanged."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(
            f"the {name} differs from the source at offset {offset}, though tracking calls that unchanged"
        )
        self.offset = offset


class Overlay(Filter):
    """`image` with writes that keep to `changes`. Blocks that nothing changed in are never written."""

    def __init__(self, image: Endpoint, changes: Changes) -> None:
        super().__init__(image)
        self._changes = changes

    def _through(self, channel: Channel) -> Channel:
        return _Channel(channel, self.name, self._changes)


class _Channel(RangesChannel):
    def __init__(self, below: Channel, name: str, changes: Changes) -> None:
        super().__init__(below)
        self._name = name
        self._changes = changes

    def _within(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        return self._changes.within(start, end)

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Of a run of blocks that nobody read those that changed in part are compared, one by one, so that no
        run is read at once. Parts of a block are zeroed only once it was read."""
        if offset % BLOCK or (length % BLOCK and offset + length != self._changes.capacity):
            each_range(self._changes.within(offset, offset + length), self._zero_part, done)
        else:
            _in_turn(_runs(self._changes, offset, length), self._zero_run, done)

    def _zero_run(self, start: int, end: int, done: Done) -> None:
        parts = self._changes.split(start, end)

        def zero_changed() -> None:
            each_range([(low, high) for low, high, is_changed in parts if is_changed], self._zero_part, done)

        if all(is_changed for _, _, is_changed in parts):
            zero_changed()
            return
        there = bytearray(end - start)

        def have_read(failed: RequestFailed | None) -> None:
            if failed is not None:
                done(failed)
                return
            for low, high, is_changed in parts:
                if not is_changed and there[low - start : high - start] != bytes(high - low):
                    raise UntouchedDiffers(self._name, low)
            zero_changed()

        self._below.read(start, memoryview(there), have_read)


def _in_turn(
    ranges: Iterator[tuple[int, int]], request: Callable[[int, int, Done], None], done: Done
) -> None:
    """As `_each`, but each request once the one before it has ended, and none after one that failed. None of
    them may end at once."""

    def ended(failed: RequestFailed | None) -> None:
        wanted = None if failed is not None else next(ranges, None)
        if wanted is None:
            done(failed)
        else:
            request(*wanted, ended)

    ended(None)


def _runs(changes: Changes, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """[offset, offset + length) in (start, end): what changed as a whole in one, every other block by
    itself."""
    whole: tuple[int, int] | None = None
    for start in range(offset, offset + length, BLOCK):
        end = min(start + BLOCK, offset + length)
        if all(is_changed for _, _, is_changed in changes.split(start, end)):
            whole = (whole[0] if whole else start, end)
            continue
        if whole:
            yield whole
        whole = None
        yield start, end
    if whole:
        yield whole
