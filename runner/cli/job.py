"""Commands on a job file: validate, plan, render, schema."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from runner.app import Options, compare, of_deleted, plan_job, read_job
from runner.base.errors import JobFileError, Problem
from runner.cli.options import job_argument, job_options, jobs_argument, json_option, options_from, print_json
from runner.console import plan_view
from runner.engine.difference import Difference
from runner.job.schema import job_schema
from runner.job.versions import VersionError
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
            good.append({"file": str(path), "job": job.name, "steps": len(job.steps)})
            print(f"{path}: {job.name}: {len(job.steps)} steps, no problems", file=sys.stderr)
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
@click.option(
    "--offline",
    is_flag=True,
    help=("Read only the job file, connect to nothing: for branches that are not trusted."),
)
@click.option("--fresh", is_flag=True, help="Plan as if there were no unfinished run.")
@click.option(
    "--against",
    metavar="REF",
    help="Show how the job differs from another version of its files: a git branch, tag or commit, or a "
    "file or directory.",
)
@json_option
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "md", "mermaid"]),
    default="text",
    show_default=True,
    help="For a person, a merge request, or a picture of the graph.",
)
def plan(
    job: Path,
    settings: tuple[str, ...],
    state: Path | None,
    offline: bool,
    fresh: bool,
    against: str | None,
    as_json: bool,
    shape: str,
) -> None:
    """Show what `run` would do, and why. Changes nothing, takes no lock, leaves nothing behind.

    Without --offline it logs in to the vCenter that the job file names: not for files that are not trusted.
    """
    options = options_from(settings, state, fresh=fresh)
    found, refusal = _compared(job, options, against)
    if found is not None and found.state == "deleted":
        made = of_deleted(job, found)
    else:
        made = plan_job(job, options, offline=offline).model_copy(update={"against": found})
    if as_json:
        print_json(made.to_json_value())
    elif shape == "md":
        click.echo(plan_view.as_markdown(made))
    elif shape == "mermaid":
        click.echo(plan_view.as_mermaid(made))
    else:
        plan_view.print_text(made, sys.stdout)
    if refusal is not None:
        raise refusal
    if made.problems:
        raise click.exceptions.Exit(1)


def _compared(
    job: Path, options: Options, against: str | None
) -> tuple[Difference | None, VersionError | None]:
    """The difference, or why there is none: the plan is shown all the same."""
    try:
        return (None, None) if against is None else (compare(job, options, against), None)
    except VersionError as error:
        if not job.exists():
            raise
        return None, error


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
