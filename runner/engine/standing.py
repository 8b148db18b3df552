"""Which nodes are done already, ahead of a run and at its beginning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import dump_value
from runner.engine.checkpoint import NodeRecord
from runner.engine.freshness import STANDS, weigh, why_kept
from runner.engine.observer import Observer
from runner.engine.schedule import is_at_end
from runner.job.inputs import Inputs, Resolver, parse_out
from runner.job.nodes import Node, NodeId


@dataclass(frozen=True)
class Standing:
    """What a KEEP or JOB node is ahead of a run. `kept`: it is done, and `out` is what it gave; `why` it is,
    or runs. `settled`: it completed earlier, and is not checked again."""

    why: str
    kept: bool = False
    out: JsonValue = None
    acts: int = 0
    settled: bool = False
    error: SendenseError | None = None
    """What kept it from being told; it counts as not done then."""


class Standings:
    """As the next run will find them: by a run's records, which the world is asked about. `stands`: the steps
    that completed earlier."""

    def __init__(
        self, records: Mapping[NodeId, NodeRecord], observer: Observer, stands: Collection[str] = ()
    ) -> None:
        self._records = records
        self._observer = observer
        self._stands = stands

    def of(self, node: Node, resolver: Resolver) -> Standing:
        record = self._records.get(node.id)
        stands = node.id.step in self._stands and not is_at_end(node)
        if stands and record is not None and record.state == "done":
            return Standing(STANDS, kept=True, out=record.out, acts=record.acts, settled=True)
        if waiting := resolver.unknown(node):
            return Standing(f"after {', '.join(waiting)}")
        try:
            # Also offline: what the job file alone tells of a node must fit its step.
            inputs = resolver.inputs(node)
            if self._observer.offline:
                return Standing("offline: not checked")
            return self._asked(node, record, inputs)
        except Interrupted:
            raise
        except SendenseError as error:
            return Standing("it could not be checked", error=error)

    def _asked(self, node: Node, record: NodeRecord | None, inputs: Inputs) -> Standing:
        weighing = weigh(record, node, inputs)
        if weighing.ask == "no":
            return Standing(weighing.why)
        due = self._observer.due(node, record) if record is not None and weighing.ask == "recorded" else None
        if due:
            return Standing(due)
        out = weighing.recorded
        recorded = None if out is None else parse_out(node.step.Out, out, str(node.id))
        found = self._observer.check(node, inputs, recorded)
        if found is None:
            return Standing(weighing.why)
        acts = 1 if record is None else record.acts
        return Standing(why_kept(weighing), kept=True, out=dump_value(found), acts=acts)


class Outcomes:
    """As the run itself knows them, which is under way: what has an output is done."""

    def __init__(self, outputs: Mapping[NodeId, JsonValue]) -> None:
        self._outputs = outputs

    def of(self, node: Node, resolver: Resolver) -> Standing:
        if node.id in self._outputs:
            return Standing("done by this run", kept=True, out=self._outputs[node.id], acts=1)
        return Standing("not done yet")
