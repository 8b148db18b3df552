"""A node's inputs: its `with`, evaluated, validated, split into `In` and `Live`, and digested."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from runner.base.annotations import fields
from runner.base.digest import Identities, digest
from runner.base.errors import SendenseError
from runner.base.model import JobModel, load_value
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.expressions import ExpressionError, evaluate, references
from runner.job.model import Job, StepSpec
from runner.job.nodes import Node, NodeId, Nodes, StepValueError
from runner.job.problems import Written, check_value
from runner.step.step import AnyStep


@dataclass(frozen=True)
class Inputs:
    """`fields`: input name → digest of what it is of; `digest` is that of step, version and all fields."""

    values: JobModel
    fields: Mapping[str, str]
    digest: str


def told(spec: StepSpec, scope: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The entries of its `with` that refer to nothing but what `scope` has."""
    return {
        name: evaluate(value, scope)
        for name, value in spec.with_.items()
        if all(one.root in scope for one in references(value))
    }


def told_values(spec: StepSpec, kind: AnyStep, scope: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Of the fields of its `In`, by their names in Python: those that `told` knows, as their types, and the
    defaults of those that the job leaves out."""
    known, values = told(spec, scope), dict[str, Any]()
    for name, info in kind.In.model_fields.items():
        written = info.alias or name
        if written in known:
            values[name] = load_value(fields(kind.In)[written], known[written])
        elif written not in spec.with_ and not info.is_required():
            values[name] = info.get_default(call_default_factory=True)
    return values


class Resolver:
    """Resolves `with` from the outputs known so far. `outputs` holds KEEP and JOB nodes, `given` open PROCESS
    nodes."""

    def __init__(self, job: Job, nodes: Nodes, identities: Identities, run_id: str) -> None:
        self._nodes = nodes
        self._identities = identities
        self._base: dict[str, JsonValue] = {"vars": dict(job.vars), "run": {"id": run_id, "job": job.name}}
        self.outputs: dict[NodeId, JsonValue] = {}
        self._foreseen: dict[NodeId, JsonValue] = {}
        self._acts: dict[NodeId, int] = {}
        self.given: dict[NodeId, JsonValue] = {}

    def know(self, node: Node, out: JsonValue, acts: int) -> None:
        """The output of a KEEP or JOB node, made at its `acts`-th act. An image that was made again is
        another image, though it has the same path: what was made of the old one is stale. Looking again makes
        nothing."""
        self.outputs[node.id] = out
        self._acts[node.id] = 0 if node.step.read_only else acts

    def foresee(self, node: Node, out: JsonValue) -> None:
        """What `node` will give, as far as that can be told before it runs: enough to look at the nodes
        behind it, never to list them."""
        self._foreseen[node.id] = out

    def each_scope(self, step: str) -> dict[str, JsonValue] | None:
        """What the `each` of `step` refers to; None while an output is not known."""
        scope = dict(self._base)
        for source in self._nodes.sources_of_each(step):
            nodes = self._nodes.of_step.get(source)
            if nodes is None or any(node.id not in self.outputs for node in nodes):
                return None
            fanned = bool(self._nodes.spec(source).each)
            scope[source] = [self.outputs[node.id] for node in nodes] if fanned else self.outputs[nodes[0].id]
        return scope

    def unknown(self, node: Node, *, foreseen: bool = False) -> tuple[str, ...]:
        """The steps whose outputs `node` waits for before its `In` can be known, also through PROCESS nodes;
        `foreseen`: before it can be known or foreseen."""
        waiting: dict[str, None] = {}
        for step in self._roots(node.spec.with_):
            known_nodes = self._nodes.of_step.get(step)
            if known_nodes is None:
                waiting[step] = None
                continue
            for other in self._nodes.matching(node, step):
                if other.is_process:
                    waiting.update(dict.fromkeys(self.unknown(other, foreseen=foreseen)))
                elif other.id not in self.outputs and not (foreseen and other.id in self._foreseen):
                    waiting[step] = None
        return tuple(waiting)

    def told(self, step: str) -> dict[str, JsonValue]:
        """The entries of its `with` that the job file alone tells: what can be said before there are
        nodes."""
        return told(self._nodes.spec(step), self._base)

    def told_values(self, step: str) -> dict[str, Any]:
        """See there."""
        return told_values(self._nodes.spec(step), self._nodes.kind(step), self._base)

    def inputs(self, node: Node) -> Inputs:
        """Of outputs that are known, or else foreseen. Raises StepValueError if the values do not fit the
        step's model."""
        raw, live = self._split(node)
        values = _values(
            node, node.step.In, raw, self._scope(node, raw, ChainMap(self.outputs, self._foreseen))
        )
        fields = {name: digest(value) for name, value in self._identities.of(values).items()}
        for name, info in node.step.In.model_fields.items():
            # What made it was done again: the same path may hold another image now.
            acts = self._acts_behind(node, raw.get(info.alias or name))
            if name in fields and any(acts):
                fields[name] = digest([fields[name], list(acts)])
        # A socket is new with every run, so of a process counts what it was made of.
        for name, value in live.items():
            stands_on = [
                self.inputs(other).digest
                for step in self._roots(value)
                for other in self._nodes.matching(node, step)
            ]
            fields[name] = digest(list(stands_on))
        whole: dict[str, JsonValue] = {
            "step": node.step.name,
            "version": node.step.version,
            "fields": {**fields},
        }
        return Inputs(values, fields, digest(whole))

    def _acts_behind(self, node: Node, value: object) -> tuple[int, ...]:
        return tuple(
            self._acts[other.id]
            for step in self._roots(value)
            for other in self._nodes.matching(node, step)
            if other.id in self._acts
        )

    def live(self, node: Node) -> JobModel:
        """The `Live` of `node`, once the PROCESS nodes it depends on are open."""
        _, live = self._split(node)
        return _values(node, node.step.Live, live, self._scope(node, live, self.given))

    def producers(self, node: Node, name: str) -> tuple[Node, ...]:
        """The KEEP and JOB nodes that the field `name` of `node`'s `In` or `Live` is made of; what a process
        serves is made of what it was given. ``copied/base`` names what those of `copied` have as their
        `base`."""
        name, _, below = name.partition("/")
        if below:
            return tuple(far for near in self.producers(node, name) for far in self.producers(near, below))
        model: dict[str, Any] = {**node.step.In.model_fields, **node.step.Live.model_fields}
        spelled = model[name].alias or name
        return tuple(self._made_of(node, node.spec.with_.get(spelled)))

    def _made_of(self, node: Node, value: object) -> Iterator[Node]:
        for step in self._roots(value):
            for other in self._nodes.matching(node, step):
                if other.is_process:
                    yield from self._made_of(other, dict(other.spec.with_))
                else:
                    yield other

    def _split(self, node: Node) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
        live_names = {info.alias or name for name, info in node.step.Live.model_fields.items()}
        with_ = node.spec.with_
        return (
            {name: value for name, value in with_.items() if name not in live_names},
            {name: value for name, value in with_.items() if name in live_names},
        )

    def _roots(self, value: object) -> list[str]:
        found = {reference.root for reference in references(value)}  # type: ignore[arg-type]
        return [step for step in self._nodes.order if step in found]

    def _scope(self, node: Node, value: object, known: Mapping[NodeId, JsonValue]) -> dict[str, JsonValue]:
        scope = {**self._base, **node.variables}
        for step in self._roots(value):
            found = [known[other.id] for other in self._nodes.matching(node, step)]
            scope[step] = found if self._nodes.is_join(node, step) else found[0]
        return scope


def _values(
    node: Node, model: type[JobModel], raw: Mapping[str, JsonValue], scope: Mapping[str, JsonValue]
) -> JobModel:
    """`raw` with its expressions replaced, as the model. Raises StepValueError."""
    owner = f"step {node.id.step}"
    try:
        values = {name: evaluate(value, scope) for name, value in raw.items()}
    except ExpressionError as error:
        raise StepValueError(node.spec, f"{owner}: {error.message}") from error
    # As `validate` would say it, had the values been known then: of a field that is an expression the step's
    # own place is near enough.
    written = Written(MappingNode(node.spec.location, {}, 1), {})
    made, problems = check_value(model, values, written, owner)
    if problems:
        raise StepValueError(node.spec, problems[0].message)
    assert isinstance(made, model)
    return made


class MisfitError(SendenseError):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"the record of {what} does not fit this version: `sendense run --fresh` starts over, and "
            "warns of what may stay"
        )


def parse_out(model: type[BaseModel], value: JsonValue, what: str) -> Any:
    """A recorded output as its model; raises MisfitError for a record of another shape."""
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise MisfitError(what) from error
