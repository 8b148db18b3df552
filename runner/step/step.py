"""The step contract: three verbs and a lifetime, and the registry of kinds of steps.

    check(ctx, inputs, recorded) -> Out | None   changes nothing; what is there if the work is complete, by
    looking
    run(ctx, inputs, live) -> Out                does the difference
    undo(ctx, inputs, out)                       rolls it back; absent is fine

A step's `with:` is split by its two models: fields of `In` are values and make the input digest; fields of
`Live` are references to PROCESS nodes (sockets, URIs) and count in the digest only by what those nodes are
*of*. `check` and `undo` see no `Live`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from runner.base.model import JobModel, Model
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.tools import Tool


class Lifetime(enum.Enum):
    KEEP = "keep"
    """Checkpointed; undone only on request (an image, a manifest)."""
    JOB = "job"
    """Checkpointed; undone at success, on abandon, or when it may be held no longer (a snapshot)."""
    PROCESS = "process"
    """Never checkpointed; opened when a node that is not done needs it, always closed (an exporter, a tunnel,
    a lock)."""


class Empty(JobModel):
    """No fields."""


class Given(Model):
    """The base of what a PROCESS step gives while it is open; such a value never enters a digest or a
    checkpoint."""


InT = TypeVar("InT", bound=JobModel)
LiveT = TypeVar("LiveT", bound=JobModel)
OutT = TypeVar("OutT", bound=Model)


class Step(ABC, Generic[InT, LiveT, OutT]):
    """A kind of work. The class docstring is what `sendense steps NAME` prints first; `example` is a line of
    a job."""

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()
    """Names it had in earlier versions: a job file that still uses one is told the new name."""
    version: ClassVar[int] = 1
    """Raised when the same inputs lead to another result: old records are then stale."""
    lifetime: ClassVar[Lifetime]
    In: ClassVar[type[JobModel]]
    Live: ClassVar[type[JobModel]] = Empty
    Out: ClassVar[type[Model]]
    example: ClassVar[str]
    errors: ClassVar[tuple[str, ...]] = ()
    """What it fails with, one sentence each, for the documentation."""
    tools: ClassVar[tuple[Tool, ...]] = ()
    """What it needs on the machines that it works on, and does not make; for a doctor without a job."""
    makes: ClassVar[tuple[str, ...]] = ()
    """Keys of the lists in `Result.lists` of its reports: what `run --json` says that was made."""
    read_only: ClassVar[bool] = False
    """`run` changes nothing: `plan` runs it too."""
    guard: ClassVar[bool] = False
    """A PROCESS step that protects all that changes something (a lock): opened before, closed after all of
    it. Its `probe` renews what broke, or raises why it cannot: one that is closed to be opened again protects
    nothing meanwhile."""

    commits: ClassVar[bool] = False
    """Once it is done, the work of its run is out in the world (a published restore point): abandoning the
    run takes nothing of it back but what it holds."""

    def check(self, ctx: Context, inputs: InT, recorded: OutT | None) -> OutT | None:
        """`recorded` is what this run recorded for the same inputs, None if it crashed before it could.
        Returns what is there if the work is complete (with a record: only if the world still agrees with it),
        else None."""
        return None

    @abstractmethod
    def run(self, ctx: Context, inputs: InT, live: LiveT) -> OutT: ...

    def undo(self, ctx: Context, inputs: InT, out: OutT) -> None:
        return None

    def begun(self, ctx: Context, inputs: InT) -> OutT | None:
        """What an act that was cut short may have left, for `undo` of a run that is abandoned. Changes
        nothing."""
        return None

    def sealed(self, ctx: Context, inputs: InT) -> bool:
        """Of a step that seals and may have been cut short: whether its work is out in the world. `run` then
        makes what it still lacks. Changes nothing."""
        return self.check(ctx, inputs, None) is not None

    def probe(self, ctx: Context, out: OutT) -> bool:
        """PROCESS: whether it still serves."""
        return all(child.poll() is None for child in ctx.children)

    def release_due(self, ctx: Context, inputs: InT, out: OutT) -> str | None:
        """JOB: after a failure, the reason why it may be held no longer; None while it may."""
        return None

    def held(self, ctx: Context, inputs: InT, out: OutT) -> str:
        """JOB and KEEP: what stays after a failure, in words; empty if not worth a line."""
        return ""

    def preflight(self, ctx: Context | None, known: Known[InT, OutT]) -> Preflight[OutT]:
        """What can be told of a node before it runs: for a plan, for a doctor, and for the look that a run
        takes before it changes anything. Changes nothing. `ctx` is None where nothing may be asked of the
        world: an offline plan, and what completed earlier. Raises SendenseError for what cannot be
        looked at, which keeps a run from beginning."""
        return Preflight()

    def report(self, out: OutT) -> StepReport:
        """What the reports and the last lines on a terminal say of this output; of nothing else, and without
        looking."""
        return StepReport()


AnyStep = Step[Any, Any, Any]
