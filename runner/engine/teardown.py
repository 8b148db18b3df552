"""Cleanup: releases JOB nodes at success, or when they may be held no longer; rolls back everything of a run
that is discarded. And how an execution ends, which does so last.

It works from the records alone, so that it does not need the graph of the run that made them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runner.base.errors import LockedError, SendenseError
from runner.base.waiting import NEVER, heeding
from runner.engine.checkpoint import now
from runner.engine.processes import Processes
from runner.engine.recorded import Hold, RecordedNode, RecordedRun
from runner.engine.retry import patiently
from runner.engine.schedule import Schedule
from runner.engine.world import World
from runner.events.events import Held, NodeUndone, UndoFailed
from runner.job.nodes import NodeId

ResultT = TypeVar("ResultT")

RUN = "the run's record"
"""What fails, in words, where it is no node."""


class UnwindError(SendenseError):
    pass


@dataclass
class Unwound:
    """`released`: sentences on what was released, or would be; `failures`: on what could not be."""

    released: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def raise_failures(self) -> None:
        if self.failures:
            raise UnwindError("; ".join(self.failures))


class Unwinding:
    """Of the run that `world` acts for."""

    def __init__(self, recorded: RecordedRun, world: World, sweep: str) -> None:
        """`sweep` is the command line that releases what a run holds, without its name."""
        self._recorded = recorded
        self._world = world
        self._bus = world.bus
        self._sweep = sweep

    def release(
        self,
        *,
        succeeded: bool,
        but: Collection[NodeId] = (),
        until: threading.Event = NEVER,
        over: str | None = None,
    ) -> Unwound:
        """Releases JOB nodes: all of them after success, else those that may be held no longer, or all where
        `over` says why. `but` and `until`: as in `abandon`."""
        done = Unwound()
        if not self._is_ours(done, patient=succeeded):
            return done
        for node in heeding(until, self._recorded.snapshots()):
            if node.record.node in but:
                continue
            if why := over or _why_released(node, done, succeeded=succeeded):
                if not succeeded:
                    self._recorded.forget_what_was_seen()
                self._undo(node, why, done)
        return done

    def would_release(self, *, succeeded: bool) -> Unwound:
        """What `release` would release, by looking."""
        found = Unwound()
        for node in self._recorded.snapshots(silent=True):
            if why := _why_released(node, found, succeeded=succeeded):
                found.released.append(f"{node.name} ({why})")
        return found

    def abandon(
        self, *, committed: bool, but: Collection[NodeId] = (), until: threading.Event = NEVER
    ) -> Unwound:
        """Rolls back every node of the run that is not finished, also what is kept otherwise, but what is out
        in the world; if all of the run's work is (`committed`), only what it holds. `but`: the misfits, which
        others see to. Raises Interrupted once `until` is set and leaves the rest."""
        self._recorded.settle()
        if committed:
            return self.release(succeeded=True, but=but, until=until)
        done = Unwound()
        for node in heeding(until, self._recorded.nodes()):
            if node.step.read_only or node.record.node in but or (node.step.commits and node.is_out()):
                continue
            self._undo(node, "the run is discarded", done, begun=True)
        return done

    def undo(self, node: RecordedNode, why: str) -> None:
        """Raises UnwindError."""
        done = Unwound()
        self._undo(node, why, done)
        done.raise_failures()

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
            holds = self._recorded.held(work_done=work_done)
        except SendenseError as error:
            what = f"whatever run {run} made (with {run} in its name), which cannot be checked now ({error})"
            holds = (Hold("the run's records", what, now()),)
        for hold in holds:
            self._bus.emit(Held(node=hold.node, what=hold.what, command=f"{self._sweep} --abandon {run}"))

    def _is_ours(self, done: Unwound, *, patient: bool) -> bool:
        """Whether the run's locks are held: else another resumes with what we would take away. `patient`: a
        run that failed has waited long enough for what it cannot reach."""
        try:
            if patient:
                self._patiently("the cleanup", self._world.hold)
            else:
                self._world.hold()
        except SendenseError as error:
            done.failures.append(error.message)
            return False
        return True

    def _undo(self, node: RecordedNode, why: str, done: Unwound, *, begun: bool = False) -> None:
        """`begun`: also what was cut short before it was whole."""

        def look() -> Any:
            out = node.out()
            return node.step.leftover(node.ctx, node.inputs) if out is None and begun else out

        try:
            # Each by itself: an undo that is tried again has no more to look for what the first one took
            # away.
            out = self._patiently(node.name, look)
            if out is not None:
                self._patiently(node.name, lambda: node.step.undo(node.ctx, node.inputs, out))
            self._patiently(node.name, lambda: self._recorded.forget(node))
        except SendenseError as error:
            done.failures.append(f"cleanup of {node.name} failed: {error}")
            self._bus.emit(UndoFailed(node=node.name, step=node.record.step, error=str(error)))
            return
        if out is not None:
            done.released.append(f"{node.name} ({why})")
            lifetime = node.step.lifetime.value
            self._bus.emit(NodeUndone(node=node.name, step=node.record.step, lifetime=lifetime, why=why))

    def _patiently(self, what: str, act: Callable[[], ResultT]) -> ResultT:
        return patiently(lambda _: act(), what, self._bus, self._world.stop_of_cleanup())


def _why_released(node: RecordedNode, done: Unwound, *, succeeded: bool) -> str | None:
    try:
        return "the work is done" if succeeded else node.due()
    except SendenseError as error:  # it cannot be looked at now, so it is not touched now
        done.failures.append(f"{node.name}: {error}")
        return None


class Ending:
    """Of one execution: processes are closed, that all work is done is recorded, what the run holds is
    released as far as it may be, and the guards are closed last. `failures`: node → error; `unwind_failures`:
    what could not be released."""

    def __init__(
        self,
        schedule: Schedule,
        processes: Processes,
        unwinding: Unwinding,
        world: World,
        *,
        is_committed: Callable[[], bool],
        work_done: Callable[[], None],
    ) -> None:
        """`is_committed`: whether the run's work is out in the world; `work_done` records that all of it is
        done."""
        self._schedule = schedule
        self._processes = processes
        self._unwinding = unwinding
        self._world = world
        self._is_committed = is_committed
        self._work_done = work_done
        self._recorded = False
        self._unwound = False
        self.failures: list[tuple[str, SendenseError]] = []
        self.unwind_failures: list[str] = []

    def record_work_done(self) -> None:
        """Before anything is released. If it cannot be written, the run has failed."""
        if self._recorded:
            return
        try:
            patiently(lambda _: self._work_done(), RUN, self._world.bus, self._world.stop)
            self._recorded = True
        except SendenseError as error:
            self.failures.append((RUN, error))

    def unwind(self) -> tuple[str, ...]:
        """Releases what is due, for a node that does so; raises UnwindError."""
        self._processes.close_all(guards=False)
        self._unwound = True
        unwound = self._unwinding.release(succeeded=self._is_out())
        self.unwind_failures = unwound.failures
        unwound.raise_failures()
        return tuple(unwound.released)

    def finish(self) -> None:
        try:
            self._processes.close_all(guards=False)
            if not self._unwound and not self._schedule.unguarded():
                if self._schedule.work_is_done():
                    self.record_work_done()
                self.unwind_failures = self._unwinding.release(succeeded=self._is_out()).failures
        finally:
            # Last: while anything is still released, no other run may have the VM or the job.
            self._processes.close_all(guards=True)

    def _is_out(self) -> bool:
        """Whether what the run holds was needed only for work that is done."""
        if self._schedule.work_is_done():
            return True
        try:
            return self._is_committed()
        except SendenseError:
            return False  # it cannot be looked at now, so nothing is released now
