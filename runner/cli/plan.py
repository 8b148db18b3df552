"""sendense plan: what a run would do."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runner.app.comparison import compare, of_deleted
from runner.app.inspection import plan_job
from runner.app.options import Options, read_job
from runner.base.errors import UsageError
from runner.cli.options import (
    job_argument,
    job_options,
    json_option,
    only_option,
    options_from,
    print_json,
    require_set_for,
)
from runner.console import plan_view
from runner.engine.difference import Difference
from runner.engine.plan import Plan
from runner.job.model import Job
from runner.job.versions import VersionError


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
@only_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also save what was decided, for `sendense run --plan FILE`; others cannot read the file.",
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
    only: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    shape: str,
) -> None:
    """Show what `run` would do, and why. Changes nothing, takes no lock, leaves nothing behind.

    Of a set it shows a line for each VM, and what they come to together. Without --offline it logs in to the
    vCenter that the job file names: not for files that are not trusted.
    """
    if out is not None and offline:
        raise UsageError("--offline decides nothing that --out could save")
    options = options_from(settings, state, fresh=fresh)
    found, refusal = _compared(job, options, against)
    read = None if found is not None and found.state == "deleted" else read_job(job, options)
    if read is not None and read.select is not None and not offline:
        from runner.cli.set_plan import show_set

        problems = show_set(read, options, only, found, as_json=as_json, shape=shape, out=out)
    else:
        require_set_for(only, read)
        made = _of_job(read, job, options, found, offline=offline)
        _show(made, as_json=as_json, shape=shape)
        problems = made.problems
        if out is not None and read is not None:
            from runner.app.saved_plan import of_job, save

            save(of_job(read, made), out)
    if refusal is not None:
        raise refusal
    if problems:
        raise click.exceptions.Exit(1)


def _of_job(
    read: Job | None, path: Path, options: Options, found: Difference | None, *, offline: bool
) -> Plan:
    """`read`: None for one that was deleted, as `found` says."""
    if read is None:
        assert found is not None
        return of_deleted(path, found)
    return plan_job(read, options, offline=offline).model_copy(update={"against": found})


def _show(made: Plan, *, as_json: bool, shape: str) -> None:
    if as_json:
        print_json(made.to_json_value())
    elif shape == "md":
        click.echo(plan_view.as_markdown(made))
    elif shape == "mermaid":
        click.echo(plan_view.as_mermaid(made))
    else:
        plan_view.print_text(made, sys.stdout)


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
