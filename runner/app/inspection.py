"""What looks only: a plan, a diagnosis. None of it changes anything."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from runner.app.earlier_runs import EARLIER, earlier
from runner.app.records import new_record, new_run_id
from runner.app.workspace import Options, Workspace, open_workspace, read_job, state_directory
from runner.base.errors import SendenseError
from runner.engine import doctor
from runner.engine.checkpoint import RunRecord
from runner.engine.doctor import Diagnosis
from runner.engine.live_observer import LiveObserver
from runner.engine.plan import Blind, Plan, Planner
from runner.engine.preflight import Examination
from runner.engine.world import World
from runner.events.check_results import Observation, noted, wrong
from runner.events.events import Bus
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.model import Job
from runner.job.nodes import NodeId, Nodes
from runner.step.context import Run
from runner.step.registry import Registry


@dataclass(frozen=True)
class _Prospect:
    """`known`: outputs of the nodes that the run keeps, and of those that only look. `stands`: what is done
    for good, so that little more than taking back is left."""

    plan: Plan
    run: Run
    known: Mapping[NodeId, JsonValue]
    stands: frozenset[str]


def diagnose(path: Path | None, options: Options) -> Diagnosis:
    """What a run of the job would meet, or without a job what this machine has. Changes nothing."""
    state, tools = state_directory(options), Registry.installed().tools()
    if path is None:
        return doctor.diagnosis(None, doctor.local(state, tools))
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        here = doctor.local(state, tools, place=workspace.job.state_place)
        unfinished, discarded, of_runs = _unfinished(workspace)
        if unfinished is None:
            run = _run(workspace, new_record(workspace.job, new_run_id()), discarded)
            known = dict[NodeId, JsonValue]()
        else:
            prospect = _prospect(workspace, unfinished)
            run, known = prospect.run, dict(prospect.known)
        examination = Examination(*workspace.nodes(run), workspace.world)
        return doctor.diagnosis(
            workspace.job.name,
            (*here, *of_runs, *doctor.of_job(workspace.job, workspace.world, examination, known)),
        )


def _unfinished(workspace: Workspace) -> tuple[RunRecord | None, frozenset[str], tuple[Observation, ...]]:
    """The run that the next one would resume, those that it would discard, and what is to be said of the
    job's earlier runs."""
    subject, looked_at = "the job", "its unfinished run"
    try:
        if workspace.job.state_place is not None:
            workspace.world.reached(workspace.job.state_place.host)
    except SendenseError:
        return None, frozenset(), ()  # what is looked at of the hosts says it
    try:
        if (holder := workspace.state.holder()) is not None:
            here = noted(subject, looked_at, f"it is being worked on now, by {holder}")
            return workspace.state.runs().unfinished, frozenset(), (here,)
        found = earlier(workspace, fresh=False)
    except SendenseError as error:
        return None, frozenset(), (wrong(subject, looked_at, error.message),)
    told = [noted(subject, f"{EARLIER} ({number})", text) for number, text in enumerate(found.said, 1)]
    if found.resumed is not None:
        command = workspace.options.command("run", workspace.job.file)
        told.append(
            noted(subject, looked_at, f"run {found.resumed.id} is unfinished: `{command}` resumes it")
        )
    return found.resumed, found.discarded_ids, tuple(told)


def plan_job(path: Path, options: Options, *, offline: bool) -> Plan:
    """Changes nothing, takes no lock, leaves nothing behind."""
    if offline:
        registry = Registry.installed()
        return plan_offline(read_job(path, options, registry), registry)
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        found = earlier(workspace, fresh=options.fresh)
        prospect = _prospect(workspace, found.resumed, found.discarded_ids)
        notes = (*_notes(workspace.job), *found.said)
        plan = prospect.plan.model_copy(update={"holder": workspace.state.holder(), "notes": notes})
        if prospect.stands:
            return plan
        examination = Examination(*workspace.nodes(prospect.run), workspace.world)
        plan = plan.with_observations(
            (seen.node, seen.observation) for seen in examination.look(prospect.known, thorough=False)
        )
        return plan.model_copy(update={"space": examination.space()})


def _prospect(
    workspace: Workspace, unfinished: RunRecord | None, discarded: frozenset[str] = frozenset()
) -> _Prospect:
    record = unfinished or new_record(workspace.job, new_run_id())
    run = _run(workspace, record, discarded)
    state = workspace.state.open(record.id)
    nodes, resolver = workspace.nodes(run)
    unwinding = workspace.unwinding(state)
    stands = frozenset() if unfinished is None else workspace.stands(record, unwinding)
    records = {} if unfinished is None else state.nodes()
    if records and not stands and unwinding.would_look_again(nodes):
        seen = {name for name, kind in workspace.registry.steps.items() if kind.read_only}
        records = {node: known for node, known in records.items() if known.step not in seen}
    planner = Planner(nodes, resolver, records, LiveObserver(workspace.world), stands=stands)
    plan = planner.plan(workspace.job.name, workspace.job.file, unfinished.id if unfinished else None)
    return _Prospect(plan, run, resolver.outputs, stands)


def _run(workspace: Workspace, record: RunRecord, discarded: frozenset[str] = frozenset()) -> Run:
    run = workspace.world.run = Run(
        record.id, workspace.job.name, workspace.job.digest, record.git_commit, discarded=discarded
    )
    return run


def named_by(job: Job) -> tuple[list[str], list[tuple[str, str]]]:
    """The job's hosts, and the entries of its sections by section and name, that its steps name, as far as
    the file tells."""
    nodes, resolver, world = _unconnected(job, Registry.installed())
    return doctor.named(job, Examination(nodes, resolver, world))


def told_by(job: Job, uses: str) -> list[dict[str, JsonValue]]:
    """What the steps of that kind are told, of each what the file alone tells, in order."""
    nodes, resolver, _ = _unconnected(job, Registry.installed())
    return [resolver.told(step) for step in nodes.order if nodes.spec(step).uses == uses]


def plan_offline(job: Job, registry: Registry) -> Plan:
    """Of what the files alone tell."""
    nodes, resolver, _ = _unconnected(job, registry)
    plan = Planner(nodes, resolver, {}, Blind()).plan(job.name, job.file, None)
    return plan.model_copy(update={"notes": _notes(job)})


def _notes(job: Job) -> tuple[str, ...]:
    return tuple(map(str, job.notes))


def _unconnected(job: Job, registry: Registry) -> tuple[Nodes, Resolver, World]:
    """For what does no I/O."""
    world = World(job, Bus(), threading.Event(), Path())
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    return nodes, Resolver(job, nodes, world.identities(), "offline"), world
