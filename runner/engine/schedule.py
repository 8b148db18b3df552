"""Whose turn it is: steps become nodes as lists become known, a node's turn comes when all it depends on is
done, and what depends on a failure is skipped, with the reason.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable

from runner.base.errors import SendenseError
from runner.events.events import Bus, GraphKnown, NodeFailed, NodeSkipped
from runner.job.inputs import Resolver
from runner.job.model import When
from runner.job.nodes import Node, NodeId, Nodes


class Status(enum.Enum):
    PENDING = "pending"
    RUNNING = "running"
    CLOSING = "closing"
    """Its turn is over, and what it alone depended on is being closed: what depends on it may not start
    yet."""
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


AT_END: When = "always"

_UNDER_WAY = (Status.PENDING, Status.RUNNING, Status.CLOSING)


class Schedule:
    """`broken`: the errors of steps whose nodes could not even be listed."""

    def __init__(self, nodes: Nodes, resolver: Resolver, bus: Bus, stop: threading.Event) -> None:
        self._nodes = nodes
        self._resolver = resolver
        self._bus = bus
        self._stop = stop
        self._status: dict[NodeId, Status] = {}
        self._changing = threading.Lock()
        """Workers add the nodes of processes while the loop looks at all."""
        self._skipped_steps: dict[str, str] = {}
        self._because: dict[NodeId, str] = {}
        """Of nodes that were skipped: what failed, however far below."""
        self._standing: dict[NodeId, list[Node]] = {}
        self.broken: list[tuple[str, SendenseError]] = []

    def set(self, node: Node, status: Status) -> None:
        with self._changing:
            self._status[node.id] = status

    def tell_skipped(self, node: Node, because: str) -> None:
        self._because[node.id] = because
        self._bus.emit(NodeSkipped(node=str(node.id), step=node.step.name, because=because))

    def again(self, nodes: Iterable[Node]) -> None:
        """They have another turn, and so has what depends on them and is done; it is not what it was any
        more."""
        reset = {node.id for node in nodes}
        for step in self._nodes.order:
            for node in self._nodes.of_step.get(step, ()):
                stands_on_one = any(other.id in reset for other in self._stands_on(node)[0])
                if stands_on_one and self._status.get(node.id) is Status.DONE:
                    reset.add(node.id)
        self._status.update(dict.fromkeys(reset, Status.PENDING))

    def unfinished(self, node: Node) -> bool:
        """Whether it still needs what it depends on."""
        return self._status.get(node.id) in (Status.PENDING, Status.RUNNING)

    def work_is_done(self) -> bool:
        """Every node is done but those of the end, also of steps whose nodes could not be listed yet."""
        steps = [step for step in self._nodes.order if self._nodes.spec(step).when != AT_END]
        return not self._skipped_steps and all(
            step in self._nodes.of_step
            and all(
                self._status[node.id] is Status.DONE
                for node in self._nodes.of_step[step]
                if not node.is_process
            )
            for step in steps
        )

    def unguarded(self) -> str | None:
        """Why a guard is not or cannot be open. Without the lock nothing may be touched: it may be another
        run's turn."""
        for step in self._nodes.order:
            if not self._nodes.kind(step).guard:
                continue
            if step in self._skipped_steps:
                return self._skipped_steps[step]
            for node in self._nodes.of_step.get(step, ()):
                if self._status.get(node.id) is Status.FAILED:
                    return f"{node.id} failed"
                because = self._hopeless(node) or self._never(node)
                if because:
                    return because
        return None

    def _never(self, node: Node) -> str | None:
        solid, unexpanded = self._stands_on(node)
        missing = bool(unexpanded) or any(self._status[other.id] is not Status.DONE for other in solid)
        return "the run was stopped" if missing and self._stopped_working() else None

    def next(self) -> list[Node]:
        """The nodes whose turn it is, the furthest first: what is begun is finished before more is begun.
        Nothing but the nodes of the end once the run was told to stop."""
        self._expand()
        self._skip_hopeless()
        ready = [node for node in self._nodes.all() if self._is_ready(node)]
        return sorted(ready, key=lambda node: -self._nodes.order.index(node.id.step))

    def _expand(self) -> None:
        grown = False
        for step in self._nodes.order:
            if step in self._nodes.of_step or step in self._skipped_steps:
                continue
            scope = self._resolver.each_scope(step)
            if scope is None:
                continue
            try:
                nodes = self._nodes.expand(step, scope)
            except SendenseError as error:
                self._break(step, error)
                continue
            grown = True
            self._status.update((node.id, Status.PENDING) for node in nodes if not node.is_process)
        if grown:
            names = tuple(str(node.id) for node in self._nodes.all())
            self._bus.emit(GraphKnown(nodes=names, edges=self._nodes.edges()))

    def _break(self, step: str, error: SendenseError) -> None:
        self._skipped_steps[step] = f"{step} failed"
        self.broken.append((step, error))
        kind, code = self._nodes.spec(step).uses, error.exit_code
        self._bus.emit(
            NodeFailed(
                node=step,
                step=kind,
                seconds=0.0,
                error=str(error),
                exit_code=code,
                fix_first=error.fix_first,
                shared=error.shared,
            )
        )

    def _skip_hopeless(self) -> None:
        """In the order of the graph, so that one pass reaches everything that depends on a failure."""
        for step in self._nodes.order:
            if step not in self._nodes.of_step:
                self._skip_unexpanded(step)
            for node in self._nodes.of_step.get(step, ()):
                if self._status.get(node.id) is not Status.PENDING:
                    continue
                because = (self.unguarded() or self._lacks(node)) if is_at_end(node) else self._hopeless(node)
                if because:
                    self._status[node.id] = Status.SKIPPED
                    self.tell_skipped(node, because)

    def _lacks(self, node: Node) -> str | None:
        """Why a node of the end, whose turn it would be, will never know its inputs."""
        if not self._is_ready(node) or not self._resolver.unknown(node):
            return None
        solid, unexpanded = self._stands_on(node)
        known = (*map(self._skipped_steps.get, unexpanded), *map(self._why_not, solid))
        return next((why for why in known if why is not None), "the run was stopped")

    def _skip_unexpanded(self, step: str) -> None:
        if step in self._skipped_steps:
            return
        for source in sorted(self._nodes.sources_of_each(step)):
            because = self._skipped_steps.get(source)
            for node in self._nodes.of_step.get(source, ()):
                because = self._why_not(node) or because
            if because:
                self._skipped_steps[step] = because
                self._bus.emit(NodeSkipped(node=step, step=self._nodes.spec(step).uses, because=because))
                return

    def _stands_on(self, node: Node) -> tuple[list[Node], list[str]]:
        """The KEEP and JOB nodes that `node` needs, also through PROCESS nodes, and needed steps without
        nodes yet."""
        if node.id in self._standing:
            return self._standing[node.id], []
        solid: list[Node] = []
        unexpanded: list[str] = []
        for part in (*self._nodes.processes_under(node), node):
            for step in self._nodes.step_predecessors(part.id.step):
                if step not in self._nodes.of_step:
                    unexpanded.append(step)
                solid.extend(other for other in self._nodes.matching(part, step) if not other.is_process)
        if not unexpanded:
            self._standing[node.id] = solid
        return solid, unexpanded

    def _hopeless(self, node: Node) -> str | None:
        solid, unexpanded = self._stands_on(node)
        for step in unexpanded:
            if step in self._skipped_steps:
                return self._skipped_steps[step]
        for process in self._nodes.processes_under(node):
            if self._status.get(process.id) is Status.FAILED:
                return f"{process.id} failed"
        for other in solid:
            if (because := self._why_not(other)) is not None:
                return because
        return None

    def _why_not(self, node: Node) -> str | None:
        """What failed that `node` is, or depends on; None where nothing did so far."""
        status = self._status.get(node.id)
        if status is Status.SKIPPED:
            return self._because.get(node.id, f"{node.id} skipped")
        return f"{node.id} failed" if status is Status.FAILED else None

    def _is_ready(self, node: Node) -> bool:
        if self._status.get(node.id) is not Status.PENDING:
            return False
        if is_at_end(node):
            before = (other for other in self._stands_on(node)[0] if is_at_end(other))
            if any(self._status[other.id] in _UNDER_WAY for other in before):
                return False
            return self._stopped_working() or not any(
                self._status.get(other.id) in _UNDER_WAY
                for other in self._nodes.all()
                if not is_at_end(other)
            )
        if self._stop.is_set():
            return False
        solid, unexpanded = self._stands_on(node)
        return not unexpanded and all(self._status[other.id] is Status.DONE for other in solid)

    def _stopped_working(self) -> bool:
        with self._changing:
            under_way = any(status in (Status.RUNNING, Status.CLOSING) for status in self._status.values())
        return self._stop.is_set() and not under_way


def is_at_end(node: Node) -> bool:
    """A node that runs whatever happened, when all others are done or abandoned."""
    return node.spec.when == AT_END
