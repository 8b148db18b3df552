"""The step contract: how a kind of work is written, so that it can be planned, run, resumed and undone.

A step is a class with two models and, as far as it needs them, five methods:

    In      the fields of its `with:`; what a change of them makes stale is done again
    Out     what it gives: later steps refer to its fields, so a record of it must suffice for them

    check(ctx, inputs, recorded) → Out | None    what is there if the work is complete, by looking
    run(ctx, inputs, live) → Out                 does what is missing; after a crash it is run again
    undo(ctx, inputs, out)                       rolls it back; what is absent is fine
    preflight(ctx, known) → Preflight            what it needs and would do, before anything is changed
    report(out) → StepReport                     what its output means to a person

Only `run` is needed. Its `lifetime` says what becomes of the result: a KEEP step (a copied disk) makes
something that stays; a JOB step (a snapshot) something that is undone once the run's work is done; a PROCESS
step (a server, a lock) something that lives only while other nodes need it. What a lifetime asks for beside
the five stands below them.

A step never prints, asks or sleeps: it tells by `ctx` (`Context`), runs commands on hosts of the job, and
raises a `SendenseError` whose message says what happened to what, and what to do. It may be called again
after any failure.

A step that needs an open process names it in a third model, `Live`, whose fields are references to PROCESS
nodes (sockets, URIs). They make the input's digest only by what those processes were given, never by the
socket of today; so `check` and `undo` see no `Live`.

It is found by an entry point of the group `sendense.steps`: ``my-step = "my_package:MyStep"``.
``sendense help writing-a-step`` shows a complete one.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from runner.base.errors import SendenseError
from runner.base.model import JobModel, Model
from runner.events.step_report import StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.tools import Tool


class Lifetime(enum.Enum):
    KEEP = "keep"
    """Recorded; undone only on request (an image, a manifest)."""
    JOB = "job"
    """Recorded; undone when the run's work is done, when it is discarded, or when it may be retained no
    longer (a snapshot)."""
    PROCESS = "process"
    """Never recorded; opened when a node that is not done needs it, always closed (an exporter, a tunnel, a
    lock)."""


@dataclass(frozen=True)
class Retained:
    """What stays after a failed run, so that the next one can resume it."""

    what: str
    """In words: ``the unfinished image /backup/…/disk-2000.qcow2 on store``."""
    due: Callable[[], str | None] = lambda: None
    """JOB: why it may be retained no longer, by looking; None while it may. Raises SendenseError if that
    cannot be seen now."""


class Empty(JobModel):
    """No fields."""


class Given(Model):
    """The base of what a PROCESS step gives while it is open; such a value never enters a digest or a
    checkpoint."""


InT = TypeVar("InT", bound=JobModel)
LiveT = TypeVar("LiveT", bound=JobModel)
OutT = TypeVar("OutT", bound=Model)


class Step(ABC, Generic[InT, LiveT, OutT]):
    """A kind of work. The class docstring is what `sendense steps NAME` prints first."""

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()
    """Names it had in earlier versions: a job file that still uses one is told the new name."""
    removed: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Fields it had in earlier versions → what a job file that still has one is told to do."""
    version: ClassVar[int] = 1
    """Raised when the same inputs lead to another result: what was recorded before is then done again."""
    lifetime: ClassVar[Lifetime]
    In: ClassVar[type[JobModel]]
    Live: ClassVar[type[JobModel]] = Empty
    Out: ClassVar[type[Model]]
    example: ClassVar[str]
    """A line of a job, for the documentation."""
    errors: ClassVar[tuple[str, ...]] = ()
    """What it fails with, one sentence each, for the documentation."""
    tools: ClassVar[tuple[Tool, ...]] = ()
    """What it needs on the machines that it works on, and does not make; for a doctor without a job."""
    makes: ClassVar[tuple[str, ...]] = ()
    """Keys of the lists in `Result.lists` of its reports: what `run --json` says that was made."""

    # Every step.

    def check(self, ctx: Context, inputs: InT, recorded: OutT | None) -> OutT | None:
        """`recorded` is what this run recorded for the same inputs, None if it crashed before it could.
        Returns what is there if the work is complete (with a record: only if the world still agrees with it),
        else None. Changes nothing."""
        return None

    @abstractmethod
    def run(self, ctx: Context, inputs: InT, live: LiveT) -> OutT: ...

    def undo(self, ctx: Context, inputs: InT, out: OutT) -> None:
        return None

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

    # A KEEP step that finds something out.

    read_only: ClassVar[bool] = False
    """`run` changes nothing: a plan runs it too."""

    # A KEEP step whose failure is a warning.

    harmless: ClassVar[bool] = False
    """What only such steps name may be full or out of reach: it keeps no run from beginning."""

    # KEEP and JOB: what is left behind when a run ends early.

    def leftover(self, ctx: Context, inputs: InT) -> OutT | None:
        """What a `run` that was cut short may have left, for `undo` when the run is discarded: also what is
        not complete, which `check` does not tell. May wait for what is still under way. Of a step that has
        it, `check` is asked after a failure what was made and not recorded. Changes nothing."""
        return None

    def retained(self, ctx: Context, inputs: InT, out: OutT) -> Retained | None:
        """What stays of it after a failure; None if it is not worth a line. By the record alone where that is
        enough: a host may be out of reach then. Changes nothing."""
        return None

    # JOB: what must go before it does harm.

    def endangered(self, ctx: Context, inputs: InT, out: OutT) -> SendenseError | None:
        """Why the run must end now, though it works, and release it, by looking: asked every minute. None
        while all is well. Raises SendenseError if that cannot be seen now. Changes nothing."""
        return None

    # A KEEP step whose result others may rely on at once (a published restore point).

    commits: ClassVar[bool] = False
    """Once it is done, the work of its run is out in the world: discarding the run then releases only what it
    holds."""

    def committed(self, ctx: Context, inputs: InT) -> bool:
        """Whether its work is out in the world, though `run` may have been cut short; `run` then makes what
        it still lacks. Changes nothing."""
        return self.check(ctx, inputs, None) is not None

    # PROCESS.

    guard: ClassVar[bool] = False
    """It protects all that changes something (a lock): opened before, closed after all of it. Its `probe`
    renews what broke, or raises why it cannot: one that is closed to be opened again protects nothing
    meanwhile."""

    def probe(self, ctx: Context, out: OutT) -> bool:
        """Whether it still serves; if not, it is closed and opened again."""
        return all(child.poll() is None for child in ctx.children)


AnyStep = Step[Any, Any, Any]
