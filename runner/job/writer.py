"""A job → YAML: templates rendered, includes merged, variables set, paths absolute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, JsonValue

from runner.base.units import written_duration
from runner.base.yaml_nodes import resolve
from runner.hosts.spec import LocalSpec, RoomLimits
from runner.job.model import DEFAULT_RETRIES, LOCAL, Job, StepSpec
from runner.job.selection import VARIABLE
from runner.step.items import Where

LINE = 100
"""Characters of a `with` that still reads well on one line."""


class _Row:
    """A mapping or list written on one line."""

    def __init__(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        self.value = value


class _Writer(yaml.SafeDumper):
    """Quotes what our reader would not take for text: it reads YAML 1.2, the dumper writes for 1.1."""

    def ignore_aliases(self, data: Any) -> bool:
        # Else a list that two steps share would be `&id001` and `*id001`.
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # PyYAML does not indent lists below their key, as most people do who write job files.
        super().increase_indent(flow, False)


def write_out(job: Job) -> str:
    """A job file that gives the same job again."""
    return _dumped(_whole(job))


def written(job: Job) -> dict[str, Any]:
    """What `write_out` writes, as JSON values."""
    document = _whole(job)
    steps = [
        {key: value.value if isinstance(value, _Row) else value for key, value in step.items()}
        for step in document["steps"]
    ]
    return {**document, "steps": steps}


def _whole(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {"version": 1, "name": job.name}
    document |= _of_set(job)
    if job.vars:
        document["vars"] = dict(job.vars)
    document |= _surroundings(job)
    document["steps"] = [_step(step) for step in job.steps]
    return document


def write_from_template(job: Job, name: str, template: str, values: Mapping[str, JsonValue]) -> str:
    """Another job file, of `template` and its variables, with the hosts, sections and state of `job`."""
    document = {"version": 1, "name": name, "template": template, "vars": dict(values)}
    return _dumped(document | _surroundings(job))


def settings(job: Job) -> dict[str, str]:
    """What `write_out` writes, a line for each setting: ``vars.hold`` → ``12h``, ``hosts.store.port`` →
    ``22``."""
    found = {"name": flow(job.name)}
    for key, value in _of_set(job).items():
        fields = value if isinstance(value, dict) else {"": value}
        found |= {f"{key}{name and '.'}{name}": flow(one) for name, one in fields.items()}
    found |= {f"vars.{name}": flow(value) for name, value in job.vars.items()}
    for section, entries in _surroundings(job).items():
        if section == "state":
            found[section] = flow(entries)
            continue
        for name, entry in entries.items():
            fields = entry if isinstance(entry, dict) else {"": entry}
            found |= {f"{section}.{name}{key and '.'}{key}": flow(value) for key, value in fields.items()}
    for step in job.steps:
        for key, value in _step(step).items():
            if key == "with":
                found |= {f"steps.{step.id}.with.{name}": flow(one) for name, one in step.with_.items()}
            elif key != "id":
                found[f"steps.{step.id}.{key}"] = flow(value.value if isinstance(value, _Row) else value)
    return found


def flow(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.dump(
        value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=math.inf, default_flow_style=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _surroundings(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {}
    hosts = {name: _written(spec) for name, spec in job.hosts.items() if name != LOCAL}
    if job.local_limits != RoomLimits():
        hosts[LOCAL] = _written(LocalSpec(limits=job.local_limits))
    if hosts:
        document["hosts"] = hosts
    for section, entries in job.sections.items():
        if entries:
            document[section] = {name: _written(entry) for name, entry in entries.items()}
    if job.state is not None:
        document["state"] = _written(job.state)
    if job.slots is not None:
        document["slots"] = _written(job.slots)
    return document


def _of_set(job: Job) -> dict[str, Any]:
    """The keys that say which items it is for, and when and how it runs; none of a child, for which its set
    has seen to them."""
    if job.child_of is not None:
        return {}
    document: dict[str, Any] = {}
    if (select := job.select) is not None:
        document["select"] = {
            "from": f"{select.section}.{select.entry}",
            **({} if select.variable == VARIABLE else {"as": select.variable}),
            **_where(select.where),
            **({} if select.at_least == 1 else {"at-least": select.at_least}),
        }
    for key in ("priority", "rpo", "schedule", "fleet", "notify"):
        if (value := getattr(job, key)) is not None:
            document[key] = written_duration(value) if key == "rpo" else _written(value)
    if job.unprotected:
        document["unprotected"] = [
            {"from": f"{one.section}.{one.entry}", **_where(one.where), "reason": one.reason}
            for one in job.unprotected
        ]
    return document


def _where(where: Where) -> dict[str, Any]:
    found = {"any": [_written(rule) for rule in where.any], "not": [_written(rule) for rule in where.none]}
    return {key: rules for key, rules in found.items() if rules}


def _dumped(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=math.inf)


def _step(step: StepSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"id": step.id, "uses": step.uses}
    if step.each:
        written["each"] = _Row(dict(step.each))
    if step.with_:
        written["with"] = _Row(step.with_) if len(str(step.with_)) <= LINE else dict(step.with_)
    if step.needs:
        written["needs"] = _Row(step.needs)
    if step.when != "success":
        written["when"] = step.when
    if step.retries != DEFAULT_RETRIES:
        written["retries"] = step.retries
    return written


def _written(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return value


# Expressions in quotes, whatever YAML needs: people copy lines into flows, where `{` begins a mapping.
def _represent_text(writer: _Writer, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve(text), str) and "${{" not in text else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_row(writer: _Writer, row: _Row) -> yaml.Node:
    if isinstance(row.value, Mapping):
        return writer.represent_mapping("tag:yaml.org,2002:map", row.value.items(), flow_style=True)
    return writer.represent_sequence("tag:yaml.org,2002:seq", row.value, flow_style=True)


_Writer.add_representer(str, _represent_text)
_Writer.add_representer(_Row, _represent_row)
