"""sendense coverage: which VMs are backed up by which job, and how old their newest good points are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from runner.base.errors import UsageError
from runner.cli.options import json_option, overrides_of, print_json, set_option
from runner.hosts.connect import OpenHosts
from runner.job.versions import version_of
from runner.step.registry import Registry
from steps.commands.asked import tell_warning
from steps.coverage import comparison, reading, view
from steps.coverage.comparison import Comparison, Side
from steps.coverage.document import Coverage
from steps.coverage.judgement import judge
from steps.coverage.reading import Read
from steps.coverage.survey import Survey
from steps.metrics import of_coverage


@click.command()
@click.argument("site", metavar="SITE", type=click.Path(path_type=Path))
@click.argument("jobs", nargs=-1, required=True, metavar="JOB…", type=click.Path(path_type=Path))
@click.option(
    "--against",
    metavar="REF",
    help="Say what a change of the job files takes out of every job, and what it adds: against a git branch, "
    "tag or commit, or a directory.",
)
@set_option("Set a variable of every job that has it; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="List every VM, not only those to look at.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "md", "html"]),
    default="text",
    show_default=True,
    help="For a person, a merge request, or a browser.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write metrics of every VM into this file, for node_exporter's textfile collector.",
)
@json_option
def coverage(
    site: Path,
    jobs: tuple[Path, ...],
    against: str | None,
    settings: tuple[str, ...],
    everything: bool,
    shape: str,
    metrics: Path | None,
    as_json: bool,
) -> None:
    """Show which VMs are backed up, and how old their points are.

    Looks at every VM of SITE's vCenters, whether a job names it or not. JOB is a job file, or a directory of
    them. What counts is what the repositories hold now. Exit code 6: a VM is in no job and not excused by the
    site's `unprotected:`, has no good point, one older than its `rpo:`, or a copy that is overdue; 1: not all
    could be read.
    """
    if against is not None and shape == "html":
        raise UsageError("--against is for a terminal or a merge request: use --format md, or --json")
    if against is not None and metrics is not None:
        raise UsageError(
            "--against says what a change would do: metrics are of what is; leave out one of them"
        )
    registry, overrides = Registry.installed(), overrides_of(settings)
    if against is None:
        read = reading.read(site, jobs, registry, overrides)
        reading.refuse_unused(overrides, [read])
        found: Coverage | Comparison = _covered(site, read)
    else:
        found = _compared(site, jobs, against, registry, overrides)
    if as_json:
        print_json({**found.to_json_value(), "exit_code": found.exit_code})
    elif isinstance(found, Comparison):
        _show_comparison(found, shape, everything=everything)
    else:
        _show(found, shape, everything=everything)
    if isinstance(found, Coverage) and metrics is not None:
        of_coverage.write(found, metrics)
    raise click.exceptions.Exit(found.exit_code)


def _covered(site: Path, read: Read) -> Coverage:
    with OpenHosts() as hosts, Survey([read], tell_warning, hosts) as survey:
        return judge(survey.seen(read), read.site.unprotected, str(site), datetime.now(UTC))


def _compared(
    site: Path, jobs: Sequence[Path], against: str, registry: Registry, settings: Mapping[str, str]
) -> Comparison:
    """Raises VersionError where there is nothing to compare with."""
    version = version_of(site, against)
    before = reading.read_at(site, jobs, registry, version, settings)
    now = reading.read(site, [job for job in jobs if job.exists()], registry, settings)
    reads = [before, now]
    reading.refuse_unused(settings, reads)
    with OpenHosts() as hosts, Survey(reads, tell_warning, hosts) as survey:
        sides = [Side(survey.seen(read), read.site.unprotected) for read in reads]
    then, here = ({job.file for job in read.all_jobs} for read in reads)
    made = Comparison(
        site=str(site),
        against=against,
        vms=0,
        changes=(),
        deleted=tuple(sorted(then - here)),
        added=tuple(sorted(here - then)),
        unread=tuple(dict.fromkeys(text for side in sides for text in side.seen.unread)),
        notes=tuple(text for text in sides[1].seen.notes if text not in sides[0].seen.notes),
    )
    return comparison.compared(sides[0], sides[1], made)


def _show(found: Coverage, shape: str, *, everything: bool) -> None:
    if shape == "md":
        click.echo(view.as_markdown(found), nl=False)
    elif shape == "html":
        click.echo(view.as_html(found), nl=False)
    else:
        view.print_text(found, sys.stdout, everything=everything)


def _show_comparison(found: Comparison, shape: str, *, everything: bool) -> None:
    if shape == "md":
        click.echo(comparison.as_markdown(found), nl=False)
    else:
        comparison.print_text(found, sys.stdout, everything=everything)
