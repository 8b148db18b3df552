"""Commands that look at job files alone: validate, render, schema."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from runner.app.options import Options, read_job
from runner.base.errors import JobFileError, Problem, UsageError
from runner.base.units import counted
from runner.cli.options import (
    job_argument,
    job_options,
    jobs_argument,
    json_option,
    only_option,
    options_from,
    print_json,
    require_set_for,
)
from runner.job.children import child
from runner.job.model import Job
from runner.job.schema import job_schema
from runner.job.writer import write_out, written
from runner.step.registry import Registry

VALIDATE_SCHEMA_VERSION = 1
RENDER_SCHEMA_VERSION = 1


@click.command()
@jobs_argument
@job_options
@json_option
def validate(jobs: tuple[Path, ...], settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Check job files, and show all mistakes at once.

    Each mistake has its file, line and column. Nothing but the files is read.
    """
    registry = Registry.installed()
    problems: list[Problem] = []
    good: list[dict[str, Any]] = []
    for path in jobs:
        try:
            job = read_job(path, options_from(settings, state), registry)
            good.append(
                {
                    "file": str(path),
                    "job": job.name,
                    "steps": len(job.steps),
                    "set": job.select is not None,
                    "notes": [asdict(note) for note in job.notes],
                }
            )
            steps = counted(len(job.steps), "step")
            if (select := job.select) is not None:
                steps = f"a set: {steps} for each {registry.sections[select.section].noun}"
            print(f"{path}: {job.name}: {steps}, no problems", file=sys.stderr)
            if job.schedule is not None:
                print(f"{path}: due {job.schedule.sentence(datetime.now(UTC))}", file=sys.stderr)
            for note in job.notes:
                print(f"note: {note}", file=sys.stderr)
        except JobFileError as error:
            problems.extend(error.problems)
    problems = list(dict.fromkeys(problems))  # of a part that several include, each once
    if as_json:
        found = [asdict(problem) for problem in problems]
        print_json({"schema_version": VALIDATE_SCHEMA_VERSION, "jobs": good, "problems": found})
    if problems:
        raise JobFileError(problems)


@click.command()
@job_argument
@job_options
@only_option
@json_option
def render(
    job: Path, settings: tuple[str, ...], state: Path | None, only: tuple[str, ...], as_json: bool
) -> None:
    """Print a job written out.

    Its template is rendered, what it includes is merged, vars are set. Of a set, the job of one VM with
    --only, which logs in to the vCenter: not for files that are not trusted.
    """
    options = options_from(settings, state)
    read = read_job(job, options)
    require_set_for(only, read)
    if only:
        read = _one_of(read, options, only)
    if as_json:
        print_json({"schema_version": RENDER_SCHEMA_VERSION, "job": written(read)})
    else:
        click.echo(write_out(read), nl=False)


def _one_of(job: Job, options: Options, only: tuple[str, ...]) -> Job:
    from runner.app.selecting import select

    found = select(job, options, only).wanted
    if len(found) != 1:
        raise UsageError(f"--only names {len(found)} VMs, and one job is written out: name one")
    return child(job, found[0])


@click.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors.

    A job's first line then reads `# yaml-language-server: $schema=FILE`.
    """
    print_json(job_schema(Registry.installed()))
