"""One node's turn, in a worker thread: it is kept as its record has it, or it acts and is recorded; transient
errors try again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from pydantic import JsonValue

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import Model, dump_value
from runner.engine.checkpoint import NodeRecord
from runner.engine.failures import Failures
from runner.engine.freshness import STANDS, weigh, why_kept
from runner.engine.gate import Gate, NotBegun
from runner.engine.processes import Processes, ProcessFailed
from runner.engine.recorded import RecordedRun
from runner.engine.recording import Recorder
from runner.engine.retry import patiently
from runner.engine.schedule import Schedule, Status, is_at_end
from runner.engine.world import World
from runner.events.events import NodeFinished, NodeKept, NodeRetrying, NodeStarted
from runner.job.inputs import Inputs, Resolver, parse_out
from runner.job.nodes import Node, NodeId
from runner.step.context import Context
from runner.step.step import Lifetime

ResultT = TypeVar("ResultT")


class Turns:
    """Of the nodes of one execution, several at once."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        world: World,
        recorded: RecordedRun,
        schedule: Schedule,
        processes: Processes,
        failures: Failures,
        gate: Gate,
        stands: Collection[str],
    ) -> None:
        """`stands`: the steps that an earlier execution completed."""
        self._resolver = resolver
        self._world = world
        self._bus = world.bus
        self._recorded = recorded
        self._state = recorded.state
        self._schedule = schedule
        self._processes = processes
        self._failures = failures
        self._gate = gate
        self._stands = stands
        assert world.run is not None, "a run is known before its nodes have their turns"
        self._recorder = Recorder(recorded.state, resolver, world.bus, world.run.tools)
        self._healing: dict[NodeId, SendenseError] = {}
        """Nodes that had another turn, and why."""

    def take(self, node: Node) -> Status:
        """DONE, FAILED, SKIPPED; PENDING for a node that is to have another turn, see `again`."""
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
                self._failures.add(str(failed.node.id), failed.node.step.name, failed.error, began)
            self._schedule.set(failed.node, Status.FAILED)
            return self._skip(node, str(failed.node.id))
        except NotBegun as refused:
            at_fault = refused.at_fault
            return Status.FAILED if str(node.id) in at_fault else self._skip(node, at_fault[0])
        except SendenseError as error:
            # Once: a result that is refused again is not made better by making it once more.
            if error.self_healing and node.id not in self._healing and not self._world.stop.is_set():
                self._healing[node.id] = error
                return Status.PENDING
            self._failures.add(str(node.id), node.step.name, error, began)
            return Status.FAILED

    def again(self, node: Node) -> None:
        """What the node's failure invalidated is made again, and what depends on that; then the node has
        another turn."""
        error = self._healing[node.id]
        invalid = [other for name in error.invalidates for other in self._resolver.producers(node, name)]
        self._schedule.again([*invalid, node])
        self._bus.emit(NodeRetrying(node=str(node.id), error=str(error), wait=0.0, attempt=1))

    def _skip(self, node: Node, failed: str) -> Status:
        self._schedule.tell_skipped(node, f"{failed} failed")
        return Status.SKIPPED

    def _stand_by(self, node: Node) -> None:
        """The node's work was done by an earlier execution; a snapshot that is no longer recorded was
        released."""
        record = self._state.nodes().get(node.id)
        out, acts = ({}, 0) if record is None else (record.out or {}, record.acts)
        self._kept(node, out, acts, STANDS)

    def _keep(self, node: Node, inputs: Inputs) -> str | None:
        """None if the node is done; else why it runs."""
        record = self._state.nodes().get(node.id)
        weighing = weigh(record, node, inputs)
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
                f"{node.id} existed a moment ago and is gone: run the same command again, which makes a "
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
        # A node at the end has nothing to release of a run that never started.
        if not node.step.read_only and (not is_at_end(node) or self._gate.refused):
            self._gate.require(node)
        done: list[Model] = []
        advanced = threading.Event()

        def attempt(number: int) -> int:
            if not done:
                done.append(self._attempt(node, inputs, why, number, advanced))
            # Also what is done is told only when it is recorded: the state may be out of reach for a while.
            return self._recorder.done(node, inputs, done[0])

        acts = self._patiently(node, attempt, advanced)
        self._resolver.know(node, dump_value(done[0]), acts)
        self._bus.emit(
            NodeFinished(
                node=str(node.id),
                step=node.step.name,
                seconds=time.monotonic() - began,
                output=done[0].to_json_value(),
            )
        )

    def _patiently(
        self, node: Node, attempt: Callable[[int], ResultT], advanced: threading.Event | None = None
    ) -> ResultT:
        """`attempt(number)`, again after transient errors, as often as the job allows for the node in a row
        without progress: the attempt sets `advanced`, which is cleared for the next."""

        def has_advanced() -> bool:
            found = advanced is not None and advanced.is_set()
            if advanced is not None:
                advanced.clear()
            return found

        return patiently(
            attempt,
            str(node.id),
            self._bus,
            self._world.stop,
            retries=node.spec.retries,
            advanced=has_advanced,
            prepare=lambda: self._processes.drop(node),
        )

    def _roll_back(self, node: Node, before: NodeRecord, ctx: Context) -> None:
        """Undoes what the node's next act would not replace: a result that was refused, and what another step
        made in its place, before the job named this one."""
        made = self._recorded.node(before, ctx)
        if made is None or made.step.read_only:
            return
        if before.state == "forgotten" and before.out is not None:
            made.step.undo(ctx, made.inputs, made.out())
        elif before.step != node.spec.uses and not (made.step.commits and made.is_out()):
            out = made.out() or made.step.leftover(ctx, made.inputs)
            if out is not None:
                made.step.undo(ctx, made.inputs, out)

    def _attempt(self, node: Node, inputs: Inputs, why: str, number: int, advanced: threading.Event) -> Model:
        self._processes.open_for(node)
        before = self._state.nodes().get(node.id)
        # What another step met says nothing to this one.
        details = before.details if before is not None and before.step == node.spec.uses else {}
        lifetime = node.step.lifetime.value
        self._bus.emit(
            NodeStarted(node=str(node.id), step=node.step.name, lifetime=lifetime, why=why, attempt=number)
        )
        ctx = self._world.context(node.id, details)
        if before is not None:
            self._roll_back(node, before, ctx)
        self._recorder.intent(node, inputs, details)
        try:
            with ctx.closing:
                out: Model = node.step.run(ctx, inputs.values, self._resolver.live(node))
        except SendenseError as failure:
            if ctx.advanced.is_set():
                advanced.set()
            error = failure if isinstance(failure, Interrupted) else self._processes.explain(node, failure)
            self._recorder.failed(node, error)
            if error is failure:
                raise
            raise error from failure
        return out
