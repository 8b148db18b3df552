"""What looks only: a plan, a diagnosis. None of it changes anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from runner.app.earlier_runs import EARLIER, earlier
from runner.app.options import Options, read_job, state_directory
from runner.app.records import new_record, new_run_id
from runner.app.selecting import in_words, selected
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import SendenseError
from runner.base.model import dump_value
from runner.base.units import counted
from runner.engine import doctor
from runner.engine.checkpoint import RunRecord
from runner.engine.doctor import Diagnosis
from runner.engine.held_snapshots import would_look_again
from runner.engine.live_observer import LiveObserver
from runner.engine.observer import Blind
from runner.engine.plan import Plan, Planner
from runner.engine.standing import Standings
from runner.engine.walk import Walk
from runner.engine.world import World
from runner.events.check_results import Observation, good, noted, wrong
from runner.events.events import Bus
from runner.job.children import any_child, child
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.model import Job
from runner.job.nodes import Nodes
from runner.job.selection import EACH
from runner.step.context import Run
from runner.step.registry import Registry


@dataclass(frozen=True)
class _Ahead:
    """A walk over the nodes of the next run; their resolver learns with it."""

    nodes: Nodes
    resolver: Resolver
    walk: Walk


def diagnose(path: Path | None, options: Options) -> Diagnosis:
    """What a run of the job would meet, or without a job what this machine has. Changes nothing."""
    state, tools = state_directory(options), Registry.installed().tools()
    if path is None:
        return doctor.diagnosis(None, doctor.local(state, tools))
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        here = doctor.local(state, tools, place=workspace.job.state_place)
        of_job = _diagnosed(workspace) if workspace.job.select is None else _diagnosed_set(workspace)
        return doctor.diagnosis(workspace.job.name, (*here, *of_job))


def _diagnosed(workspace: Workspace) -> Iterator[Observation]:
    unfinished, discarded, of_runs = _unfinished(workspace)
    ahead = _ahead(workspace, unfinished, discarded, thorough=True)
    yield from of_runs
    yield from doctor.of_job(workspace.job, workspace.world, ahead.nodes, ahead.resolver, ahead.walk)


def _diagnosed_set(workspace: Workspace) -> Iterator[Observation]:
    """What it selects, and one of its children whole: what the others depend on is the same but for the
    item."""
    job, looked_at = workspace.job, "what it selects"
    try:
        found = selected(workspace)
    except SendenseError as error:
        yield wrong("the set", looked_at, error.message)
        one = any_child(job)
        nodes, resolver, _ = _unconnected(one, workspace.registry)
        workspace.world.run = Run(new_run_id(), job.name, job.digest, None)
        yield from doctor.of_job(one, workspace.world, nodes, resolver, ())
        return
    chosen = found.items.chosen
    told = f"{counted(len(chosen), found.noun)} of {found.source}"
    if found.error is not None:
        yield wrong("the set", looked_at, found.error.message)
    else:
        yield good(
            "the set",
            looked_at,
            f"{told}, of which {chosen[0].path or chosen[0].name} is looked at" if chosen else told,
        )
    for item in chosen[:1]:
        with open_workspace(child(job, item), workspace.options, threading.Event(), ()) as of_one:
            yield from _diagnosed(of_one)


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
            here = noted(subject, looked_at, f"it is running now: {holder}")
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


def plan_job(path: Path | Job, options: Options, *, offline: bool) -> Plan:
    """Changes nothing, takes no lock, leaves nothing behind."""
    if offline:
        registry = Registry.installed()
        return plan_offline(read_job(path, options, registry), registry)
    return plan_and_outputs(path, options)[0]


def plan_and_outputs(path: Path | Job, options: Options) -> tuple[Plan, dict[str, JsonValue]]:
    """As `plan_job` that looks, with what the nodes gave that are done or read-only, by their names."""
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        found = earlier(workspace, fresh=options.fresh)
        ahead = _ahead(workspace, found.resumed, found.discarded_ids)
        visits = list(ahead.walk)
        resumes = None if found.resumed is None else found.resumed.id
        job = workspace.job
        plan = Planner(ahead.nodes).plan(visits, job.name, job.file, resumes, offline=False)
        notes = (*notes_of(job), *found.said)
        outputs = {
            one.name: one.standing.out if one.out is None else dump_value(one.out)
            for one in visits
            if one.node is not None
        }
        return (
            plan.model_copy(update={"holder": workspace.state.holder(), "notes": notes}),
            {name: out for name, out in outputs.items() if out is not None},
        )


def _ahead(
    workspace: Workspace,
    unfinished: RunRecord | None,
    discarded: frozenset[str] = frozenset(),
    *,
    thorough: bool = False,
) -> _Ahead:
    """`unfinished`: the run that the next one resumes; `discarded`: those that it discards."""
    record = unfinished or new_record(workspace.job, new_run_id())
    run = workspace.world.run = Run(
        record.id, workspace.job.name, workspace.job.digest, record.git_commit, discarded=discarded
    )
    recorded = workspace.recorded(record)
    nodes, resolver = workspace.nodes(run)
    stands = frozenset() if unfinished is None else workspace.stands(record, recorded)
    records = {} if unfinished is None else recorded.state.nodes()
    if records and not stands and would_look_again(recorded, nodes):
        seen = {name for name, kind in workspace.registry.steps.items() if kind.read_only}
        records = {node: known for node, known in records.items() if known.step not in seen}
    observer = LiveObserver(workspace.world)
    walk = Walk(nodes, resolver, observer, Standings(records, observer, stands), thorough=thorough)
    return _Ahead(nodes, resolver, walk)


def named_by(job: Job, *, harmless: bool = True) -> tuple[list[str], list[tuple[str, str]]]:
    """The job's hosts, and the entries of its sections by section and name, that its steps name, as far as
    the file tells; `harmless`: see `doctor.named`."""
    nodes, resolver, _ = _unconnected(job, Registry.installed())
    return doctor.named(job, nodes, resolver, harmless=harmless)


def told_by(job: Job, uses: str) -> list[dict[str, JsonValue]]:
    """What the steps of that kind are told, of each what the file alone tells, in order."""
    nodes, resolver, _ = _unconnected(job, Registry.installed())
    return [resolver.told(step) for step in nodes.order if nodes.spec(step).uses == uses]


def plan_offline(job: Job, registry: Registry) -> Plan:
    """Of what the files alone tell."""
    nodes, resolver, _ = _unconnected(job, registry)
    walk = Walk(nodes, resolver, Blind(), Standings({}, Blind()))
    plan = Planner(nodes).plan(walk, job.name, job.file, None, offline=True)
    if (select := job.select) is not None:
        noun = registry.sections[select.section].noun
        about = (one for one in plan.about if EACH not in one.text)
        plan = plan.model_copy(update={"each": noun, "about": (in_words(select, noun), *about)})
    return plan.model_copy(update={"notes": notes_of(job)})


def notes_of(job: Job) -> tuple[str, ...]:
    """Of the job file: what is no mistake and yet to be said, and when the job is due."""
    due = [] if job.schedule is None else [f"due {job.schedule.sentence(datetime.now(UTC))}"]
    return (*map(str, job.notes), *due)


def _unconnected(job: Job, registry: Registry) -> tuple[Nodes, Resolver, World]:
    """For what does no I/O; of a set, one child stands for all."""
    job = any_child(job)
    world = World(job, Bus(), threading.Event(), Path())
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    return nodes, Resolver(job, nodes, world.identities(), "offline"), world
