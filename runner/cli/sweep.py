"""sendense sweep: releases what unfinished runs hold and may hold no longer."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from runner.app.options import Options
from runner.app.sweep import abandon_run, sweep_job, sweep_orphans
from runner.base.errors import SendenseError
from runner.cli.job_results import say_error
from runner.cli.options import job_options, jobs_argument, json_option, options_from, print_json
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.console.listener import Console
from runner.events.outcomes import of_several
from runner.step.registry import Registry

SWEEP_SCHEMA_VERSION = 1

STOPPING = "what is not released yet is left to the next sweep"


@click.command(cls=Work)
@jobs_argument
@job_options
@click.option(
    "--abandon",
    metavar="RUN",
    help="Discard this unfinished run and release all it holds: snapshot, partial point, records.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be released; change nothing, take no lock.")
@click.option(
    "--orphans",
    is_flag=True,
    help=(
        "Also release what runs left behind whose records are lost, if they used a repository of the job "
        "and their VM is not locked."
    ),
)
@json_option
def sweep(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    abandon: str | None,
    dry_run: bool,
    orphans: bool,
    as_json: bool,
) -> None:
    """Release what unfinished runs hold and may hold no longer.

    This covers snapshots past their `hold` and what dead runs left on the job's hosts; with --abandon,
    everything that one run holds. An unfinished point with copied data is not garbage: it stays until its run
    completes or is discarded."""
    if abandon is not None and (dry_run or orphans):
        raise click.UsageError("--abandon discards one run: leave out --dry-run and --orphans")
    if abandon is not None and len(jobs) > 1:
        raise click.UsageError("--abandon discards one run: name its job only")
    options = options_from(settings, state)
    if abandon is not None:
        with stop_on_signals(STOPPING) as stop, Console(Registry.installed().report) as console:
            abandon_run(jobs[0], abandon, options, [console], stop=stop)
        print(f"run {abandon} was discarded; all it held is released", file=sys.stderr)
        if as_json:
            print_json({"schema_version": SWEEP_SCHEMA_VERSION, "abandoned": abandon})
        return
    codes, told = [], list[dict[str, Any]]()
    # A dry run is read-only: it may die by the signal.
    with nullcontext(StopRequest()) if dry_run else stop_on_signals(STOPPING) as stop:
        for job in jobs:
            if stop.is_set():
                print(f"sendense: {job}: not swept", file=sys.stderr)
                continue
            whose = f"{job}: " if len(jobs) > 1 else ""
            try:
                answer = _sweep(job, options, whose, stop, dry_run=dry_run, orphans=orphans)
                told.append({"file": str(job), **answer})
                codes.append(1 if answer["unknown"] else 0)
            except SendenseError as error:
                say_error(job, error, jobs)
                told.append({"file": str(job), "error": error.message})
                codes.append(error.exit_code)
    if as_json:
        print_json({"schema_version": SWEEP_SCHEMA_VERSION, "dry_run": dry_run, "jobs": told})
    raise click.exceptions.Exit(130 if stop.is_set() else of_several(codes))


def _sweep(
    job: Path, options: Options, whose: str, stop: threading.Event, *, dry_run: bool, orphans: bool
) -> dict[str, Any]:
    """`whose`: the job's file, where it is one of several. What was, or would be, released and what is held,
    for JSON."""
    done = "would be released:" if dry_run else "released"
    with Console(Registry.installed().report) as console:
        released, holding, unknown = sweep_job(job, options, [console], dry_run=dry_run, stop=stop)
        swept = sweep_orphans(job, options, dry_run=dry_run, stop=stop) if orphans else None
    for what in (*released, *(swept.released if swept else ())):
        print(f"{whose}{done} {what}", file=sys.stderr)
    for what in swept.stays if swept else ():
        print(f"{whose}stays: {what}", file=sys.stderr)
    for run, holds in holding.items():
        if not holds:
            print(f"{whose}run {run} is unfinished and holds nothing", file=sys.stderr)
            continue
        way = f"run the job again to resume it, or discard it with --abandon {run}"
        print(f"{whose}run {run} is unfinished: {way}; it holds:", file=sys.stderr)
        for hold in holds:
            print(f"  {hold.what}", file=sys.stderr)
    if unknown:
        print(
            f"{whose}what {' and '.join(unknown)} hold{'s' if len(unknown) == 1 else ''} could not be "
            "read, see above",
            file=sys.stderr,
        )
    elif not released and not holding:
        print(f"{whose}no unfinished run holds anything", file=sys.stderr)
    return {
        "released": [*released, *(swept.released if swept else ())],
        "stays": list(swept.stays if swept else ()),
        "unknown": list(unknown),
        "unfinished": {run: [hold.what for hold in holds] for run, holds in holding.items()},
    }
