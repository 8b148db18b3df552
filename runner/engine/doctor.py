"""What is looked at for a checklist: this machine, the job's hosts and sections, and what each of its steps
depends on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import Model
from runner.base.units import MiB, human_bytes
from runner.engine.walk import Visit
from runner.engine.world import World
from runner.events.check_results import Observation, good, noted, observe, wrong
from runner.hosts.state_place import StatePlace
from runner.hosts.tunnel import ssh_version
from runner.job.field_roles import names
from runner.job.inputs import Resolver
from runner.job.model import LOCAL, Job
from runner.job.nodes import Nodes
from runner.step.space import Space, summed
from runner.step.tools import HERE, Tool

DOCTOR_SCHEMA_VERSION = 1

LEAST_FREE = 64 * MiB
"""For records and reports of runs: a few MiB each, and the last 20 are kept."""


class Diagnosis(Model):
    schema_version: int = DOCTOR_SCHEMA_VERSION
    job: str | None
    observations: tuple[Observation, ...]

    @property
    def healthy(self) -> bool:
        return not any(one.state == "wrong" for one in self.observations)


def local(
    state: Path, tools: Iterable[Tool] = (), *, place: StatePlace | None = None
) -> Iterator[Observation]:
    """This machine; `state` is where it remembers runs of jobs that name no `place`, and what it has of those
    with one on another host."""
    yield observe(HERE, "ssh, for data", ssh_version)
    yield from (tool.here() for tool in tools)
    if place is not None and place.host == LOCAL:
        yield _room(Path(place.path), remedy="give another directory in the job's `state:`")
    else:
        yield _room(state)


def _room(state: Path, *, remedy: str = "give another directory with --state DIR") -> Observation:
    there = next(path for path in (state, *state.parents) if os.access(path, os.F_OK))
    if not os.access(there, os.W_OK | os.X_OK):
        found = f"user {os.geteuid()} cannot write to {there}, so runs cannot keep records in {state}"
        return wrong(HERE, "the records of runs", found, f"give that user the permission, or {remedy}")
    free = shutil.disk_usage(there).free
    found = f"{human_bytes(free)} free for {state}"
    if free < LEAST_FREE:
        return wrong(HERE, "free space for the records of runs", found, f"free some space, or {remedy}")
    return good(HERE, "free space for the records of runs", found)


def of_job(
    job: Job, world: World, nodes: Nodes, resolver: Resolver, walk: Iterable[Visit]
) -> Iterator[Observation]:
    """`world.run` must be set; no step acts. Hosts and sections first, those that the job names: what depends
    on them may say the same again, and they are looked at though the steps cannot be."""
    hosts, sections = named(job, nodes, resolver)
    for name in hosts:
        yield observe(
            f"host {name}", "that it can be reached as the job says", partial(_reached, world, name)
        )
        if (odd := world.oddities.get(name)) is not None:
            yield noted(f"host {name}", "what its login prints", odd)
    context = world.unheard("doctor")
    for section, name in sections:
        try:
            yield from job.sections[section][name].examine(context, name)
        except Interrupted:
            raise
        except SendenseError as error:
            yield wrong(f"{name} of {section}", "what is behind it", error.message)
    yield from _of_steps(walk)


def _of_steps(walk: Iterable[Visit]) -> Iterator[Observation]:
    space: list[Space] = []
    unknown: dict[str, None] = {}
    for visit in walk:
        yield from (*visit.observations, *visit.foretold, *visit.met)
        if visit.found.space is not None:
            space.append(visit.found.space)
        if not visit.complete:
            unknown[visit.step] = None
    yield from (needed.observation() for needed in summed(space))
    if unknown:
        yield noted(
            "the job",
            f"the steps {', '.join(unknown)}",
            "what else they need is known only after the nodes before them",
        )


def named(
    job: Job, nodes: Nodes, resolver: Resolver, *, harmless: bool = True
) -> tuple[list[str], list[tuple[str, str]]]:
    """The hosts and the entries of sections (section, name) that the job's steps name in their `with`, as far
    as the file alone tells, each once; site files have others too. `harmless`: also those that only such
    steps name."""
    places = [
        ("" if mark is None else mark.section, name)
        for step in nodes.order
        if harmless or not nodes.kind(step).harmless
        for _, mark, name in names(nodes.kind(step).In, resolver.told(step))
    ]
    sections = dict.fromkeys((section, name) for section, name in places if section)
    hosts = [name for section, name in places if not section]
    for section, name in sections:
        entry = job.sections[section][name]
        hosts += [host for _, mark, host in names(type(entry), entry.to_json_value()) if mark is None]
    if job.state_place is not None:
        hosts.append(job.state_place.host)
    return list(dict.fromkeys(hosts)), list(sections)


def _reached(world: World, name: str) -> str:
    host = world.reached(name)
    system = host.run(("uname", "-sr")).stdout.decode(errors="replace").strip()
    return (
        f"{system}, as user {host.account}"
        if host.local
        else f"{system}, host key as expected, as user {host.account}"
    )


def diagnosis(job: str | None, observations: Iterable[Observation]) -> Diagnosis:
    """Each thing once: several disks depend on one program."""
    found: dict[tuple[str, str], Observation] = {}
    told: set[str] = set()
    for one in observations:
        if one.state == "wrong" and one.found in told:
            continue
        if one.state == "wrong":
            told.add(one.found)
        found.setdefault((one.subject, one.looked_at), one)
    return Diagnosis(job=job, observations=tuple(found.values()))
