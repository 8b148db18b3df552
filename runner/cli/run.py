"""The command that makes runs."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from runner.app.options import DEFAULT_NODES, EVENTS, Options
from runner.app.runs import Result, RunBroke, run_job
from runner.base.errors import SendenseError, UsageError
from runner.cli.child import run_child
from runner.cli.job_results import Ended, print_ended, say_error
from runner.cli.options import (
    job_options,
    jobs_argument,
    json_option,
    options_from,
    print_json,
    renamed_option,
)
from runner.cli.parallel import ONE_OF_SEVERAL, end_with, run_at_once
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.console.listener import Console
from runner.console.plain import Level
from runner.events.fold import fold
from runner.events.journal import read_events
from runner.events.outcomes import of_several
from runner.hosts import files
from runner.hosts.limits import limit_of
from runner.report.report import write_reports
from runner.step.registry import Registry

RUN_SCHEMA_VERSION = 1


def _as_child(context: click.Context, option: click.Parameter, value: bool) -> None:
    """Before anything else: the job is told on standard input, with all that it needs."""
    if value:
        raise click.exceptions.Exit(run_child())


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
    default=1,
    show_default=True,
    help="How many jobs may run at once, each in a process of its own.",
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
    help="Write reports into this directory; of several jobs, each into JOB-RUN below it.",
)
@click.option(
    "-q", "--quiet", "level", flag_value="quiet", help="Show only what goes wrong, and the last line."
)
@click.option("-v", "--verbose", "level", flag_value="verbose", help="Show every event, a line each.")
@json_option
@click.option("--child", is_flag=True, is_eager=True, expose_value=False, hidden=True, callback=_as_child)
@click.option(ONE_OF_SEVERAL, "parent", type=int, metavar="PID", hidden=True)
def run(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    nodes: int,
    parallel: int,
    fresh: bool,
    break_lock: bool,
    events: Path | None,
    report: Path | None,
    level: Level | None,
    as_json: bool,
    parent: int | None,
) -> None:
    """Run jobs, each to its end; resume a job's unfinished run.

    Without --parallel they run one after the other. Of several jobs the last lines are a table: which are
    done, which are not, and why.
    """
    if report is not None:
        _make_room(report)
    if parent is not None:
        end_with(parent)
    options = options_from(settings, state, nodes=nodes, fresh=fresh, break_lock=break_lock, events=events)
    alone = len(jobs) == 1 and parent is None
    each = _Each(options, Registry.installed(), level or "normal", report, jobs, is_alone=alone)
    with stop_on_signals() as stop:
        if len(jobs) > 1 and parallel > 1:
            ended = run_at_once(jobs, parallel, _command(options, level, report), stop)
        else:
            ended = [each.run(job, stop) if not stop.is_set() else Ended(job) for job in jobs]
        reached = [one for one in ended if one.outcome != "not-reached"]
        if as_json:
            # Before signals end us again: without an answer, the job of one of several was not begun.
            print_json({"schema_version": RUN_SCHEMA_VERSION, "runs": [one.document() for one in reached]})
            sys.stdout.flush()
    if len(jobs) > 1:
        print_ended(ended, sys.stderr)
    codes = [one.exit_code for one in ended if one.exit_code is not None]
    raise click.exceptions.Exit(130 if stop.is_set() else of_several(codes))


def _command(options: Options, level: Level | None, report: Path | None) -> tuple[str, ...]:
    """What runs one of several jobs; the job is to follow."""
    return (
        *("run", f"{ONE_OF_SEVERAL}={os.getpid()}", "--json", f"--nodes={options.nodes}"),
        *(f"--set={name}={value}" for name, value in options.overrides.items()),
        *([f"--state={options.state}"] if options.state is not None else []),
        *(["--fresh"] if options.fresh else []),
        *(["--break-lock"] if options.break_lock else []),
        *([f"--events={options.events}"] if options.events is not None else []),
        *([f"--report={report}"] if report is not None else []),
        *([f"--{level}"] if level is not None else []),
        "--",
    )


@dataclass(frozen=True)
class _Each:
    options: Options
    registry: Registry
    level: Level
    report: Path | None
    jobs: tuple[Path, ...]
    is_alone: bool

    def run(self, job: Path, stop: StopRequest) -> Ended:
        """A bug is told with its traceback, and is this job's alone."""
        ended = Ended(job)
        try:
            with Console(self.registry.report, level=self.level) as console:
                result, bug = self._result(job, stop, console)
            if bug is not None:
                traceback.print_exception(bug)
            ended = Ended.of(job, result, console.summary(), self.registry.makes())
            self._report(result, console)
        except SendenseError as error:
            say_error(job, error, self.jobs)
            return ended.but(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs have no part in it
            if (limit := limit_of(error)) is not None:
                say_error(job, limit, self.jobs)
                return ended.but(limit)
            traceback.print_exception(error)
            return ended.but(SendenseError(f"bug: {''.join(traceback.format_exception_only(error)).strip()}"))
        return ended

    def _result(self, job: Path, stop: StopRequest, console: Console) -> tuple[Result, RunBroke | None]:
        try:
            return run_job(job, self.options, stop, [console]), None
        except RunBroke as broke:
            if stop.asked is None:
                stop.clear()  # by which its other nodes were stopped: the next job is to run
            return broke.result, broke

    def _report(self, result: Result, console: Console) -> None:
        """Raises StateError."""
        if self.report is None:
            return
        # Of several jobs each has its own: `result.directory` is that of the run in that of the job.
        name = f"{result.directory.parent.name}-{result.run}"
        directory = self.report if self.is_alone else self.report / name
        # What earlier executions of the run told, the journal alone has.
        told = fold(read_events(result.directory / EVENTS), self.registry.report) if result.told else None
        write_reports(told or console.summary(), directory)


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
