"""sendense copy: restore points, into another repository."""

from __future__ import annotations

import posixpath
import sys
from dataclasses import replace

import click
from pydantic import JsonValue

from runner.app.inspection import plan_job
from runner.base.errors import UsageError
from runner.base.suggestion import did_you_mean
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.console import plan_view
from runner.job.model import Job
from steps.commands import command_jobs, scope
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import all_vms_option, find_first_point, one
from steps.copying.copy_points import CopyPoints
from steps.points.place import Place
from steps.repository import layout
from steps.repository.naming import Names

COPY_SCHEMA_VERSION = 1


@click.command(cls=Work)
@site_argument
@click.argument("point", required=False)
@click.option("--to", metavar="NAME", required=True, help="The repository of the job that is to have copies.")
@click.option("--compress", type=click.Choice(["zstd"]), help="Compress the images of the copies.")
@click.option(
    "--flatten",
    type=click.Choice(["daily", "weekly", "monthly"]),
    help="Let the first copy of each day, week or month have no backing file.",
)
@all_vms_option
@click.option("--dry-run", is_flag=True, help="Show what would be copied; change nothing.")
@on_repositories
def copy(
    asked: Asked,
    point: str | None,
    to: str,
    compress: str | None,
    flatten: str | None,
    all_vms: bool,
    dry_run: bool,
) -> None:
    """Copy restore points into another repository.

    Of JOB's VM, or of all VMs if JOB is a site: the good points that are newer than the newest copy there, or
    POINT alone. They come from --repository, or from the one that the job writes into. Every block is
    compared with what was read at the source, and read back. After a failure the same command resumes.
    """
    job = asked.job
    source = _source(asked, to)
    with replace(asked, repository=source).places() as places:
        place = one(places)
        path = None if point is None else find_first_point(job, [place], point)[1]
        vms = () if path is not None else _vms(job, place, all_vms=all_vms)
    form: dict[str, JsonValue] = {"compress": compress, "flatten": flatten}
    values: dict[str, JsonValue] = {"repository": source, "to": to, "vms": list(vms), "point": path, **form}
    about = to if path is None else f"{layout.slug_of(posixpath.dirname(path))}-{posixpath.basename(path)}"
    file = command_jobs.job_for(asked, "copy", about, values)
    own = asked.of_run(fresh=False)
    if dry_run:
        plan = plan_job(file, own, offline=False)
        if asked.as_json:
            print_json(plan.to_json_value())
        else:
            plan_view.print_text(plan, sys.stdout)
        raise click.exceptions.Exit(1 if plan.problems else 0)
    result, summary = command_jobs.run_made(file, own)
    if asked.as_json:
        copied = command_jobs.outputs(summary, CopyPoints.name)
        print_json(
            {**command_jobs.document(COPY_SCHEMA_VERSION, result, summary), "to": to, "vms": list(copied)}
        )
    raise click.exceptions.Exit(result.exit_code)


def _source(asked: Asked, to: str) -> str:
    """The job's name of the repository that is copied from. Raises UsageError."""
    known = list(asked.job.sections.get("repositories", {}))
    if to not in known:
        hint = did_you_mean(to, known) or f"; it has {', '.join(known)}"
        raise UsageError(f"--to {to}: {asked.site} has no repository {to!r}{hint}")
    if asked.repository is not None:
        return asked.repository
    written = asked.job.vars.get("repository")
    if isinstance(written, str) and written in known and written != to:
        return written
    others = [name for name in known if name != to]
    if len(others) != 1:
        raise UsageError(
            f"{asked.site} has the repositories {', '.join(known)}: add --repository NAME, the one whose "
            "points are copied"
        )
    return others[0]


def _vms(job: Job, place: Place, *, all_vms: bool) -> tuple[str, ...]:
    """Instance uuids; none: all VMs."""
    if all_vms or (job.select is None and scope.named(job).everything):
        return ()
    found = scope.chosen(job, Names.read(place.host, place.path), (), all_vms=False)
    return tuple(vm.uuid for vm in found)
