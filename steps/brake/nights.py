"""Which of a VM's restore points changed as if the VM were being encrypted, and whether that still matters.
Pure: it is a fold of what the manifests say, so there is no state that could be forged or lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.base.units import human_bytes
from steps.repository.manifest import Manifest
from steps.repository.section import BrakeLimits

LOOKED_BACK = 10
"""Points before one, at most, that it is compared with: two weeks of working days."""

LEAST_POINTS = 3
"""With fewer before it, what is usual is not known."""

LEAST_SAMPLES = 32
"""Blocks of a disk, in a point and in those before it together, without which their share says nothing."""

STRUCTURED = 0.5
"""The share of incompressible blocks up to which a disk counts as structured: those of databases and systems
have less than a fifth, those of media and archives nearly all."""


@dataclass(frozen=True)
class Brake:
    """It is on."""

    point: str
    """The newest point that is why."""
    why: str
    """In words, to come after the point's name."""
    quiet: int
    """Points since that are as others."""
    of: int
    """Such points that release it."""

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return (
            f"{self.point} {self.why}, as if it were being encrypted: nothing of this VM is deleted until "
            f"`sendense release-brake`, or until {self.of} points in a row are as others "
            f"({self.quiet} so far)"
        )


def brake(points: Sequence[Manifest], limits: BrakeLimits | None, released: int = 0) -> Brake | None:
    """`points`: of one VM, oldest first; those of before `released`, so many, somebody has looked at."""
    if limits is None:
        return None
    oldest = max(released, len(points) - limits.quiet)
    for number in range(len(points) - 1, oldest - 1, -1):
        if (why := unusual(points[:number], points[number], limits)) is not None:
            return Brake(points[number].point, why, len(points) - 1 - number, limits.quiet)
    return None


def unusual(before: Sequence[Manifest], made: Manifest, limits: BrakeLimits) -> str | None:
    """What is unusual about a point, in words to come after its name; None if nothing is. `before`: the
    points before it, oldest first."""
    if (why := _much(before, made, limits)) is not None:
        return why
    for disk in made.disks:
        if (why := _random(before, made, disk.key, limits)) is not None:
            return why
    return None


def _much(before: Sequence[Manifest], made: Manifest, limits: BrakeLimits) -> str | None:
    now = _changed(made)
    usual = [changed for one in _newest(before) if (changed := _changed(one)) is not None]
    if now is None or len(usual) < LEAST_POINTS or now <= limits.least:
        return None
    middle = _median(usual)
    if now < limits.times * middle:
        return None
    those = f"what its last {len(usual)} points did, {human_bytes(round(middle))}"
    return f"changed {human_bytes(now)}, {f'{now / middle:.0f} times' if middle else 'and not'} {those}"


def _random(before: Sequence[Manifest], made: Manifest, key: int, limits: BrakeLimits) -> str | None:
    now = _share([made], key)
    earlier = list(_newest(before))
    usual = _share(earlier, key)
    if now is None or usual is None or len(earlier) < LEAST_POINTS:
        return None
    if now < limits.incompressible or usual > STRUCTURED:
        return None
    return f"has {now:.0%} of what changed on disk {key} incompressible, where it was {usual:.0%}"


def _newest(points: Sequence[Manifest]) -> Iterator[Manifest]:
    """Those that others are compared with."""
    yield from points[-LOOKED_BACK:]


def _changed(made: Manifest) -> int | None:
    """Bytes; None where that is not known of a disk: it was copied whole, or before this was noted."""
    total = 0
    for disk in made.disks:
        if disk.sampled is None or disk.sampled.whole:
            return None
        total += disk.sampled.changed
    return total


def _median(values: Sequence[int]) -> float:
    # By hand: `statistics` brings decimal and fractions into every validation of a job.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _share(points: Sequence[Manifest], key: int) -> float | None:
    """Of incompressible blocks among those that were looked at; None where they are too few."""
    samples = [
        disk.sampled for made in points if (disk := made.disk(key)) is not None and disk.sampled is not None
    ]
    blocks = sum(sample.blocks for sample in samples)
    return None if blocks < LEAST_SAMPLES else sum(sample.incompressible for sample in samples) / blocks
