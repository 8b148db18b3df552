"""What of a VM's disk differs from a restore point, and whether the restore point of its present state has
all of that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.base.errors import DifferenceError, SendenseError
from steps.copy.compare import BlockDifference, Compared, compare
from steps.copy.digests import ENTRY, Digests
from steps.copy.endpoint import Endpoint
from steps.copy.extents import BLOCK
from steps.rollback.logs import Marked

_STRIDE = 1024 * BLOCK
"""Bytes of disk whose entries are held at a time."""


class PresentNotKept(SendenseError):
    """What the VM has now is not what the restore point of its present state has. Nothing was written."""

    fix_first = True

    def __init__(self, key: int, present: str, offset: int) -> None:
        super().__init__(
            f"disk {key} is not what {present} has of it, at offset {offset}: the VM was used since its "
            "present state was kept; run the same command with --fresh, which keeps it again; nothing was "
            "written"
        )


class TrackingLied(DifferenceError):
    """Nothing was written."""

    def __init__(self, key: int, offset: int) -> None:
        super().__init__(
            f"changed block tracking missed a write to disk {key} at offset {offset}: run the same command "
            "without --trust-tracking, which compares every block; nothing was written"
        )


@dataclass(frozen=True)
class Wanted:
    """Digests of the restore point, and of the one of the present state if the disk must be as that has
    it."""

    point: Digests
    present: Digests | None = None
    present_name: str = ""


@dataclass(frozen=True)
class Trusted:
    """What changed block tracking names, and what is compared to check it: runs of blocks, in order, apart
    from each other."""

    changed: Sequence[tuple[int, int]]
    sample: Sequence[tuple[int, int]]


def differing(
    key: int,
    live: Endpoint,
    wanted: Wanted,
    trusted: Trusted | None,
    *,
    stop: threading.Event,
    on_progress: Callable[[Compared], None],
) -> tuple[Marked, int]:
    """The blocks of the disk that differ from the point, and how many were compared: all, or those that
    tracking names. Raises PresentNotKept, TrackingLied, CopyError, Interrupted."""
    found = Marked(wanted.point.capacity)
    sample = Marked(wanted.point.capacity)

    def differs(block: BlockDifference) -> None:
        if block.offset in sample:
            raise TrackingLied(key, block.offset)
        present = wanted.present
        if present is not None and block.found != present.expected(block.offset).hex():
            raise PresentNotKept(key, wanted.present_name, block.offset)
        found.add(block.offset)

    ranges = None
    if trusted is not None:
        for offset, _ in trusted.sample:
            sample.add(offset)
        ranges = sorted((*trusted.changed, *trusted.sample))
    seen = compare(
        live, wanted.point, stop=stop, ranges=ranges, on_progress=on_progress, on_difference=differs
    )
    if wanted.present is not None:
        _refuse_equal(key, wanted.point, wanted.present, wanted.present_name, found, ranges)
    return found, seen.compared


def _refuse_equal(
    key: int,
    point: Digests,
    present: Digests,
    name: str,
    found: Marked,
    ranges: Sequence[tuple[int, int]] | None,
) -> None:
    """The disk has what the point has wherever it does not differ from it: there the restore point of its
    present state must have that too."""
    for first, length in ranges if ranges is not None else ((0, point.capacity),):
        for start in range(first, first + length, _STRIDE):
            blocks = -(-min(_STRIDE, first + length - start) // BLOCK)
            one, other = point.get(start, blocks), present.get(start, blocks)
            for number in range(blocks if one != other else 0):
                entry, offset = slice(number * ENTRY, (number + 1) * ENTRY), start + number * BLOCK
                if one[entry] != other[entry] and offset not in found:
                    raise PresentNotKept(key, name, offset)
