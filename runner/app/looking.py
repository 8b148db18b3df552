"""What looks only: a plan, a diagnosis. None of it changes anything."""

from __future__ import annotations

import threading
from pathlib import Path

from runner import doctor
from runner.app.desk import Options, open_desk, read_job, state_directory
from runner.app.records import new_record, new_run_id
from runner.app.runs import resumable
from runner.doctor import Diagnosis
from runner.events import Bus
from runner.examination import Examination
from runner.graph import StepGraph
from runner.inputs import Resolver
from runner.looking import Looking
from runner.nodes import Nodes
from runner.plan import Blind, Plan, Planner
from runner.step import Registry, Run
from runner.world import World
from steps import tools


def diagnose(path: Path | None, options: Options) -> Diagnosis:
    """What a run of the job would meet, or without a job what this machine has. Changes nothing."""
    here = (*doctor.local(state_directory(options)), tools.examine_libnbd())
    if path is None:
        return doctor.diagnosis(None, here)
    with open_desk(path, options, threading.Event(), ()) as desk:
        record = new_record(desk.job, new_run_id())
        run = desk.world.run = Run(record.id, desk.job.name, desk.job.digest, record.git_commit)
        examination = Examination(*desk.nodes(run), desk.world)
        return doctor.diagnosis(desk.job.name, (*here, *doctor.of_job(desk.job, desk.world, examination)))


def plan_job(path: Path, options: Options, *, offline: bool) -> Plan:
    """Changes nothing, takes no lock, leaves nothing behind."""
    if offline:
        return _plan_offline(path, options)
    with open_desk(path, options, threading.Event(), ()) as desk:
        unfinished = None if options.fresh else desk.state.unfinished()
        if unfinished is not None:
            resumable(desk, unfinished)
        record = unfinished or new_record(desk.job, new_run_id())
        run = Run(record.id, desk.job.name, desk.job.digest, record.git_commit)
        desk.world.run = run
        records = desk.state.open(record.id).nodes() if unfinished is not None else {}
        nodes, resolver = desk.nodes(run)
        stands = desk.stands(record, desk.unwinding(desk.state.open(record.id))) if unfinished else frozenset()
        planner = Planner(nodes, resolver, records, Looking(desk.world), stands=stands)
        plan = planner.plan(desk.job.name, desk.job.file, unfinished.id if unfinished else None)
        if stands:
            return plan
        return plan.with_observations(
            (seen.node, seen.observation)
            for seen in Examination(*desk.nodes(run), desk.world).look(resolver.outputs, thorough=False)
        )


def _plan_offline(path: Path, options: Options) -> Plan:
    registry = Registry.installed()
    job = read_job(path, options, registry)
    world = World(job, Bus(), threading.Event(), Path())
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    resolver = Resolver(job, nodes, world.identities(), "offline")
    return Planner(nodes, resolver, {}, Blind()).plan(job.name, job.file, None)
