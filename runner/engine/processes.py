"""PROCESS nodes: opened when a node that is not done needs them, probed, closed when the last one that does
is done.

Closing goes in reverse of opening and is over before anything can start that depends on the node that needed
it last. What does not depend on each other opens and closes side by side. Guards (locks) stay open until the
very end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.base.model import Model, dump_value
from runner.engine.branches import side_by_side
from runner.engine.world import World
from runner.events.events import Bus, NodeFinished, NodeStarted, NodeUndone, Warned
from runner.job.inputs import Resolver
from runner.job.nodes import Node, NodeId, Nodes
from runner.step.context import Context


class ProcessFailed(Exception):
    """A PROCESS node did not open; carries which one and why. `told`: another node met the same failure
    before."""

    def __init__(self, node: Node, error: SendenseError, *, told: bool) -> None:
        super().__init__(str(error))
        self.node = node
        self.error = error
        self.told = told


@dataclass
class _Open:
    node: Node
    ctx: Context
    out: Model


class Processes:
    def __init__(
        self, nodes: Nodes, resolver: Resolver, world: World, bus: Bus, still_needs: Callable[[Node], bool]
    ) -> None:
        """`still_needs(node)`: whether a KEEP or JOB node is neither done nor abandoned."""
        self._nodes = nodes
        self._resolver = resolver
        self._world = world
        self._bus = bus
        self._still_needs = still_needs
        self._open: dict[NodeId, _Open] = {}
        self._order: list[NodeId] = []
        self._failed: dict[NodeId, SendenseError] = {}
        """Those that will not open in this execution, however often they are asked to."""
        self._locks: dict[NodeId, threading.RLock] = {}
        self._guard = threading.Lock()

    def open_for(self, node: Node) -> None:
        """Opens and probes what `node` depends on, side by side what does not wait for each other: a disk's
        source beside the way to its image. Guards come first. Raises ProcessFailed."""
        # Each comes after those it depends on: a tunnel to an exporter that was opened again is opened again
        # too, though its ssh still runs, for the socket behind it is another.
        renewed: set[NodeId] = set()

        def open_one(process: Node) -> None:
            # Of two nodes that need it at once the second waits for the first one's opening, and probes it.
            with self._lock_of(process.id):
                if process.id in self._failed:
                    raise ProcessFailed(process, self._failed[process.id], told=True)
                try:
                    if self._ensure(process, must_renew=not renewed.isdisjoint(self._below(process))):
                        renewed.add(process.id)
                except SendenseError as error:
                    if not error.transient:
                        self._failed[process.id] = error
                    raise ProcessFailed(process, error, told=False) from error

        wanted = self._nodes.processes_under(node)
        for guard in (process for process in wanted if process.step.guard):
            open_one(guard)
        side_by_side([process for process in wanted if not process.step.guard], self._below, open_one)

    def _below(self, process: Node) -> set[NodeId]:
        return {other.id for other in self._nodes.predecessors(process)}

    def _ensure(self, process: Node, *, must_renew: bool) -> bool:
        """True if it was opened now."""
        entry = self._open.get(process.id)
        if entry is not None:
            if not must_renew and process.step.probe(entry.ctx, entry.out):
                return False
            self._close(entry, "what it depends on was reopened" if must_renew else "it stopped serving")
        self._start(process)
        return True

    def _start(self, process: Node) -> None:
        began = time.monotonic()
        self._bus.emit(
            NodeStarted(
                node=str(process.id), step=process.step.name, lifetime="process", why="a node needs it"
            )
        )
        ctx = self._world.context(process.id)
        try:
            inputs = self._resolver.inputs(process)
            out = process.step.run(ctx, inputs.values, self._resolver.live(process))
        except BaseException:
            # What it had started is closed; that must not hide why it failed.
            self._close_stack(process, ctx)
            self._tell_closed(process, "it did not open")
            raise
        with self._guard:
            self._open[process.id] = _Open(process, ctx, out)
            self._order.append(process.id)
            self._resolver.given[process.id] = dump_value(out)
        self._bus.emit(
            NodeFinished(
                node=str(process.id),
                step=process.step.name,
                seconds=time.monotonic() - began,
                output=out.to_json_value(),
            )
        )

    def release(self, node: Node) -> None:
        """Closes what no node needs, now that `node` is done."""
        self._close_idle(node, None, "the last node that needs it is done")

    def drop(self, node: Node) -> None:
        """Closes what only `node` depends on, so that its next attempt begins with new ones; others are
        probed then."""
        self._close_idle(node, node, "it is reopened")

    def _close_idle(self, node: Node, besides: Node | None, why: str) -> None:
        idle = [
            process
            for process in reversed(self._nodes.processes_under(node))
            if process.id in self._open and not process.step.guard and not self._needed(process, besides)
        ]
        self._close_all(idle, why)

    def explain(self, node: Node, error: SendenseError) -> SendenseError:
        """The failure of `node` in the words of what it depends on, which is still as the failure left it."""
        for process in reversed(self._nodes.processes_under(node)):
            if (entry := self._open.get(process.id)) is not None:
                for explain in entry.ctx.explains:
                    error = explain(error)
                if error.transient and (said := _of_the_dead(entry)):
                    error.add(said)
        return error

    def close_all(self, *, guards: bool) -> None:
        """Closes everything in reverse of opening, guards only if told so."""
        nodes = [self._open[identity].node for identity in reversed(self._order)]
        self._close_all([node for node in nodes if node.step.guard == guards], "the run ends")

    def _needed(self, process: Node, besides: Node | None) -> bool:
        for node in self._nodes.all():
            if node.is_process or node is besides or not self._still_needs(node):
                continue
            if any(other.id == process.id for other in self._nodes.processes_under(node)):
                return True
        return False

    def _close_all(self, nodes: Sequence[Node], why: str) -> None:
        """Each once those that depend on it are closed."""
        above: dict[NodeId, set[NodeId]] = {}
        for node in nodes:
            for below in self._below(node):
                above.setdefault(below, set()).add(node.id)

        def close(node: Node) -> None:
            with self._lock_of(node.id):
                entry = self._open.get(node.id)
                if entry is not None:
                    self._close(entry, why)

        side_by_side(nodes, lambda node: above.get(node.id, set()), close)

    def _close(self, entry: _Open, why: str) -> None:
        identity = entry.node.id
        # No longer open before it closes: nobody may be given a socket that is about to go.
        with self._guard:
            self._open.pop(identity, None)
            self._order.remove(identity)
            self._resolver.given.pop(identity, None)
        self._close_stack(entry.node, entry.ctx)
        self._tell_closed(entry.node, why)

    def _tell_closed(self, node: Node, why: str) -> None:
        self._bus.emit(NodeUndone(node=str(node.id), step=node.step.name, lifetime="process", why=why))

    def _close_stack(self, node: Node, ctx: Context) -> None:
        try:
            ctx.closing.close()
        except Exception as error:  # noqa: BLE001  also a bug must not keep the others open
            # No failure of the run: whatever it is, it ends with this process at the latest.
            self._bus.emit(Warned(node=str(node.id), text=f"{node.id} did not close: {error}"))

    def _lock_of(self, identity: NodeId) -> threading.RLock:
        with self._guard:
            return self._locks.setdefault(identity, threading.RLock())


def _of_the_dead(entry: _Open) -> str:
    """What the first of its processes that ended said last; empty if all run."""
    for child in entry.ctx.children:
        if (code := child.poll()) is not None:
            words = " / ".join(child.stderr().strip().splitlines()[-2:]) or "it printed nothing"
            return (
                f"{child.argv[0]} of {entry.node.id} on {child.host} had ended with exit code {code}: {words}"
            )
    return ""
