"""sendense verify: restore points at rest."""

from __future__ import annotations

import posixpath
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app import Options, run_job
from runner.cli.options import job_options, options_from
from runner.cli.repositories import find_point, job_for, repositories, repository_option, site_argument
from runner.cli.run import stop_on_signals
from runner.console import Console
from runner.errors import UsageError
from runner.step import Registry
from steps.repository import layout


@click.command()
@site_argument
@click.argument("points", nargs=-1, required=True, metavar="POINT…")
@click.option(
    "--level",
    type=click.Choice(["chain", "sample", "metadata"]),
    default="chain",
    show_default=True,
    help="Every block, a sample of them, or none: tables, chain and digests only.",
)
@click.option("--fresh", is_flag=True, help="Abandon the records of an unfinished verification, and begin anew.")
@repository_option
@job_options
def verify(
    site: Path,
    points: tuple[str, ...],
    level: str,
    fresh: bool,
    repository: str | None,
    settings: tuple[str, ...],
    state: Path | None,
) -> None:
    """Compare restore points with what was read at the source.

    They are read as they lie there. POINT is a restore point's name or the beginning of it, VM/POINT, or its path. The result is recorded beside the manifest;
    a point that differs counts as good no longer (exit code 5).
    """
    options = options_from(settings, state)
    with repositories(site, options, repository) as places:
        found = [find_point(places, point) for point in points]
    names = {place.name for place, _ in found}
    if len(names) > 1:
        raise UsageError(f"these points lie in the repositories {', '.join(sorted(names))}: verify one's at a time")
    paths = sorted({posixpath.relpath(path, place.path) for place, path in found})
    values: dict[str, JsonValue] = {"repository": names.pop(), "points": list(paths), "level": level}
    about = f"{layout.slug_of(posixpath.dirname(paths[0]))}-{posixpath.basename(paths[0])}"
    job = job_for(site, options, "verify", about, values)
    with stop_on_signals() as stop, Console(Registry.installed().findings) as console:
        result = run_job(job, Options(state=state, fresh=fresh), stop, [console])
    raise click.exceptions.Exit(result.exit_code)
