"""Doing it: nodes run in threads as their turn comes, each checkpointed; whatever happens, everything is
unwound.

execute
├── _let_go_of_what_is_gone   a moment that is over is replaced by a new one
├── _turn(node)        in a worker thread
│   ├── _keep          the record stands, or a crash came between doing and recording
│   └── _act           intent record → open processes → run → done record; transient errors try again
└── _finish            what it holds is taken back as far as it may be (`runner.engine.conclusion`)
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pydantic import JsonValue

from runner.base.errors import Interrupted, SendenseError, UsageError
from runner.base.model import Model, dump_value
from runner.engine.checkpoint import NodeRecord, RunState
from runner.engine.conclusion import RUN, Conclusion
from runner.engine.freshness import STANDS, weigh, why_kept
from runner.engine.processes import Processes, ProcessFailed
from runner.engine.readiness import Fault, NotReady
from runner.engine.recording import Recorder
from runner.engine.retry import patiently
from runner.engine.schedule import Schedule, Status, is_at_end
from runner.engine.teardown import HeldSnapshot, Unwinding
from runner.engine.world import World
from runner.events.events import Bus, NodeFailed, NodeFinished, NodeKept, NodeRetrying, NodeStarted, Warned
from runner.hosts.limits import limit_of
from runner.job.inputs import Inputs, Resolver, parse_out
from runner.job.nodes import Node, NodeId, Nodes
from runner.step.registry import Registry
from runner.step.step import AnyStep, Lifetime

ResultT = TypeVar("ResultT")


@dataclass
class Outcome:
    """`failures`: node → error, in the order they happened. `work_done`: every node but those of the end is
    done. `begun`: something was changed, now or by an earlier execution of the run."""

    work_done: bool = False
    begun: bool = False
    failures: list[tuple[str, SendenseError]] = field(default_factory=list)
    unwind_failures: list[str] = field(default_factory=list)
    interrupted: bool = False

    def exit_code_of(self, error: SendenseError) -> int:
        """2 says that nothing was touched: not of a run that changed something, whatever it met then (a
        secret that cannot be read any more when it logs in again)."""
        is_late = self.begun and error.exit_code == UsageError.exit_code
        return SendenseError.exit_code if is_late else error.exit_code


class _NotBegun(Exception):
    """Something is in the way of the run."""


class Executor:
    def __init__(
        self,
        *,
        nodes: Nodes,
        registry: Registry,
        resolver: Resolver,
        world: World,
        state: RunState,
        unwinding: Unwinding,
        bus: Bus,
        stop: threading.Event,
        jobs: int,
        stands: Collection[str],
        is_sealed: Callable[[], bool],
        work_done: Callable[[], None],
        look_ahead: Callable[[Mapping[NodeId, JsonValue]], None] = lambda outputs: None,
    ) -> None:
        """`stands`: the steps that an earlier execution has done for good, and that are not looked at any
        more. `is_sealed`: whether the run's work is out in the world, so that nothing needs what it holds.
        `work_done` is called once all is done; `look_ahead`, with the outputs known so far, before a run's
        first node that changes something: it raises what is in the way."""
        self._nodes = nodes
        self._registry = registry
        self._resolver = resolver
        self._world = world
        self._state = state
        self._unwinding = unwinding
        self._bus = bus
        self._stop = stop
        self._jobs = jobs
        self._stands = stands
        self._look_ahead = look_ahead
        self._looking = threading.Lock()
        self._not_ready: tuple[str, ...] = ()
        """The nodes that have something in the way of the run."""
        self._schedule = Schedule(nodes, resolver, bus, stop)
        self._finished: queue.Queue[tuple[Node, Status]] = queue.Queue()
        self._outcome = Outcome(
            begun=any(not self._is_read_only(record) for record in state.nodes().values())
        )
        self._bug: BaseException | None = None
        self._healing: dict[NodeId, SendenseError] = {}
        """Nodes that had another turn, and why."""
        self._advanced: set[NodeId] = set()
        """Nodes whose last attempt made a part of their work durable."""
        self._recorder = Recorder(state, resolver, bus)
        self._lock = threading.Lock()
        self._processes = Processes(nodes, resolver, world, bus, self._schedule.unfinished)
        self._conclusion = Conclusion(
            schedule=self._schedule,
            processes=self._processes,
            unwinding=unwinding,
            bus=bus,
            stop=stop,
            is_sealed=is_sealed,
            tell_work_done=work_done,
        )
        world.unwind = self._conclusion.unwind

    def execute(self) -> Outcome:
        """Runs to the end and returns what came of it; raises only what is a bug, after everything was
        unwound."""
        if not self._let_go_of_what_is_gone():
            self._outcome.interrupted |= self._stop.is_set()
            return self._outcome
        try:
            with ThreadPoolExecutor(self._jobs, thread_name_prefix="node") as pool:
                self._loop(pool)
        finally:
            self._finish()
        if self._bug is not None:
            raise self._bug
        return self._outcome

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        running = 0
        while True:
            for node in self._schedule.next()[: self._jobs - running]:
                self._schedule.set(node, Status.RUNNING)
                running += 1
                pool.submit(self._turn, node)
            if running == 0:
                return
            node, status = self._finished.get()
            running -= 1
            if status is Status.PENDING:
                self._go_again(node)
                continue
            self._schedule.set(node, status)
            if not is_at_end(node) and self._schedule.work_is_done():
                self._conclusion.record_work_done()

    def _let_go_of_what_is_gone(self) -> bool:
        """A moment that is gone, or may be held no longer, is let go of, and with it all that was looked at
        then: disks and configuration are those of the new moment, also of the first one, where none was taken
        yet. False if that fails, or if it cannot be seen whether a moment is there: the run goes neither on
        with a moment over its time, nor takes another beside it."""
        if self._stands:
            return True
        held_snapshots: list[HeldSnapshot] = []
        for step, record in self._unwinding.held_snapshots():
            began = time.monotonic()
            try:
                held_snapshots.append(self._look(step, record))
            except SendenseError as error:
                self._fail(str(record.node), record.step, error, began)
                return False
        try:
            if self._unwinding.lacks_a_moment(self._nodes) or not all(
                moment.stands for moment in held_snapshots
            ):
                self._unwinding.forget_what_was_seen()
        except SendenseError as error:
            self._outcome.failures.append((RUN, error))
            return False
        return all(self._let_go(moment, why) for moment in held_snapshots if (why := moment.why_gone))

    def _look(self, step: AnyStep, record: NodeRecord) -> HeldSnapshot:
        look = partial(self._unwinding.look, step, record)
        return patiently(lambda number: look(), str(record.node), self._bus, self._stop)

    def _let_go(self, moment: HeldSnapshot, why: str) -> bool:
        node = str(moment.record.node)
        try:
            self._unwinding.undo(moment.step, moment.record, why)
        except SendenseError as error:
            refused = SendenseError(
                f"{why}, and the run does not go on with what it cannot let go of: {error}"
            )
            self._fail(node, moment.record.step, refused, time.monotonic())
            return False
        text = f"{node} is let go of ({why}): a new one is taken, and every disk is read again"
        self._bus.emit(Warned(node=node, text=text))
        return True

    # One node, in a worker thread

    def _turn(self, node: Node) -> None:
        status = Status.FAILED
        try:
            status = self._keep_or_act(node)
        except BaseException as error:  # noqa: BLE001  a bug: everything is unwound first, then it is raised
            if (limit := limit_of(error)) is not None:
                self._fail(str(node.id), node.step.name, limit, time.monotonic())
                return
            self._bug = self._bug or error
            self._stop.set()
            text = "".join(traceback.format_exception_only(error)).strip()
            self._bus.emit(
                NodeFailed(
                    node=str(node.id), step=node.step.name, seconds=0.0, error=f"bug: {text}", exit_code=1
                )
            )
        finally:
            self._schedule.set(node, Status.CLOSING)
            try:
                self._processes.release(node)
            except BaseException as error:  # noqa: BLE001  as above; whoever waits for this node must hear of it
                self._bug = self._bug or error
                self._stop.set()
            finally:
                self._finished.put((node, status))

    def _keep_or_act(self, node: Node) -> Status:
        began = time.monotonic()
        try:
            if node.id.step in self._stands and not is_at_end(node):
                self._stand_by(node)
                return Status.DONE
            inputs = self._resolver.inputs(node)
            why = self._patiently(node, lambda _: self._keep(node, inputs))
            if why is not None:
                self._act(node, inputs, why)
            return Status.DONE
        except ProcessFailed as failed:
            if not failed.told:
                self._fail(str(failed.node.id), failed.node.step.name, failed.error, began)
            self._schedule.set(failed.node, Status.FAILED)
            return self._skip(node, str(failed.node.id))
        except _NotBegun:
            at_fault = self._not_ready
            return Status.FAILED if str(node.id) in at_fault else self._skip(node, at_fault[0])
        except SendenseError as error:
            if error.self_healing and node.id not in self._healing and not self._stop.is_set():
                self._healing[node.id] = error
                return Status.PENDING
            self._fail(str(node.id), node.step.name, error, began)
            return Status.FAILED

    def _go_again(self, node: Node) -> None:
        """What the node's failure forgot is made again, and what stands on that; then the node has another
        turn."""
        error = self._healing[node.id]
        forgotten = [other for name in error.invalidates for other in self._resolver.producers(node, name)]
        self._schedule.again([*forgotten, node])
        self._bus.emit(NodeRetrying(node=str(node.id), error=str(error), wait=0.0, attempt=1))

    def _skip(self, node: Node, failed: str) -> Status:
        self._schedule.tell_skipped(node, f"{failed} failed")
        return Status.SKIPPED

    def _begin(self, node: Node) -> None:
        """Raises _NotBegun where something is in the way of the run, which is told once, of the node whose it
        is."""
        with self._looking:
            if self._outcome.begun:
                return
            if not self._not_ready:
                try:
                    self._look_ahead(dict(self._resolver.outputs))
                    self._outcome.begun = True
                    return
                except NotReady as error:
                    self._refuse(error.faults)
                except SendenseError as error:
                    self._refuse([Fault(str(node.id), node.step.name, error)])
            raise _NotBegun

    def _refuse(self, faults: Sequence[Fault]) -> None:
        self._not_ready = tuple(fault.node for fault in faults)
        for fault in faults:
            self._fail(fault.node, fault.step, fault.error, time.monotonic())
        for node in self._nodes.all():
            if str(node.id) in self._not_ready:
                self._schedule.set(node, Status.FAILED)

    def _fail(self, node: str, step: str, error: SendenseError, began: float) -> None:
        if (limit := limit_of(error)) not in (None, error):
            error.add(str(limit))
        with self._lock:
            if isinstance(error, Interrupted):
                self._outcome.interrupted = True
            else:
                self._outcome.failures.append((node, error))
        self._bus.emit(
            NodeFailed(
                node=node,
                step=step,
                seconds=time.monotonic() - began,
                error=str(error),
                exit_code=self._outcome.exit_code_of(error),
                fix_first=error.fix_first,
            )
        )

    def _stand_by(self, node: Node) -> None:
        """The node's work was done by an earlier execution; a moment that is not recorded any more was taken
        back."""
        record = self._state.nodes().get(node.id)
        out, acts = ({}, 0) if record is None else (record.out or {}, record.acts)
        self._kept(node, out, acts, STANDS)

    def _keep(self, node: Node, inputs: Inputs) -> str | None:
        """None if the node is done; else why it runs."""
        record = self._state.nodes().get(node.id)
        weighing = weigh(record, inputs, node.step.version)
        if weighing.ask == "no":
            return weighing.why
        ctx = self._world.context(node.id)
        recorded = (
            None if weighing.recorded is None else parse_out(node.step.Out, weighing.recorded, str(node.id))
        )
        found: Model | None = node.step.check(ctx, inputs.values, recorded)
        if found is None and weighing.ask == "recorded" and node.step.lifetime is Lifetime.JOB:
            # Its successor takes another list of disks than the one that is used by now.
            raise SendenseError(
                f"{node.id} was there a moment ago and is gone: run the same command again, which begins a "
                "new one"
            )
        if found is None:
            return weighing.why
        if weighing.ask == "adopt":
            self._recorder.done(node, inputs, found)
        self._kept(node, found.to_json_value(), 1 if record is None else record.acts, why_kept(weighing))
        return None

    def _kept(self, node: Node, out: dict[str, JsonValue], acts: int, why: str) -> None:
        self._resolver.know(node, out, acts)
        self._bus.emit(NodeKept(node=str(node.id), step=node.step.name, why=why, output=out))

    def _act(self, node: Node, inputs: Inputs, why: str) -> None:
        began = time.monotonic()
        # What comes at the end has nothing to take back of a run that never began.
        if not node.step.read_only and (not is_at_end(node) or self._not_ready):
            self._begin(node)
        done: list[Model] = []

        def attempt(number: int) -> int:
            if not done:
                done.append(self._attempt(node, inputs, why, number))
            # Also what is done is told only when it is recorded: the state may be out of reach for a while.
            return self._recorder.done(node, inputs, done[0])

        acts = self._patiently(node, attempt)
        self._resolver.know(node, dump_value(done[0]), acts)
        self._bus.emit(
            NodeFinished(
                node=str(node.id),
                step=node.step.name,
                seconds=time.monotonic() - began,
                output=done[0].to_json_value(),
            )
        )

    def _patiently(self, node: Node, attempt: Callable[[int], ResultT]) -> ResultT:
        """`attempt(number)`, again after transient errors, as often as the job allows for the node."""

        def advanced() -> bool:
            found = node.id in self._advanced
            self._advanced.discard(node.id)
            return found

        return patiently(
            attempt,
            str(node.id),
            self._bus,
            self._stop,
            retries=node.spec.retries,
            advanced=advanced,
            prepare=lambda: self._processes.drop(node),
        )

    def _attempt(self, node: Node, inputs: Inputs, why: str, attempt: int) -> Model:
        self._processes.open_for(node)
        before = self._state.nodes().get(node.id)
        details = {} if before is None else before.details
        lifetime = node.step.lifetime.value
        self._bus.emit(
            NodeStarted(node=str(node.id), step=node.step.name, lifetime=lifetime, why=why, attempt=attempt)
        )
        ctx = self._world.context(node.id, details)
        if before is not None and before.state == "forgotten" and before.out is not None:
            refused = parse_out(node.step.Out, before.out, str(node.id))
            node.step.undo(ctx, parse_out(node.step.In, before.inputs, str(node.id)), refused)
        self._recorder.intent(node, inputs, details)
        try:
            with ctx.closing:
                out: Model = node.step.run(ctx, inputs.values, self._resolver.live(node))
        except SendenseError as failure:
            if ctx.advanced.is_set():
                self._advanced.add(node.id)
            error = failure if isinstance(failure, Interrupted) else self._processes.explain(node, failure)
            self._recorder.failed(node, error)
            if error is failure:
                raise
            raise error from failure
        return out

    def _is_read_only(self, record: NodeRecord) -> bool:
        """What is not known (any more) may have changed something."""
        step = self._registry.steps.get(record.step)
        return step is not None and step.read_only

    def _finish(self) -> None:
        self._outcome.work_done = self._schedule.work_is_done()
        self._outcome.failures.extend(self._schedule.broken)
        self._outcome.interrupted |= self._stop.is_set() and not self._outcome.work_done
        try:
            self._conclusion.finish()
        finally:
            self._outcome.failures.extend(self._conclusion.failures)
            self._outcome.unwind_failures = self._conclusion.unwind_failures
