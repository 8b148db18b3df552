"""What job files say of the VMs that they back up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from runner.base.errors import SendenseError
from runner.job.expressions import evaluate
from runner.job.graph import StepGraph
from runner.job.model import Job, StepSpec
from runner.job.nodes import Nodes
from runner.step.registry import Registry
from steps.values.copy_rule import CopyRule

VCENTERS, REPOSITORIES = "vcenters", "repositories"
"""Sections of a job file."""
_DISCOVER, _RESERVE = "discover", "reserve"
"""The steps that are told which VM, and where its restore points are kept."""
_COPY, _PLAN_COPIES = "copy-new-point", "plan-copies"
"""The steps that are told where copies of them are kept: of a backup, and of a job that only copies."""


@dataclass(frozen=True)
class Named:
    """A VM that a job names by itself."""

    vm: str
    """What it calls it: a name, an inventory path, a moref or a uuid."""
    vcenter: str
    """The job's name of the vCenter."""


@dataclass(frozen=True)
class BackupJob:
    """A job that makes restore points: a set by its `select:`, any other by the VMs that its file names."""

    job: Job
    named: tuple[Named, ...] = ()
    repositories: tuple[str, ...] = ()
    """The job's names of those that it writes into."""
    copies: tuple[CopyRule, ...] = ()
    """Where its points are copied to."""
    unclear: bool = False
    """Its file does not say which VM: that hangs on what a run finds out."""

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def vcenters(self) -> tuple[str, ...]:
        """The job's names of those that have its VMs."""
        if self.job.select is not None:
            return (self.job.select.entry,)
        return tuple(dict.fromkeys(one.vcenter for one in self.named))


def backup_job(job: Job, registry: Registry) -> BackupJob | None:
    """None for a job that makes no restore points of a VM."""
    kinds = {spec.uses for spec in job.steps}
    if _DISCOVER not in kinds or not any(registry.steps[kind].commits for kind in kinds):
        return None
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    repositories = [
        told["repository"] for told in _told(job, nodes, _RESERVE) if isinstance(told.get("repository"), str)
    ]
    named: list[Named] = []
    unclear = False
    for told in _told(job, nodes, _DISCOVER) if job.select is None else ():
        match told:
            case {"vm": str(vm), "vcenter": str(vcenter)}:
                named.append(Named(vm, vcenter))
            case _:
                unclear = True
    known = tuple(str(name) for name in dict.fromkeys(repositories))
    return BackupJob(job, tuple(dict.fromkeys(named)), known or _all(job), _copies(job, nodes), unclear)


@dataclass(frozen=True)
class CopyJob:
    """A job that copies what is missing from one repository into another one."""

    job: Job
    source: str
    """The job's name of the repository that it reads."""
    to: str
    vms: tuple[str, ...]
    """What it calls the VMs; none: all that have points there."""


def copy_job(job: Job, registry: Registry) -> CopyJob | None:
    """None for any other, and for one that copies a certain point."""
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    for told in _told(job, nodes, _PLAN_COPIES):
        match told:
            case {"repository": str(source), "to": str(to)} if told.get("point") is None:
                vms = told.get("vms")
                return CopyJob(job, source, to, tuple(map(str, vms)) if isinstance(vms, list) else ())
    return None


def _copies(job: Job, nodes: Nodes) -> tuple[CopyRule, ...]:
    told = (one.get("rules") for one in _told(job, nodes, _COPY))
    return tuple(
        CopyRule.from_json_value(rule) for rules in told if isinstance(rules, list) for rule in rules
    )


def _all(job: Job) -> tuple[str, ...]:
    return tuple(job.sections.get(REPOSITORIES, {}))


def _told(job: Job, nodes: Nodes, uses: str) -> Iterator[Mapping[str, JsonValue]]:
    """What each node of that kind is told, as far as the file alone tells; empty where that is not all."""
    for spec in job.steps:
        if spec.uses == uses:
            yield from _each(job, spec, nodes)


def _each(job: Job, spec: StepSpec, nodes: Nodes) -> Iterator[Mapping[str, JsonValue]]:
    scope: dict[str, JsonValue] = {"vars": dict(job.vars)}
    try:
        expanded = list(nodes.expand(spec.id, scope))
    except SendenseError:
        yield {}
        return
    for node in expanded:
        yield dict(_known(spec, {**scope, **node.variables}))


def _known(spec: StepSpec, scope: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    for name, value in spec.with_.items():
        try:
            yield name, evaluate(value, scope)
        except SendenseError:
            continue
