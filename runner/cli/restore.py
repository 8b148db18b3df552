"""sendense restore: the disks of a restore point, as files."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Collection
from pathlib import Path

import click
from pydantic import JsonValue

from runner import plan_view
from runner.app import Options, plan_job, read_job, run_job
from runner.cli.options import job_options, options_from, typed
from runner.cli.repositories import find_point, job_for, repositories, repository_option, site_argument
from runner.cli.run import stop_on_signals
from runner.console import Console
from runner.errors import UsageError
from runner.job_model import LOCAL
from runner.step import Registry
from steps import stored
from steps.repository import layout

point_argument = click.argument("point")
disk_option = click.option(
    "--disk", "disks", type=int, multiple=True, metavar="KEY", help="Only this disk; repeatable."
)


@click.command()
@site_argument
@point_argument
@click.option("--to", "place", required=True, metavar="DIR|HOST:DIR", help="Where to; HOST is one of the job's.")
@disk_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["qcow2", "raw", "vmdk", "vmdk-stream"]),
    default="qcow2",
    show_default=True,
    help="vmdk-stream is what an OVA holds.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there, once the new ones are verified.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--fresh", is_flag=True, help="Abandon what an unfinished restore has so far, and begin anew.")
@repository_option
@job_options
def restore(
    site: Path,
    point: str,
    place: str,
    disks: tuple[int, ...],
    form: str,
    overwrite: bool,
    only_plan: bool,
    fresh: bool,
    repository: str | None,
    settings: tuple[str, ...],
    state: Path | None,
) -> None:
    """Restore the disks of POINT as files.

    POINT is a restore point's name or the beginning of it, VM/POINT, or its path. What is restored is read back and compared with
    what was read at the source; no file has its final name before. After a failure the same command goes on.
    """
    options = options_from(settings, state)
    host, directory = destination(place, read_job(site, options, part=True).hosts)
    with repositories(site, options, repository) as places:
        found, path = find_point(places, point)
        stored.refuse_unknown_disks(found.host, path, disks)
    values: dict[str, JsonValue] = {
        "repository": found.name,
        "point": path,
        "disks": list(disks),
        "host": host,
        "directory": directory,
        "format": form,
        "overwrite": overwrite,
    }
    about = f"{layout.slug_of(posixpath.dirname(path))}-{posixpath.basename(path)}"
    job = job_for(site, options, "restore", about, values, free=("overwrite",))
    own = Options(state=state, fresh=fresh, typed=typed())
    if only_plan:
        made = plan_job(job, own, offline=False)
        plan_view.print_text(made, sys.stdout)
        raise click.exceptions.Exit(1 if made.problems else 0)
    with stop_on_signals() as stop, Console(Registry.installed().findings) as console:
        result = run_job(job, own, stop, [console])
    raise click.exceptions.Exit(result.exit_code)


def destination(place: str, hosts: Collection[str]) -> tuple[str, str]:
    """The host and the absolute directory that ``DIR`` or ``HOST:DIR`` mean. Raises UsageError."""
    host, colon, directory = place.partition(":")
    if not colon or place.startswith(("/", ".")):
        host, directory = LOCAL, place
    if host not in hosts:
        known = ", ".join(hosts)
        raise UsageError(
            f"--to {place}: the job has no host '{host}'; it has {known}; write ./{place} for a directory here"
        )
    if host == LOCAL:
        return host, str(Path(directory).resolve())
    if not directory.startswith("/"):
        raise UsageError(f"--to {place}: write an absolute path on {host}, {host}:/{directory}")
    return host, directory
