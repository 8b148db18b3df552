"""The look ahead: what a step can tell of a node before it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from runner.base.errors import LockedError
from runner.base.model import JobModel, Model
from runner.events.check_results import Observation
from runner.step.decision import Decision
from runner.step.setting import Setting
from runner.step.space import Space

InT = TypeVar("InT", bound=JobModel)
OutT = TypeVar("OutT", bound=Model)


@dataclass(frozen=True)
class Known(Generic[InT, OutT]):
    """What is known of a node before it runs."""

    told: Mapping[str, Any] = field(default_factory=dict)
    """Of the fields of `In`, by their names in Python: those that the job file alone tells, and the defaults
    of those that it leaves out."""
    inputs: InT | None = None
    """All fields, once what comes before the node is done or foreseen."""
    out: OutT | None = None
    """What the node gave, if it is done. Only `settings` and `space` of a KEEP node are asked for then, and
    `observations` too of a JOB node: it will be undone."""

    def settings(self, **shown: str) -> tuple[Setting, ...]:
        """Fields that speak for themselves, under the names that people know: ``settings(verify="level")``;
        nothing of a field that is not told."""
        return tuple(
            Setting(name=name, text=_words(self.told[field]))
            for name, field in shown.items()
            if field in self.told
        )


def _words(value: object) -> str:
    """As the job file would have it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


@dataclass(frozen=True)
class Preflight(Generic[OutT]):
    """What `Step.preflight` returns. Say what is known; what is not is left out, not guessed."""

    observations: tuple[Observation, ...] = ()
    """What the node depends on but does not make (programs, forwards, privileges). A run looks at that of all
    its nodes before it changes anything, and does not begin if something is wrong."""
    problems: tuple[str, ...] = ()
    """What the node would fail with, in sentences, if it ran now: a plan and a doctor show it. No reason for
    a run not to begin, which may get there later, and meets it itself."""
    locked: LockedError | None = None
    """Another run holds the lock, and may be over soon: a run does not start, and ends with that only."""
    notes: tuple[str, ...] = ()
    """What it will do, in sentences, for the node's line of a plan."""
    size: int | None = None
    """Bytes that it moves or makes."""
    removes: tuple[str, ...] = ()
    """What it deletes, by name."""
    space: Space | None = None
    """What is still to be written because of it, for the sum that is held against what is free. Also of a
    node that is done, as its bytes may be another node's to write."""
    settings: tuple[Setting, ...] = ()
    """What a reviewer must see at the head of a plan; from what the job file alone tells."""
    decisions: tuple[Decision, ...] = ()
    """What it settles, that a saved plan holds."""
    prospect: OutT | None = None
    """What it will give, as far as that can be told, so that the nodes behind it can be looked at too."""
