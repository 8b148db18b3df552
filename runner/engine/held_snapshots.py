"""What a run's JOB nodes took and hold for a resume: whether it is there and may still be held, looked at
before the run resumes on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from runner.base.errors import Interrupted, SendenseError
from runner.engine.failures import Failures
from runner.engine.freshness import another_step
from runner.engine.recorded import RecordedNode, RecordedRun
from runner.engine.retry import patiently
from runner.engine.teardown import RUN, Unwinding
from runner.engine.world import World
from runner.events.events import Warned
from runner.job.nodes import Nodes
from runner.step.step import Lifetime


@dataclass(frozen=True)
class HeldSnapshot:
    """What a JOB node took. `is_there`: also where a crash kept it from being recorded; `due`: why it may be
    held no longer."""

    node: RecordedNode
    is_there: bool
    due: str | None = None

    @property
    def stands(self) -> bool:
        return self.is_there and self.due is None

    @property
    def why_gone(self) -> str | None:
        """None if it stands, and if it was never taken."""
        if self.due is None and not self.is_there and self.node.record.state == "done":
            return "somebody else removed it"
        return self.due


def would_look_again(recorded: RecordedRun, nodes: Nodes) -> bool:
    """Whether a run that resumes forgets what was seen, by looking: not if that cannot be told now."""
    try:
        return _are_new(recorded, nodes, [_look(node, nodes) for node in recorded.snapshots(silent=True)])
    except Interrupted:
        raise
    except SendenseError:
        return False


class HeldSnapshots:
    """Of a run that is about to begin or to resume."""

    def __init__(
        self, recorded: RecordedRun, nodes: Nodes, unwinding: Unwinding, failures: Failures, world: World
    ) -> None:
        self._recorded = recorded
        self._nodes = nodes
        self._unwinding = unwinding
        self._failures = failures
        self._world = world

    def release_gone(self) -> bool:
        """A snapshot that is gone, or may be held no longer, is released, and with it all that was looked at
        then: disks and configuration are those of the new snapshot, also of the first one, where none was
        taken yet. False if that fails, or if it cannot be seen whether a snapshot is there: the run neither
        resumes on a snapshot over its time, nor takes another beside it."""
        found: list[HeldSnapshot] = []
        for node in self._recorded.snapshots():
            began = time.monotonic()
            try:
                found.append(self._look(node))
            except SendenseError as error:
                self._failures.add(node.name, node.record.step, error, began)
                return False
        try:
            # Before the release: a crash between must not leave the old list of disks for a new snapshot.
            if _are_new(self._recorded, self._nodes, found):
                self._recorded.forget_what_was_seen()
        except SendenseError as error:
            self._failures.outcome.failures.append((RUN, error))
            return False
        return all(self._release(snapshot.node, why) for snapshot in found if (why := snapshot.why_gone))

    def _look(self, node: RecordedNode) -> HeldSnapshot:
        return patiently(lambda _: _look(node, self._nodes), node.name, self._world.bus, self._world.stop)

    def _release(self, node: RecordedNode, why: str) -> bool:
        try:
            self._unwinding.undo(node, why)
        except SendenseError as error:
            refused = SendenseError(
                f"{why}, and the run does not continue with what it cannot release: {error}"
            )
            self._failures.add(node.name, node.record.step, refused)
            return False
        text = f"{node.name} is released ({why}): a new one is taken, and everything is read again"
        self._world.bus.emit(Warned(node=node.name, text=text))
        return True


def _look(node: RecordedNode, nodes: Nodes) -> HeldSnapshot:
    out = node.out()
    if out is None:
        return HeldSnapshot(node, is_there=False)
    step = node.record.step_id
    if step in nodes.order and (another := another_step(node.record, nodes.spec(step).uses)):
        return HeldSnapshot(node, is_there=True, due=another)
    # Also of one that a crash kept from being recorded: it is as old as the other.
    if (retained := node.retained(out)) is not None and (due := retained.due()):
        return HeldSnapshot(node, is_there=True, due=due)
    is_there = node.record.state != "done" or node.step.check(node.ctx, node.inputs, out) is not None
    return HeldSnapshot(node, is_there)


def _are_new(recorded: RecordedRun, nodes: Nodes, found: Sequence[HeldSnapshot]) -> bool:
    """Whether the run takes one: it has not started to, or one of those it took does not stand."""
    begun = {node.record.step_id for node in recorded.snapshots(silent=True)}
    lacks = any(nodes.kind(step).lifetime is Lifetime.JOB and step not in begun for step in nodes.order)
    return lacks or not all(snapshot.stands for snapshot in found)
