"""The step contract: three verbs and a lifetime, and the registry of kinds of steps.

    check(ctx, inputs, recorded) -> Out | None   changes nothing; what is there if the work is complete, by
    looking
    run(ctx, inputs, live) -> Out                does the difference
    undo(ctx, inputs, out)                       takes it back; absent is fine

A step's `with:` is split by its two models: fields of `In` are values and make the input digest; fields of
`Live` are references to PROCESS nodes (sockets, URIs) and count in the digest only by what those nodes are
*of*. `check` and `undo` see no `Live`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from runner.base.model import JobModel, Model
from runner.events.check_results import Observation
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.setting import Setting
from runner.step.space import Space
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

    def forecast(self, ctx: Context, inputs: InT) -> Forecast:
        """What `plan` can say of a node that will run, by looking; changes nothing."""
        return Forecast()

    def space(self, ctx: Context, inputs: InT) -> Space | None:
        """What is still to be written because of this node, for the sum that plan and run hold against what
        is free; None for nothing. Also of a node that is done, since its bytes may be another node's to
        write. Changes nothing."""
        return None

    def foresee(self, ctx: Context, inputs: InT) -> OutT | None:
        """What `run` would give, as far as that can be told by looking, so that the nodes behind this one can
        be examined before it ran; None if it cannot be told. Changes nothing."""
        return None

    def examine(self, ctx: Context, inputs: InT) -> tuple[Observation, ...]:
        """What this node stands on but does not make (programs, forwards, privileges). A new run looks at all
        of it before anything is changed and does not begin if something is wrong; `doctor` and `plan` show
        it. Changes nothing."""
        return ()

    def examine_early(self, ctx: Context, known: Mapping[str, Any]) -> tuple[Observation, ...]:
        """Of what `examine` looks at, all that does not hang on what comes before: for `doctor`, where that
        is in the way. `known` are the fields of `In` that the job file alone tells, and the defaults of those
        it leaves out."""
        return ()

    def settings(self, told: Mapping[str, Any], out: OutT | None) -> tuple[Setting, ...]:
        """What of its settings a reviewer must see at the head of a plan. `told` are the fields of `In` that
        the job file alone tells, and the defaults of those it leaves out; `out` of a step that is read-only,
        if it was looked for this plan."""
        return ()

    def report(self, out: OutT) -> StepReport:
        """What the reports and the last lines on a terminal say of this output; of nothing else, and without
        looking."""
        return StepReport()


class Forecast(Model):
    """`size` in bytes where the node moves or makes bytes; `notes` are sentences; `problems` make the plan
    fail; `removes` names what would be deleted for good."""

    size: int | None = None
    removes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


AnyStep = Step[Any, Any, Any]
