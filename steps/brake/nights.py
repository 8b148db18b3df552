"""Which of a VM's restore points changed as if the VM were being encrypted, and whether that still matters.
Pure: it is a fold of what the manifests say, so there is no state that could be forged or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from steps.brake.usual import Night, Usual
from steps.repository.manifest import Manifest, SetNight
from steps.repository.section import BrakeLimits


@dataclass(frozen=True)
class Brake:
    """It is on."""

    point: str
    """The newest point that is why."""
    since: str
    """The point that it came on with, and was not released since."""
    why: str
    """In words, to come after the point's name."""
    of_set: SetNight | None
    """The VM's set is why, and not what the VM itself changed."""
    quiet: int
    """Days since with a point that is as others."""
    of: int
    """Such days that release it."""

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return (
            f"{self.point} {self.why}, as if {'they' if self.of_set else 'it'} were being encrypted: nothing "
            f"of this VM is deleted until `sendense release-brake`, or until its points of {self.of} days in "
            f"a row are as others ({self.quiet} so far)"
        )

    @property
    def notice(self) -> str:
        """For who is told once: nothing in it changes while it is on for the same reason, and what is of a
        set is the same for all its VMs. Without a full stop."""
        what = f"{self.point} {self.why}" if self.of_set is None else self.of_set.what
        return f"{what}: nothing is deleted until somebody has looked at it"


@dataclass(frozen=True)
class Judged:
    brake: Brake | None
    """None: it is off."""
    unusual: bool | None
    """Whether for the newest point so much changed that it counts where most of a set does; None: that is not
    known."""


def brake(points: Sequence[Manifest], limits: BrakeLimits | None, released: int = 0) -> Brake | None:
    """See `judge`."""
    return judge(points, limits, released).brake


def judge(points: Sequence[Manifest], limits: BrakeLimits | None, released: int = 0) -> Judged:
    """`points`: of one VM, oldest first; those of before `released`, so many, somebody has looked at.

    An unusual point is not what later ones are compared with, unless it was looked at: else encryption that
    goes on would become usual."""
    if limits is None:
        return Judged(None, None)
    usual, on, unusual = Usual(limits), _On(limits.quiet), None
    for number, made in enumerate(points):
        night, looked_at = Night.of(made), number < released
        found = usual.look(night)
        unusual = found.much_of_set
        why = found.why or usual.why_of_set(night)
        if why is not None and not looked_at:
            on.comes(night, why, night.of_set if found.why is None else None)
        # Of a set's night, what is as always is still what the next is compared with.
        if looked_at or not (found.why or (why and unusual)):
            usual.add(night, found, looked_at=looked_at)
        if why is None or looked_at:
            on.goes_by(night)
    return Judged(on.now, unusual)


class _On:
    def __init__(self, of: int) -> None:
        self._of = of
        self._why: tuple[str, str, str, SetNight | None] | None = None
        self._days: set[date] = set()

    @property
    def now(self) -> Brake | None:
        if self._why is None:
            return None
        point, since, why, of_set = self._why
        return Brake(point, since, why, of_set, len(self._days), self._of)

    def comes(self, night: Night, why: str, of_set: SetNight | None) -> None:
        since = night.point if self._why is None else self._why[1]
        self._why, self._days = (night.point, since, why, of_set), set()

    def goes_by(self, night: Night) -> None:
        if night.says_something:
            self._days.add(night.day)
        if len(self._days) >= self._of:
            self._why = None
