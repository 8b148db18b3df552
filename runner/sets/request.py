"""What asks to be admitted: a child job, with all that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from runner.step.items import Claim


@dataclass(frozen=True, slots=True)
class Request:
    """One child that waits for its turn."""

    id: str
    """``<set>@<item>``: `Job.key` of the child."""
    name: str
    """For people: the item's."""
    claims: tuple[Claim, ...]
    """All that it needs at once; it is admitted with all of it or not at all."""
    age: float
    """Seconds since its newest good point, infinite where there is none: the oldest goes first."""
    priority: int = 0
    """A lower one goes first, whatever the ages."""
    writes: int | None = None
    """Bytes that it is expected to write into its repository at most; None where nobody can say."""
    job: str = ""
    """Whose: the set's name, or the file of a job that is none. What a cause concerns that nobody names is
    all of it."""
    needs: frozenset[str] = frozenset()
    """Causes that it would meet and others may not, as `SendenseError.shared` names them: ``host store``."""
