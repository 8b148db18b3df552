"""Which of a VM's restore points changed as if the VM were being encrypted, and whether that still matters.
Pure: it is a fold of what the manifests say, so there is no state that could be forged or lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date

from runner.base.units import human_bytes
from steps.repository.manifest import Manifest, Sampled
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
    """Days since with a point that is as others."""
    of: int
    """Such days that release it."""

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return (
            f"{self.point} {self.why}, as if it were being encrypted: nothing of this VM is deleted until "
            f"`sendense release-brake`, or until its points of {self.of} days in a row are as "
            f"others ({self.quiet} so far)"
        )


def brake(points: Sequence[Manifest], limits: BrakeLimits | None, released: int = 0) -> Brake | None:
    """`points`: of one VM, oldest first; those of before `released`, so many, somebody has looked at.

    An unusual point is not what later ones are compared with, unless it was looked at: else encryption that
    goes on would become usual."""
    if limits is None:
        return None
    usual: deque[_Night] = deque(maxlen=LOOKED_BACK)
    on: tuple[str, str] | None = None
    quiet: set[date] = set()
    for number, night in enumerate(map(_Night.of, points)):
        why = _unusual(usual, night, limits)
        if why is not None and number >= released:
            on, quiet = (night.point, why), set()
            continue
        usual.append(night)
        if night.says_something:
            quiet.add(night.day)
        if len(quiet) >= limits.quiet:
            on = None
    return None if on is None else Brake(*on, len(quiet), limits.quiet)


@dataclass(frozen=True)
class _Night:
    """What one point says of what its VM changed."""

    point: str
    day: date
    """UTC: three points of one day are no three nights."""
    changed: int | None
    """Bytes; None where that is not known of a disk: it was copied whole, or before this was noted."""
    sampled: Mapping[int, Sampled]
    """By disk key."""

    @classmethod
    def of(cls, made: Manifest) -> _Night:
        sampled = {disk.key: disk.sampled for disk in made.disks if disk.sampled is not None}
        known = len(sampled) == len(made.disks) and not any(one.whole for one in sampled.values())
        changed = sum(one.changed for one in sampled.values()) if known else None
        return cls(made.point, made.moment.astimezone(UTC).date(), changed, sampled)

    @property
    def says_something(self) -> bool:
        return self.changed is not None or any(_share([self], key) is not None for key in self.sampled)


def _unusual(usual: Collection[_Night], night: _Night, limits: BrakeLimits) -> str | None:
    """What is unusual about it, in words to come after the point's name; None if nothing is."""
    if (why := _much(usual, night, limits)) is not None:
        return why
    found = (_random(usual, night, key, limits) for key in night.sampled)
    return next((why for why in found if why is not None), None)


def _much(usual: Collection[_Night], night: _Night, limits: BrakeLimits) -> str | None:
    now, known = night.changed, [one.changed for one in usual if one.changed is not None]
    if now is None or len(known) < LEAST_POINTS or now <= limits.least:
        return None
    middle = _median(known)
    if now < limits.times * middle:
        return None
    those = f"what its last {len(known)} points did, {human_bytes(round(middle))}"
    return f"changed {human_bytes(now)}, {f'{now / middle:.0f} times' if middle else 'and not'} {those}"


def _random(usual: Collection[_Night], night: _Night, key: int, limits: BrakeLimits) -> str | None:
    now, before = _share([night], key), _share(usual, key)
    if now is None or before is None or len(usual) < LEAST_POINTS:
        return None
    if now < limits.incompressible or before > STRUCTURED:
        return None
    return f"has {now:.0%} of what changed on disk {key} incompressible, where it was {before:.0%}"


def _median(values: Sequence[int]) -> float:
    # By hand: `statistics` brings decimal and fractions into every validation of a job.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _share(nights: Iterable[_Night], key: int) -> float | None:
    """Of incompressible blocks among those that were looked at; None where they are too few."""
    samples = [night.sampled[key] for night in nights if key in night.sampled]
    blocks = sum(sample.blocks for sample in samples)
    return None if blocks < LEAST_SAMPLES else sum(sample.incompressible for sample in samples) / blocks
