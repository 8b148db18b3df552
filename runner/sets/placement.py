"""Where children run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.job.written_job import WrittenJob
from runner.step.items import Claim

ORDER_SCHEMA_VERSION = 1


class Order(WrittenJob):
    """All that a process needs to run one job, a child of a set or not, wherever it stands."""

    schema_version: int = ORDER_SCHEMA_VERSION
    id: str = ""
    """The same whenever this order is given again. A run that it began and that is done is its answer: what
    came of a process that nobody could ask any more is not made twice."""
    key: str
    """Tells it from all others that a controller places: `Job.key` of a child of a set, the file of another
    job."""
    called: str
    """For people, in a line of a terminal: the item's name."""
    git_commit: str | None = None
    only: str = ""
    """What names this child of its set, and no other, on a command line: ``run SET --only …``."""
    settings: dict[str, str] = {}
    """What ``--set`` gave, for command lines: `job` has it."""
    state: str | None = None
    """``--state``"""
    nodes: int
    fresh: bool = False
    break_lock: bool = False
    host: str = ""
    """`hosts` entry of the node host that reads the disks: where the child runs, if there is a
    choice."""


@dataclass(frozen=True)
class ChildEnded:
    """`exit_code` is that of `sendense run`; `document` what `run --json` says of the run, empty where it
    said nothing: it died."""

    key: str
    exit_code: int
    document: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    """Why it could not be started, or died."""


Told = Callable[[str, dict[str, JsonValue]], None]
"""``told(key, event)``: an event of that child, as events.jsonl has it."""


class PlacementLostError(SendenseError):
    """Nothing can be started any more, nor be heard of what runs: it stops by itself, in order. What is known
    of children is known; another `sendense run` resumes the others."""


class Placement(Protocol):
    """Starts children somewhere and says how they ended. Who may start, the queue decides."""

    def room(self) -> int:
        """How many more may be started now. Raises PlacementLostError."""

    def claims(self, host: str) -> tuple[Claim, ...]:
        """What a child whose node host is `host` (`Order.host`) takes of the places themselves, beside what
        sections say: one that waits for a place on one machine must not keep those of others empty."""

    def start(self, order: Order) -> None:
        """Returns at once. Events go to `Told`, the end to `ended`."""

    def stop(self) -> None:
        """Asks each that runs to stop in order, as SIGTERM does; they end, and are reported."""

    def ended(self, timeout: float) -> list[ChildEnded]:
        """Those that ended since the last call; waits for the first, `timeout` seconds at most. A child whose
        process was lost, or runs on where nobody can reach it, is started again by the placement and is not
        among them: it may still work, so what it claims stays claimed. Raises PlacementLostError."""

    def close(self) -> None:
        """Nothing of it is left afterwards."""
