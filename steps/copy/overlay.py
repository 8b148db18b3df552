"""An image on a parent, as a target: of each block only what changed is written, and the rest is compared
with the parent.

The copy hands over whole blocks, since digests are of whole blocks. What the block's tracking calls unchanged
is read from the image, where the parent shows through, before anything of the block is written: if the source
has other bytes there, a write was forgotten, and neither this image nor its parents can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from steps.copy.changes import Changes
from steps.copy.endpoint import Answered, Channel, CopyError, Done, Endpoint, RequestFailed
from steps.copy.extents import BLOCK


class UntouchedDiffers(CopyError):
    """The source differs from the parent at `offset` (bytes), in a cluster that is called unchanged."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(
            f"the {name} differs from the source at offset {offset}, though tracking calls that unchanged"
        )
        self.offset = offset


class Overlay:
    """`image` with writes that keep to `changes`. Blocks that nothing changed in are never written."""

    def __init__(self, image: Endpoint, changes: Changes) -> None:
        self.name = image.name
        self.abilities = image.abilities
        self._image = image
        self.channels: Sequence[Channel] = [
            _Channel(channel, image.name, changes) for channel in image.channels
        ]

    def close(self) -> None:
        self._image.close()


class _Channel:
    def __init__(self, below: Channel, name: str, changes: Changes) -> None:
        self.label = below.label
        self._below = below
        self._name = name
        self._changes = changes
        self.fileno = below.fileno
        self.wanted = below.wanted
        self.advance = below.advance
        self.read = below.read
        self.flush = below.flush
        self.close = below.close

    @property
    def in_flight(self) -> int:
        return self._below.in_flight

    def extents(self, offset: int, length: int, answered: Answered) -> None:
        self._below.extents(offset, length, answered)

    def write(self, offset: int, content: memoryview, done: Done) -> None:
        def write(start: int, end: int, then: Done) -> None:
            self._below.write(start, content[start - offset : end - offset], then)

        self._change(offset, len(content), content, write, done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        """A run of blocks; those that changed in parts are compared one by one, so that no run is read at
        once."""

        def write(start: int, end: int, then: Done) -> None:
            self._below.zero(start, end - start, then)

        pieces = list(_runs(self._changes, offset, length))
        then = _gathered(len(pieces), done)
        for start, end in pieces:
            self._change(start, end - start, None, write, then)

    def _change(
        self,
        offset: int,
        length: int,
        content: memoryview | None,
        write: Callable[[int, int, Done], None],
        done: Done,
    ) -> None:
        """`content` is None for zeroes."""
        parts = self._changes.split(offset, offset + length)
        changed = [(start, end) for start, end, is_changed in parts if is_changed]

        def write_all() -> None:
            if not changed:
                done(None)
                return
            then = _gathered(len(changed), done)
            for start, end in changed:
                write(start, end, then)

        if len(changed) == len(parts):
            write_all()
            return
        there = memoryview(bytearray(length))

        def have_read(failed: RequestFailed | None) -> None:
            if failed is not None:
                done(failed)
                return
            for start, end, is_changed in parts:
                low, high = start - offset, end - offset
                expected = bytes(high - low) if content is None else content[low:high]
                if not is_changed and there[low:high] != expected:
                    raise UntouchedDiffers(self._name, start)
            write_all()

        self._below.read(offset, there, have_read)


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


def _gathered(count: int, done: Done) -> Done:
    """Calls `done` once, when `count` requests have ended, with the first failure among them."""
    left, first = count, None

    def one(failed: RequestFailed | None) -> None:
        nonlocal left, first
        left -= 1
        first = first or failed
        if left == 0:
            done(first)

    return one
