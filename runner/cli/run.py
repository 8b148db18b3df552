"""The command that makes runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from runner.app import DEFAULT_JOBS, EVENTS, Result, RunBroke, run_job
from runner.cli.options import job_options, jobs_argument, json_option, options_from, print_json
from runner.console import Console, Level
from runner.errors import SendenseError, UsageError
from runner.journal import read_events
from runner.report import write_reports
from runner.step import Registry

RUN_SCHEMA_VERSION = 1


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM asks the run to stop cleanly; a second one leaves the rest to the next run."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()
        os.write(2, b"\nstopping: what runs is closed, what is done is kept; once more to leave at once\n")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command()
@jobs_argument
@job_options
@click.option(
    "--jobs", "parallel", type=click.IntRange(1, 64), default=DEFAULT_JOBS, show_default=True, help="Nodes at once."
)
@click.option("--fresh", is_flag=True, help="Abandon the job's unfinished run, if there is one, and begin anew.")
@click.option(
    "--break-lock",
    is_flag=True,
    help="End the session of the run that holds the job's or the VM's lock, and its exporters on that host.",
)
@click.option("--events", type=click.Path(path_type=Path, dir_okay=False), help="Also append the events to this file.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Write reports into this directory.")
@click.option("-q", "--quiet", "level", flag_value="quiet", help="Show only failures, warnings and the end.")
@click.option("-v", "--verbose", "level", flag_value="verbose", help="Show every event, a line each.")
@json_option
def run(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    parallel: int,
    fresh: bool,
    break_lock: bool,
    events: Path | None,
    report: Path | None,
    level: Level | None,
    as_json: bool,
) -> None:
    """Run jobs, each to its end; resume a job's unfinished run."""
    options = options_from(settings, state, jobs=parallel, fresh=fresh, break_lock=break_lock, events=events)
    registry = Registry.installed()
    document: list[dict[str, Any]] = []
    codes: list[int] = []
    with stop_on_signals() as stop:
        for job in jobs:
            if stop.is_set():
                break
            told: dict[str, Any] = {"file": str(job)}
            document.append(told)
            try:
                with Console(registry.findings, level=level or "normal") as console:
                    result = run_job(job, options, stop, [console])
                told |= {"job": result.job.name, "run": result.run, "exit_code": result.exit_code}
                if report is not None:
                    _report(result, report / result.run if len(jobs) > 1 else report, registry)
            except RunBroke as broke:
                if report is not None:
                    _report(broke.result, report / broke.result.run if len(jobs) > 1 else report, registry)
                raise
            except SendenseError as error:
                print(f"sendense: {error}", file=sys.stderr)
                # A run that failed keeps its code, though its report failed too.
                told |= {"exit_code": told.get("exit_code") or error.exit_code, "error": str(error)}
            codes.append(told["exit_code"])
    if as_json:
        print_json({"schema_version": RUN_SCHEMA_VERSION, "runs": document})
    raise click.exceptions.Exit(_exit_code(codes, interrupted=stop.is_set()))


def _report(result: Result, directory: Path, registry: Registry) -> None:
    try:
        write_reports(read_events(result.directory / EVENTS), directory, registry.findings)
    except OSError as error:
        raise UsageError(f"reports cannot be written into {directory}: {error.strerror}") from error


def _exit_code(codes: list[int], *, interrupted: bool) -> int:
    """One job's code is the code; of several that differ, 4 says that some were done and some not."""
    if interrupted:
        return 130
    if len(set(codes)) == 1:
        return codes[0]
    return 4 if 0 in codes else next(code for code in (5, 3, 1, 2) if code in codes)
