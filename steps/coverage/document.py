"""What `sendense coverage` answers, as values."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Literal

from pydantic import Field

from runner.base.model import Model
from steps.repository.verification_records import Verdict

UNCOVERED = 6
"""The exit code where a VM is unprotected, or its newest good point too old."""

State = Literal[
    "uncovered", "no-point", "too-old", "no-copy", "unworkable", "unknown", "good", "excused", "template"
]
"""Of a VM; the worst first.

uncovered   in no job, and not excused
no-point    in a job, and without a good restore point
too-old     its newest good restore point is older than its `rpo`
no-copy     it has one that is young enough, and no copy of one that its job's `copies` ask for, or a job
            that copies
unworkable  no job can take it: it is inaccessible, or cannot be snapshotted
unknown     what there is of it could not be read
good        its newest good point is young enough; without `rpo:`, there is one
excused     in no job, as `unprotected:` says why
template    is none that runs
"""

ALARMING: tuple[State, ...] = ("uncovered", "no-point", "too-old", "no-copy", "unworkable", "unknown")
ORDER: tuple[State, ...] = (*ALARMING, "good", "excused", "template")

WORDS: dict[State, str] = {
    "uncovered": "in no job",
    "no-point": "no good point",
    "too-old": "too old",
    "no-copy": "copy overdue",
    "unworkable": "cannot be backed up",
    "unknown": "unknown",
    "good": "covered",
    "excused": "excused",
    "template": "template",
}


class VmDrilled(Model):
    """The newest drill of any of its points."""

    verdict: Verdict
    why: str
    """In a sentence, without a full stop."""
    at: datetime
    point: str
    repository: str

    @property
    def trouble(self) -> str:
        """In words; empty where it passed."""
        return "" if self.verdict == "passed" else f"drill {self.verdict}: {self.why}"


class VmCoverage(Model):
    vm: str
    path: str
    """Inventory path."""
    id: str
    """Instance uuid."""
    vcenter: str
    """The site's name of it; empty for a VM that only a job which copies its points tells of."""
    state: State
    why: str
    """In words; empty where it is good."""
    jobs: tuple[str, ...]
    rpo: float | None
    """Seconds: the least that one of its jobs demands; None: none does."""
    age: float | None
    """Seconds since `newest_good`."""
    newest_good: datetime | None
    """The moment of its newest good restore point."""
    point: str | None
    repository: str | None
    """Which has that point."""
    copied: datetime | None
    """The moment of the newest good point of which there is a copy in another repository."""
    copied_to: str | None
    """The repository that has it."""
    verified: datetime | None
    """When blocks of a point of it were last read at rest, and matched."""
    drilled: VmDrilled | None
    """None: it never was, or not that could be read."""
    drill_passed: datetime | None
    """When a point of it last passed a drill."""
    drill_unknown: bool
    """Whether a record of a drill could not be read, which one of `notes` says."""
    notes: tuple[str, ...]
    # Of the newest good point, for metrics.
    read: int | None = Field(default=None, exclude=True)
    stored: int | None = Field(default=None, exclude=True)
    seconds: float | None = Field(default=None, exclude=True)

    @property
    def rank(self) -> tuple[int, float, str]:
        """The worst first: within a state the oldest."""
        return ORDER.index(self.state), -(self.age or 0.0), self.path


class Gone(Model):
    """A VM with restore points that is in no vCenter that was looked at."""

    vm: str
    path: str
    id: str
    repository: str
    points: int
    newest: datetime | None
    """When its newest point was published."""
    why: str


class Coverage(Model):
    schema_version: Literal[1] = 1
    site: str
    at: datetime
    vms: tuple[VmCoverage, ...]
    """The worst first."""
    gone: tuple[Gone, ...]
    unread: tuple[str, ...]
    """What could not be read, in sentences."""
    notes: tuple[str, ...]
    free: dict[str, int] = Field(default={}, exclude=True)
    """Bytes free, by repository."""

    @property
    def counts(self) -> Counter[State]:
        return Counter(one.state for one in self.vms)

    @property
    def alarming(self) -> int:
        counts = self.counts
        return sum(counts[state] for state in ALARMING)

    @property
    def exit_code(self) -> int:
        """1: not all could be read, so nothing is said of all; 6: a VM is unprotected."""
        return 1 if self.unread else UNCOVERED if self.alarming else 0
