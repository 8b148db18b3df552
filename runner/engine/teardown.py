"""Taking back: JOB nodes at success, or when they may be held no longer; everything of a run that is
abandoned.

It works from the records alone, so that it does not need the graph of the run that made them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from runner.base.errors import LockedError, SendenseError
from runner.base.model import JobModel
from runner.engine.checkpoint import NodeRecord, RunState, now
from runner.engine.retry import patiently
from runner.engine.world import World
from runner.events.events import Bus, Held, NodeUndone, UndoFailed
from runner.job.inputs import MisfitError, parse_out
from runner.job.nodes import NodeId, Nodes
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.step import AnyStep, Lifetime

ResultT = TypeVar("ResultT")


class UnwindError(SendenseError):
    pass


@dataclass
class Unwound:
    released: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def raise_failures(self) -> None:
        if self.failures:
            raise UnwindError("; ".join(self.failures))


@dataclass(frozen=True)
class Hold:
    """Something that stays after an unfinished run, in words; `since` its node was done."""

    node: str
    what: str
    since: datetime


@dataclass(frozen=True)
class HeldSnapshot:
    """What a JOB node took. `is_there`: also where a crash kept it from being recorded; `due`: why it may be
    held no longer."""

    step: AnyStep
    record: NodeRecord
    is_there: bool
    due: str | None = None

    @property
    def stands(self) -> bool:
        return self.is_there and self.due is None

    @property
    def why_gone(self) -> str | None:
        """None if it stands, and if it was never taken."""
        if self.due is None and not self.is_there and self.record.state == "done":
            return "it is gone, and not by us"
        return self.due


class Unwinding:
    def __init__(self, state: RunState, registry: Registry, world: World, bus: Bus, sweep: str) -> None:
        """`sweep` is the command line that lets go of a run, without its name."""
        self._state = state
        self._registry = registry
        self._world = world
        self._bus = bus
        self._sweep = sweep

    def release(self, *, succeeded: bool, but: Collection[NodeId] = ()) -> Unwound:
        """Takes back JOB nodes: all of them after success, else those that may be held no longer. `but`: as
        in `abandon`."""
        done = Unwound()
        if not self._is_ours(done, patient=succeeded):
            return done
        for step, record in self.held_snapshots():
            if record.node in but:
                continue
            ctx = self._context(record)
            try:
                why = "the work is done" if succeeded else self._due(step, ctx, record)
            except SendenseError as error:  # it cannot be looked at now, so it is not touched now
                done.failures.append(f"{record.node}: {error}")
                continue
            if why:
                if not succeeded:
                    self.forget_what_was_seen()
                self._undo(step, ctx, record, why, done)
        return done

    def forget_what_was_seen(self) -> None:
        """Before a moment is taken, and before one is let go of that another one replaces: a crash between
        must not leave the old list of disks for the new moment."""
        for record in self._state.nodes().values():
            step = self._registry.steps.get(record.step)
            if step is not None and step.read_only:
                self._state.drop(record.node)

    def _is_ours(self, done: Unwound, *, patient: bool) -> bool:
        """Whether the run's locks are held: else another goes on with what we would take away. `patient`: a
        run that failed has waited long enough for what it cannot reach."""
        try:
            if patient:
                self._patiently("taking back", self._world.hold)
            else:
                self._world.hold()
        except SendenseError as error:
            done.failures.append(error.message)
            return False
        return True

    def is_sealed(self) -> bool:
        """Whether the run's work is out in the world, by a node that seals it, also if a crash kept that from
        being recorded."""
        return any(self._is_out(step, record) for step, record in self._seals())

    def settle(self) -> None:
        """What a crash kept a node from finishing and recording once it had sealed is made good."""
        for step, record in self._seals():
            if record.state != "done" and self._is_out(step, record):
                inputs = _inputs(step, record)
                ctx = self._context(record)
                with ctx.closing:
                    out = step.check(ctx, inputs, None) or step.run(ctx, inputs, step.Live())
                update = {"state": "done", "out": out.to_json_value(), "error": None, "at": now()}
                self._state.put(record.model_copy(update=update))

    def _seals(self) -> Iterator[tuple[AnyStep, NodeRecord]]:
        for record in self._reversed():
            step = self._registry.steps.get(record.step)
            if step is not None and step.commits:
                yield step, record

    def _is_out(self, step: AnyStep, record: NodeRecord) -> bool:
        try:
            return record.state == "done" or step.sealed(self._context(record), _inputs(step, record))
        except MisfitError:
            return False  # whoever acts on it looks again

    def misfits(self) -> tuple[NodeId, ...]:
        """Nodes that changed something, and whose records are of another version of this program: nothing can
        be resumed or rolled back by them. What is out in the world is known as that by its record alone."""
        return tuple(record.node for record in self._reversed() if not self._fits(record))

    def _fits(self, record: NodeRecord) -> bool:
        step = self._registry.steps.get(record.step)
        if step is None:
            return False
        if step.read_only or (step.commits and record.state == "done"):
            return True
        try:
            _inputs(step, record)
            if record.out is not None:
                parse_out(step.Out, record.out, str(record.node))
        except MisfitError:
            return False
        return True

    def abandon(self, *, sealed: bool, but: Collection[NodeId] = ()) -> Unwound:
        """Takes back every node of the run that is not finished, also what is kept otherwise, but what is out
        in the world; if all of the run's work is (`sealed`), only what it holds. `but`: the misfits, which
        others see to."""
        self.settle()
        if sealed:
            return self.release(succeeded=True, but=but)
        done = Unwound()
        for record in self._reversed():
            step = self._registry.steps.get(record.step)
            if (
                step is None
                or step.read_only
                or record.node in but
                or (step.commits and self._is_out(step, record))
            ):
                continue
            self._undo(step, self._context(record), record, "the run is abandoned", done, begun=True)
        return done

    def would_release(self, *, succeeded: bool) -> Unwound:
        """What `release` would take back, by looking."""
        found = Unwound()
        for step, record in self.held_snapshots():
            try:
                why = (
                    "the work is done"
                    if succeeded
                    else self._due(step, self._world.unheard(record.node, cleanup=True), record)
                )
            except SendenseError as error:
                found.failures.append(f"{record.node}: {error}")
                continue
            if why:
                found.released.append(f"{record.node} ({why})")
        return found

    def held(self, *, work_done: bool) -> tuple[Hold, ...]:
        """What stays after an unfinished run, each different thing once; once its work is done, what is kept
        is no longer held. Changes nothing."""
        found: dict[str, Hold] = {}
        for record in self._reversed():
            step = self._registry.steps.get(record.step)
            if step is None or (work_done and step.lifetime is not Lifetime.JOB):
                continue
            what = self._held(step, record)
            if what:
                found.setdefault(what, Hold(str(record.node), what, record.at))
        return tuple(found.values())

    def _held(self, step: AnyStep, record: NodeRecord) -> str:
        """In words, empty for nothing. What was made and not recorded is looked for where that is worth
        it."""
        ctx = self._world.unheard(record.node, cleanup=True)
        try:
            if record.out is None and step.lifetime is not Lifetime.JOB:
                return ""
            out = self._out(step, ctx, record)
            return "" if out is None else step.held(ctx, _inputs(step, record), out)
        except SendenseError as error:
            named = "" if self._world.run is None else f" (with {self._world.run.id} in its name)"
            return f"whatever {record.node} made{named}, which cannot be looked for now ({error})"

    def name_what_is_held(self, run: str, *, work_done: bool) -> None:
        """Emits a Held event for each thing that stays, also where a host is out of reach now: none for a run
        that another resumed meanwhile."""
        try:
            self._world.hold()
        except LockedError:
            return
        except SendenseError:
            pass  # what is there is known from the records, and no less there
        try:
            holds = self.held(work_done=work_done)
        except SendenseError as error:
            what = (
                f"whatever run {run} made (with {run} in its name), which cannot be looked for now ({error})"
            )
            holds = (Hold("the run's records", what, now()),)
        for hold in holds:
            self._bus.emit(Held(node=hold.node, what=hold.what, command=f"{self._sweep} --abandon {run}"))

    def held_snapshots(self) -> Iterator[tuple[AnyStep, NodeRecord]]:
        """The JOB nodes that were begun, last first."""
        for record in self._reversed():
            step = self._registry.steps.get(record.step)
            if step is not None and step.lifetime is Lifetime.JOB:
                yield step, record

    def look(self, step: AnyStep, record: NodeRecord) -> HeldSnapshot:
        """Whether the run goes on with the moment of `record`."""
        return self._look(step, self._context(record), record)

    def _look(self, step: AnyStep, ctx: Context, record: NodeRecord) -> HeldSnapshot:
        out = self._out(step, ctx, record)
        if out is None:
            return HeldSnapshot(step, record, is_there=False)
        # Also of one that a crash kept from being recorded: it is as old as the other.
        if due := step.release_due(ctx, _inputs(step, record), out):
            return HeldSnapshot(step, record, is_there=True, due=due)
        is_there = record.state != "done" or step.check(ctx, _inputs(step, record), out) is not None
        return HeldSnapshot(step, record, is_there)

    def lacks_a_moment(self, nodes: Nodes) -> bool:
        """Whether a step that takes one has not begun to."""
        begun = {record.step_id for _, record in self.held_snapshots()}
        return any(nodes.kind(step).lifetime is Lifetime.JOB and step not in begun for step in nodes.order)

    def would_look_again(self, nodes: Nodes) -> bool:
        """Whether a run that goes on forgets what was seen, by looking: not if that cannot be told now."""
        try:
            looked = (
                self._look(step, self._world.unheard(record.node), record)
                for step, record in self.held_snapshots()
            )
            return self.lacks_a_moment(nodes) or not all(moment.stands for moment in looked)
        except SendenseError:
            return False

    def _due(self, step: AnyStep, ctx: Context, record: NodeRecord) -> str | None:
        out = self._out(step, ctx, record)
        return None if out is None else step.release_due(ctx, _inputs(step, record), out)

    def undo(self, step: AnyStep, record: NodeRecord, why: str) -> None:
        """Raises UnwindError."""
        done = Unwound()
        self._undo(step, self._context(record), record, why, done)
        done.raise_failures()

    def _undo(
        self, step: AnyStep, ctx: Context, record: NodeRecord, why: str, done: Unwound, *, begun: bool = False
    ) -> None:
        """`begun`: also what was cut short before it was whole."""

        def look() -> Any:
            out = self._out(step, ctx, record)
            return step.begun(ctx, _inputs(step, record)) if out is None and begun else out

        try:
            # Each by itself: an undo that is tried again has no more to look for what the first one took
            # away.
            out = self._patiently(str(record.node), look)
            if out is not None:
                self._patiently(str(record.node), lambda: step.undo(ctx, _inputs(step, record), out))
            self._patiently(str(record.node), lambda: self._state.drop(record.node))
        except SendenseError as error:
            done.failures.append(f"{record.node} could not be taken back: {error}")
            self._bus.emit(UndoFailed(node=str(record.node), step=record.step, error=str(error)))
            return
        if out is not None:
            done.released.append(f"{record.node} ({why})")
            self._bus.emit(
                NodeUndone(node=str(record.node), step=record.step, lifetime=step.lifetime.value, why=why)
            )

    def _patiently(self, what: str, act: Callable[[], ResultT]) -> ResultT:
        return patiently(lambda number: act(), what, self._bus, self._world.stop)

    def _out(self, step: AnyStep, ctx: Context, record: NodeRecord) -> Any:
        """What the node made; for a node that crashed before it could record it, what is found."""
        if record.out is not None:
            return parse_out(step.Out, record.out, str(record.node))
        return step.check(ctx, _inputs(step, record), None)

    def _context(self, record: NodeRecord) -> Context:
        return self._world.context(record.node, record.details, cleanup=True)

    def _reversed(self) -> list[NodeRecord]:
        return sorted(self._state.nodes().values(), key=lambda record: -record.sequence)


def _inputs(step: AnyStep, record: NodeRecord) -> JobModel:
    inputs: JobModel = parse_out(step.In, record.inputs, str(record.node))
    return inputs
