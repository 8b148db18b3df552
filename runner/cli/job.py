"""Commands that look at job files alone: validate, render, schema."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from runner.app.options import read_job
from runner.base.errors import JobFileError, Problem
from runner.cli.options import job_argument, job_options, jobs_argument, json_option, options_from, print_json
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
    good: list[dict[str, str | int]] = []
    for path in jobs:
        try:
            job = read_job(path, options_from(settings, state), registry)
            good.append(
                {"file": str(path), "job": job.name, "steps": len(job.steps), "set": job.select is not None}
            )
            steps = f"{len(job.steps)} steps"
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
@json_option
def render(job: Path, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Print a job written out.

    Its template is rendered, what it includes is merged, vars are set.
    """
    read = read_job(job, options_from(settings, state))
    if as_json:
        print_json({"schema_version": RENDER_SCHEMA_VERSION, "job": written(read)})
    else:
        click.echo(write_out(read), nl=False)


@click.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors.

    A job's first line then reads `# yaml-language-server: $schema=FILE`.
    """
    print_json(job_schema(Registry.installed()))
