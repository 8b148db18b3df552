"""What runs left whose records are lost: nobody who could be asked has any that say what to do with it."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence

from runner.app.records import new_record
from runner.app.workspace import Workspace
from runner.base.errors import StateError
from runner.engine.checkpoint import JobState, record_of
from runner.hosts.host import Host
from steps.repository import layout
from steps.repository.section import Repository
from steps.sections import orphans
from steps.sections.orphans import Orphan

ASKING = "orphans"
"""Who looks, in place of a run's id."""


def lost(workspace: Workspace, given_up: str = "") -> Iterator[Orphan]:
    """In the job's vCenters, on its hosts and in its repositories; `given_up`: a run that is none of those
    that can be resumed, whatever its records are. Raises what keeps them from being looked at."""
    known = {record.id for record in workspace.state.runs().known if record.is_unfinished} - {given_up}
    workspace.run(new_record(workspace.job, ASKING))
    ctx = workspace.world.unheard(ASKING)
    repositories = [
        entry
        for entry in workspace.job.sections.get("repositories", {}).values()
        if isinstance(entry, Repository)
    ]
    where = orphans.places(ctx, repositories)
    own = (workspace.state.host, posixpath.dirname(workspace.state.directory))
    roots = (own, *((place.host, posixpath.join(place.root, layout.STATE)) for place in where))
    vcenters = workspace.job.sections.get("vcenters", {})

    def kept(run: str, job: str | None) -> str | None:
        return None if run == given_up else _kept(workspace, roots, run, job)

    for orphan in orphans.find(ctx, vcenters, workspace.job.hosts, where, kept):
        if orphan.run not in known:
            yield orphan


def _kept(workspace: Workspace, roots: Sequence[tuple[Host, str]], run: str, job: str | None) -> str | None:
    """Why what run `run` of `job` left is no orphan, None if it is one."""
    for host, root in roots:
        try:
            record = record_of(host, root, run)
        except StateError as error:
            return error.message
        if record is not None and record.is_unfinished:
            command = shlex.join(("sendense", "sweep", record.job_file, "--abandon", run))
            return f"the job {record.job} can go on with that run; let go of it with `{command}`"
    if job in (None, workspace.job.name):
        return None
    if not any(host.exists(JobState(host, root, job).directory) for host, root in roots):
        return f"it is of the job {job}, whose records lie elsewhere: sweep that job where they are"
    return None
