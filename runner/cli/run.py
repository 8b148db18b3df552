"""The command that makes runs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from runner.app.elsewhere import cluster_of
from runner.app.metrics import Ran, write_metrics
from runner.app.open_set import Which
from runner.app.options import DEFAULT_NODES, Options, read_job
from runner.base.errors import SendenseError, UsageError
from runner.cli import witness as witness_file
from runner.cli.in_turn import InTurn
from runner.cli.job_results import Ended, print_ended
from runner.cli.options import (
    job_options,
    jobs_argument,
    json_option,
    only_option,
    options_from,
    print_json,
    renamed_option,
)
from runner.cli.planned import held_to
from runner.cli.several import MakePlacement, Shown, run_several
from runner.cli.several_outcome import Several, Unread
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.console.plain import Level
from runner.events.events import Event, Warned
from runner.events.outcomes import of_several
from runner.hosts import files
from runner.job.model import Job
from runner.sets.dask import its_extra
from runner.sets.local_placement import LocalPlacement
from runner.step.registry import Registry

RUN_SCHEMA_VERSION = 1

CHILDREN = 4
"""Children of a set that run at once where nobody says how many: each is a process of 100 MB, and each VM's
disks are read at once."""


@click.command(cls=Work)
@jobs_argument
@job_options
@click.option(
    "--nodes",
    type=click.IntRange(1, 64),
    metavar="N",
    default=DEFAULT_NODES,
    show_default=True,
    help="How many nodes of a job may run at once.",
)
@renamed_option("--jobs", "--nodes")
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    metavar="N",
    help=f"How many jobs may run at once, each in a process of its own.  [default: 1; {CHILDREN} of a set]",
)
@click.option(
    "--on",
    type=click.Choice(["dask"]),
    help="Run them on the workers of the Dask cluster that `fleet` names, not here.",
)
@click.option(
    "--fresh", is_flag=True, help="Discard the job's unfinished run, if there is one, and start over."
)
@click.option(
    "--break-lock",
    is_flag=True,
    help=(
        "Take the job's or the VM's lock from the run that holds it: end that run's session and its "
        "exporters on the lock's host."
    ),
)
@click.option(
    "--events", type=click.Path(path_type=Path, dir_okay=False), help="Also append the events to this file."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Write reports into this directory; of several jobs, each into JOB-RUN below it; of a set, an index "
    "with a row for each VM.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write metrics of the VMs into this file, for node_exporter's textfile collector.",
)
@click.option(
    "--witness",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append a line to this file for each restore point that was made, with its digest: for `sendense "
    "verify --witness`. Keep it where the repository's host cannot write, such as in git.",
)
@click.option(
    "-q", "--quiet", "level", flag_value="quiet", help="Show only what goes wrong, and the last line."
)
@click.option("-v", "--verbose", "level", flag_value="verbose", help="Show every event, a line each.")
@json_option
@only_option
@click.option(
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Run what this file says, which `sendense plan --out` saved; if something else would be done now, "
    "say what, and begin nothing (exit code 2).",
)
@click.option(
    "--unfinished", is_flag=True, help="Of a set: only the VMs whose last run is not done, or never began."
)
def run(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    nodes: int,
    parallel: int | None,
    on: str | None,
    fresh: bool,
    break_lock: bool,
    events: Path | None,
    report: Path | None,
    metrics: Path | None,
    witness: Path | None,
    level: Level | None,
    as_json: bool,
    only: tuple[str, ...],
    plan: Path | None,
    unfinished: bool,
) -> None:
    """Run jobs, each to its end; resume a job's unfinished run.

    Of a set, each VM that it selects has a run of its own, several at once; --only names some of them. Jobs
    run one after the other without --parallel. The last lines tell which are not done, and why.
    """
    if report is not None:
        _make_room(report)
    if witness is not None:
        witness_file.require(witness)
    options = options_from(settings, state, nodes=nodes, fresh=fresh, break_lock=break_lock, events=events)
    read = [_read(job, options) for job in jobs]
    sets = [job for job in read if isinstance(job, Job) and job.select is not None]
    if only and len(sets) != 1:
        raise UsageError("--only names VMs of one set: name that set, and no other")
    if plan is not None:
        only = held_to(plan, [_require(job) for job in read], options, only)
    if unfinished and not sets:
        raise UsageError("--unfinished is of sets: a job's unfinished run is resumed without it")
    with stop_on_signals() as stop:
        if sets or on or (len(jobs) > 1 and (parallel or 1) > 1):
            place = (
                _cluster(read, parallel)
                if on
                else partial(LocalPlacement, parallel or (CHILDREN if sets else 1))
            )
            shown = Shown(level or "normal", report, keeps_documents=as_json or witness is not None)
            found = run_several(
                read, options, Which(only, unfinished), place, stop, shown, elsewhere=on is not None
            )
        else:
            each = InTurn(options, Registry.installed(), level or "normal", report, jobs)
            found = Several(len(jobs))
            found.ended = [each.run(job, stop) for job in _until(stop, read)]
            found.codes = [one.exit_code for one in found.ended if one.exit_code is not None]
        if as_json:
            # Before signals end us again: without an answer, the job of one of several was not begun.
            print_json({"schema_version": RUN_SCHEMA_VERSION, **found.document()})
            sys.stdout.flush()
        _write_beside(read, found, witness, metrics)
    _print_outcome(found, jobs, sets, options)
    raise click.exceptions.Exit(130 if stop.is_set() else of_several(found.codes))


def _print_outcome(found: Several, jobs: Sequence[Path], sets: Sequence[Job], options: Options) -> None:
    if sets and not found.sets and len(jobs) == 1:
        return  # why it could not begin was said
    if sets:
        again = f"{options.command('run', sets[0].file)} --unfinished" if len(jobs) == 1 else ""
        found.print_outcome(again, sys.stderr)
    elif len(jobs) > 1:
        print_ended([*found.ended, *_not_reached(jobs, found.ended)], sys.stderr)


def _cluster(read: Sequence[Job | Unread], at_once: int | None) -> MakePlacement:
    """Raises UsageError."""
    with its_extra():
        from runner.sets.dask.placement import DaskPlacement
    return partial(DaskPlacement, cluster_of([job for job in read if isinstance(job, Job)]), at_once)


def _read(path: Path, options: Options) -> Job | Unread:
    try:
        return read_job(path, options)
    except SendenseError as error:
        return path, error


def _require(read: Job | Unread) -> Job:
    """Raises what is wrong with its file."""
    if not isinstance(read, Job):
        raise read[1]
    return read


def _write_beside(
    read: Sequence[Job | Unread], found: Several, witness: Path | None, metrics: Path | None
) -> None:
    if witness is not None:
        _write_witness(witness, found)
    if metrics is not None:
        _write_metrics(metrics, read, found)


def _write_metrics(file: Path, read: Sequence[Job | Unread], found: Several) -> None:
    """What cannot be written changes nothing of what came of the work."""
    jobs = [job for job in read if isinstance(job, Job)]
    last = [one.last for one in found.ended if one.last is not None]
    try:
        write_metrics(Ran(jobs, last, max(0, found.count - len(last))), file, _say_warning)
    except SendenseError as error:
        print(f"sendense: metrics were not written: {error}", file=sys.stderr)


def _write_witness(file: Path, found: Several) -> None:
    """What cannot be written is in no witness; the points are there all the same."""
    try:
        witness_file.write(file, [one.details for one in found.ended])
    except SendenseError as error:
        print(f"sendense: no witness was written: {error}", file=sys.stderr)
        found.codes.append(1)


def _say_warning(event: Event) -> None:
    if isinstance(event, Warned):
        print(f"! {event.text}", file=sys.stderr)


def _until(stop: StopRequest, read: Sequence[Job | Unread]) -> Iterator[Job | Unread]:
    for job in read:
        if stop.is_set():
            return
        yield job


def _not_reached(jobs: Sequence[Path], ended: Sequence[Ended]) -> list[Ended]:
    known = {one.file for one in ended}
    return [Ended(job) for job in jobs if job not in known]


def _make_room(report: Path) -> None:
    """Before anything runs: a backup is not made again because nobody could be told of it. Raises
    UsageError."""
    try:
        files.make_directory(str(report), parents=True)
        if not os.access(report, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UsageError(
            f"cannot write reports into {report}: {error.strerror}; no job was run: give --report a "
            "directory you can write to"
        ) from error
