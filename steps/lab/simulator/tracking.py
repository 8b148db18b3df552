"""Changed block tracking of one disk: which blocks were written between one changeId and the next.

A changeId is ``UUID/n``, the UUID as sixteen hex bytes with spaces and one dash (as published scripts print
it); n rises with every snapshot. Another UUID means that tracking was lost.
"""

from __future__ import annotations

import os
import re

from runner.base.units import GiB, KiB
from steps.lab.simulator.ranges import Ranges, aligned

_FORM = re.compile(r"((?:[0-9a-f]{2} ){7}[0-9a-f]{2}-(?:[0-9a-f]{2} ){7}[0-9a-f]{2})/([0-9]+)")


def parse_change_id(text: str) -> tuple[str, int] | None:
    match = _FORM.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def block_size(capacity: int) -> int:
    """64 KiB, twice that for each doubling of the disk beyond 128 GiB.

    That blocks grow with the disk is documented (KB 320346); the sizes are this simulator's own.
    """
    size, covered = 64 * KiB, 128 * GiB
    while covered < capacity:
        size, covered = size * 2, covered * 2
    return size


class Tracker:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.block = block_size(capacity)
        self.reset()

    def reset(self) -> None:
        """Forgets everything, as after a hard power loss: a new UUID, so that no old changeId is good any
        more."""
        text = os.urandom(16).hex(" ")
        self.uuid = f"{text[:23]}-{text[24:]}"
        self._epochs = [Ranges()]

    def grow(self, capacity: int) -> None:
        """Goes on over a larger disk; what was added counts as written."""
        before, self.capacity = self.capacity, capacity
        self.note(before, capacity)

    @property
    def change_id(self) -> str:
        """The last one issued."""
        return f"{self.uuid}/{len(self._epochs) - 1}"

    def mark(self) -> str:
        """A new changeId for this moment."""
        self._epochs.append(Ranges())
        return self.change_id

    def note(self, start: int, end: int) -> None:
        self._epochs[-1].add(*aligned(start, end, self.block, self.capacity))

    def changed(self, since: int, until: int | None) -> Ranges | None:
        """What was written between the changeIds n = `since` and `until` (None: now); None for an n not
        issued."""
        last = len(self._epochs) if until is None else until
        if not 0 <= since <= min(last, len(self._epochs) - 1):
            return None
        merged = Ranges()
        for epoch in self._epochs[since:last]:
            merged.update(epoch)
        return merged
