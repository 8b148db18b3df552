"""What a run holds is released: by its records as long as they can be read, else by its id, which all that it
made has in its name."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator, Sequence

from runner.app.records import new_record
from runner.app.workspace import Workspace
from runner.base.errors import SendenseError, StateError
from runner.base.waiting import heeding
from runner.engine.checkpoint import ForeignStateError, RunRecord, now
from runner.engine.job_state import JobState, record_of
from runner.engine.teardown import UnwindError
from runner.engine.unread import UnreadRun
from runner.hosts.host import Host
from runner.step.section import Orphan, Surroundings

ASKING = "orphans"
"""Who looks, in place of a run's id."""


def foreign(workspace: Workspace, record: RunRecord) -> str | None:
    """Why this version of the program can neither resume nor roll back the run; None where it can. Raises
    StateError for records that are damaged."""
    try:
        misfits = workspace.recorded(record).misfits()
    except ForeignStateError as error:
        return error.message
    return f"the records of {', '.join(map(str, misfits))} do not fit" if misfits else None


def abandon(workspace: Workspace, record: RunRecord) -> None:
    """Releases all that the run holds. What only damaged records tell of, or those of another version, is
    found by the run's id. Raises what could not be released: the run stays unfinished then."""
    workspace.run(record)
    recorded = workspace.recorded(record)
    try:
        misfits = recorded.misfits()
        is_readable = True
    except StateError:
        misfits, is_readable = (), False
    if is_readable:
        # A run of which only the cleanup is left has published: its point stays.
        committed = workspace.is_out(record, recorded)
        unwinding, stop = workspace.unwinding(recorded), workspace.world.stop
        unwinding.abandon(committed=committed, but=misfits, until=stop).raise_failures()
    if misfits or not is_readable:
        release_all(heeding(workspace.world.stop, orphans_of(workspace, record.id)))
    recorded.state.save(record.model_copy(update={"phase": "abandoned", "ended": now()}))


def abandon_unread(workspace: Workspace, one: UnreadRun) -> None:
    """As `abandon`, of a run of which not even the first record can be read."""
    release_all(heeding(workspace.world.stop, orphans_of(workspace, one.run)))
    record = new_record(workspace.job, one.run)
    workspace.state.open(one.run).save(record.model_copy(update={"phase": "abandoned", "ended": now()}))


def orphans_of(workspace: Workspace, run: str) -> list[Orphan]:
    """All that `run` left, whatever this job's own records say of it."""
    return [orphan for orphan in orphans(workspace, abandoned=run) if orphan.run == run]


def release_all(left: Iterable[Orphan]) -> None:
    """Each that may be released; raises UnwindError that names what stays, and why."""
    failures = []
    for orphan in left:
        try:
            if orphan.stays is not None:
                raise SendenseError(orphan.stays)
            orphan.release()
        except SendenseError as error:
            failures.append(f"{orphan.what} is kept: {error}")
    if failures:
        raise UnwindError("; ".join(failures))


def orphans(workspace: Workspace, abandoned: str = "") -> Iterator[Orphan]:
    """What runs left that no unfinished run of this job can name, as the installed sections find it.
    `abandoned`: a run that is none of those that can be resumed, whatever its records are. Raises what keeps
    a place from being looked at."""
    known = {record.id for record in workspace.state.runs().known if record.is_unfinished} - {abandoned}
    workspace.run(new_record(workspace.job, ASKING))
    ctx = workspace.world.unheard(ASKING)
    places = _places_of_records(workspace)

    def kept(run: str, job: str | None) -> str | None:
        return None if run == abandoned else _kept(workspace, places, run, job)

    surroundings = Surroundings(workspace.job.sections, tuple(workspace.job.hosts), kept)
    for section in workspace.registry.sections.values():
        for orphan in section.orphans(ctx, surroundings):
            if orphan.run not in known:
                yield orphan


def _places_of_records(workspace: Workspace) -> list[tuple[Host, str]]:
    """Where runs of this job, and of others with the same sections, may have kept records. Raises what is
    wrong with such a place."""
    found = [(workspace.state.host, posixpath.dirname(workspace.state.directory))]
    for entry in (entry for section in workspace.job.sections.values() for entry in section.values()):
        if (place := entry.state_place()) is not None:
            host = workspace.world.reached(place.host)
            # A disk that is not mounted has no records: that says nothing of the runs that it knows.
            place.ready(host)
            found.append((host, place.path))
    return found


def _kept(workspace: Workspace, places: Sequence[tuple[Host, str]], run: str, job: str | None) -> str | None:
    """Why what run `run` of `job` left is no orphan, None if it is one."""
    for host, root in places:
        try:
            record = record_of(host, root, run)
        except StateError as error:
            return error.message
        if record is not None and record.is_unfinished:
            command = shlex.join(("sendense", "sweep", record.job_file, "--abandon", run))
            return f"the job {record.job} can resume that run; `{command}` discards it"
    if job in (None, workspace.job.name):
        return None
    if not any(host.exists(JobState(host, root, job).directory) for host, root in places):
        command = f"{workspace.options.command('sweep', workspace.job.file)} --abandon {run}"
        return (
            f"it belongs to the job {job}, whose records are elsewhere: sweep that job where they are; if "
            f"they are lost, `{command}` discards the run"
        )
    return None
