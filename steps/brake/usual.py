"""What is usual for a VM, by the last points of it, and what of a point is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date

from runner.base.units import human_bytes
from steps.repository.manifest import Manifest, Sampled, SetNight
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

ALIKE = 2
"""A night that changes up to so many times what one did that somebody has looked at is like that one: nights
of one VM differ by that much, and an attacker gains no more by a release."""


@dataclass(frozen=True)
class Night:
    """What one point says of what its VM changed."""

    point: str
    day: date
    """UTC: three points of one day are no three nights."""
    changed: int | None
    """Bytes; None where that is not known of a disk: it was copied whole, or before this was noted."""
    sampled: Mapping[int, Sampled]
    """By disk key."""
    of_set: SetNight | None

    @classmethod
    def of(cls, made: Manifest) -> Night:
        sampled = {disk.key: disk.sampled for disk in made.disks if disk.sampled is not None}
        known = len(sampled) == len(made.disks) and not any(one.whole for one in sampled.values())
        changed = sum(one.changed for one in sampled.values()) if known else None
        return cls(made.point, made.moment.astimezone(UTC).date(), changed, sampled, made.of_set)

    @property
    def says_something(self) -> bool:
        return self.changed is not None or any(_share([self], key) is not None for key in self.sampled)


@dataclass(frozen=True)
class Found:
    """What of a night is unusual."""

    why: str | None
    """In words, to come after the point's name; None if nothing is."""
    much_of_set: bool | None
    """Whether it changed so much that it counts where most of a set does; None: that is not known."""
    much: int
    """Bytes that it changed, where that is unusual by what others did; 0 where it is not."""
    like: int
    """Bytes that a night like it changed that somebody has looked at; 0 where there is none."""
    random: frozenset[int]
    """Keys of disks that are incompressible and were not, by what others had."""


@dataclass(frozen=True)
class _Known:
    night: Night
    level: int = 0
    """Bytes that somebody lets it change; 0 where nobody was asked."""
    random: frozenset[int] = frozenset()
    """Keys of disks that somebody lets be incompressible."""


class Usual:
    """What was looked at is usual from then on, until the last points have none that is like it: by then
    either half of them have it, and it is usual by itself, or it was that once."""

    def __init__(self, limits: BrakeLimits) -> None:
        self._limits = limits
        self._known: deque[_Known] = deque(maxlen=LOOKED_BACK)

    def look(self, night: Night) -> Found:
        limits, changed = self._limits, night.changed
        why = self._much(night, min(limits.least, limits.set_least))
        much = 0 if why is None or changed is None else changed
        like = max((one.level for one in self._known if 0 < much <= ALIKE * one.level), default=0)
        new_much = 0 if like else much
        random, let = dict(self._random(night)), {key for one in self._known for key in one.random}
        new_random = next((words for key, words in random.items() if key not in let), None)
        comparable = changed is not None and len(self._changed) >= LEAST_POINTS
        return Found(
            why=why if new_much > limits.least else new_random,
            much_of_set=new_much > limits.set_least if comparable else None,
            much=much,
            like=like,
            random=frozenset(random),
        )

    def why_of_set(self, night: Night) -> str | None:
        """As `Found.why`, of what the night's set did."""
        return None if night.of_set is None or self._limits.set_share >= 1 else night.of_set.why

    def add(self, night: Night, found: Found, *, looked_at: bool) -> None:
        """What later ones are compared with. `looked_at`: by somebody, who lets be what was found; any other
        has no `why`."""
        level = max(found.like, found.much if looked_at else 0)
        self._known.append(_Known(night, level, found.random))

    @property
    def _changed(self) -> Sequence[int]:
        return [one.night.changed for one in self._known if one.night.changed is not None]

    def _much(self, night: Night, least: int) -> str | None:
        now, known = night.changed, self._changed
        if now is None or len(known) < LEAST_POINTS or now <= least:
            return None
        middle = _median(known)
        if now < self._limits.times * middle:
            return None
        those = f"what its last {len(known)} points did, {human_bytes(round(middle))}"
        return f"changed {human_bytes(now)}, {f'{now / middle:.0f} times' if middle else 'and not'} {those}"

    def _random(self, night: Night) -> Iterable[tuple[int, str]]:
        """Keys of disks that are incompressible and were not, and why, in words."""
        before = [one.night for one in self._known]
        for key in night.sampled:
            now, then = _share([night], key), _share(before, key)
            if now is None or then is None or len(before) < LEAST_POINTS:
                continue
            if now >= self._limits.incompressible and then <= STRUCTURED:
                was = f"where it was {then:.0%}"
                yield key, f"has {now:.0%} of what changed on disk {key} incompressible, {was}"


def _median(values: Sequence[int]) -> float:
    # By hand: `statistics` brings decimal and fractions into every validation of a job.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _share(nights: Iterable[Night], key: int) -> float | None:
    """Of incompressible blocks among those that were looked at; None where they are too few."""
    samples = [night.sampled[key] for night in nights if key in night.sampled]
    blocks = sum(sample.blocks for sample in samples)
    return None if blocks < LEAST_SAMPLES else sum(sample.incompressible for sample in samples) / blocks
