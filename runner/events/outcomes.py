"""How runs, jobs and nodes end: the one table behind events, records, `status`, `run --json`, the terminal,
and all reports.

Whatever tells of an end looks up here what it is called, which symbol and colour it has, what CI is told in
JUnit, and which exit codes go with it. Only what ends with exit code 0 is green anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

RunOutcome = Literal["done", "alarm", "failed", "unwind-failed", "interrupted", "unfinished"]
"""`alarm`: the work is done, and something was found that somebody must look at (changed block tracking lied,
a chain went bad); `unfinished`: the events end without an end of the run: it is running, or was killed."""
JobOutcome = RunOutcome | Literal["locked", "bad-job-file", "not-begun", "not-reached"]
"""Also of a job that made no run. `not-reached`: of several jobs, one that was not started since all were
stopped."""
NodeState = Literal["waiting", "running", "done", "alarm", "kept", "unneeded", "failed", "stopped", "skipped"]
"""`alarm`: done, and it found what the run's alarm is about; `unneeded`: the run is done without it (a tunnel
to a disk that was copied before); `stopped`: by a signal."""
Tone = Literal["done", "kept", "failed", "skipped", "waiting"]
"""Of a report's colours: the name of its CSS class."""

COLOURS: Mapping[Tone, str] = {
    "done": "green",
    "kept": "blue",
    "failed": "red",
    "skipped": "yellow",
    "waiting": "dim",
}
"""What a terminal has for them."""


@dataclass(frozen=True)
class Ending:
    word: str
    mark: str
    tone: Tone
    junit: Literal["failure", "error", "skipped"] | None
    """The element that says it in JUnit; None: the test case passed."""
    exit_codes: tuple[int, ...] = ()
    """Those that a run or job may have that ended so; none: it has none yet."""

    @property
    def colour(self) -> str:
        return COLOURS[self.tone]


ENDINGS: Mapping[JobOutcome, Ending] = {
    "done": Ending("done", "✓", "done", None, (0,)),
    "alarm": Ending("alarm", "!", "failed", "failure", (1, 5)),
    "failed": Ending("failed", "✗", "failed", "failure", (1, 2, 3, 5)),
    "unwind-failed": Ending("cleanup failed", "✗", "skipped", "error", (1, 2, 3, 5)),
    "interrupted": Ending("interrupted", "■", "skipped", "error", (130,)),
    "unfinished": Ending("unfinished", "…", "skipped", "error"),
    "locked": Ending("locked", "✗", "failed", "failure", (3,)),
    "bad-job-file": Ending("bad job file", "✗", "failed", "failure", (2,)),
    "not-begun": Ending("not started", "✗", "failed", "failure", (1, 2, 3, 5, 130)),
    "not-reached": Ending("not started", "–", "skipped", "skipped"),
}

DONE_WITH_WARNING = Ending("done", "!", "skipped", None, (0,))
"""Of a run that is done, where one of its results is a warning."""

NODES: Mapping[NodeState, Ending] = {
    "done": Ending("done", "✓", "done", None),
    "alarm": Ending("alarm", "!", "failed", "failure"),
    "kept": Ending("reused", "=", "kept", None),
    "unneeded": Ending("not needed", "○", "waiting", "skipped"),
    "failed": Ending("failed", "✗", "failed", "failure"),
    "stopped": Ending("stopped", "■", "skipped", "skipped"),
    "skipped": Ending("skipped", "–", "skipped", "skipped"),
    "running": Ending("running", "…", "waiting", "skipped"),
    "waiting": Ending("waiting", "·", "waiting", "skipped"),
}

MIXED = 4
"""Of several jobs, some were done and some not."""

WORST_FIRST = (130, 5, MIXED, 3, 1, 2)


def worst(codes: Iterable[int]) -> int:
    """Of a run, whose `codes` are those of what went wrong."""
    known = set(codes)
    return next((code for code in WORST_FIRST if code in known), 1)


def of_several(codes: Iterable[int]) -> int:
    """Of several jobs with these exit codes. One code is the code; where some jobs are done, that is mixed,
    and only a difference that was found, or being stopped, says more."""
    known = set(codes)
    if len(known) == 1:
        return known.pop()
    return worst(known | {MIXED} if 0 in known else known)
