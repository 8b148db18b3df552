"""sendense verify: restore points at rest."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app import Options, read_job, run_job
from runner.cli.options import job_options, options_from, typed
from runner.cli.repositories import find_point, job_for, repositories, repository_option, site_argument
from runner.cli.run import stop_on_signals
from runner.console import Console
from runner.errors import UsageError
from runner.job_model import Job
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
@click.option(
    "--against-source",
    is_flag=True,
    help="Also read from a new snapshot what the VM did not write since, and compare.",
)
@click.option("--fresh", is_flag=True, help="Abandon the records of an unfinished verification, and begin anew.")
@repository_option
@job_options
def verify(
    site: Path,
    points: tuple[str, ...],
    level: str,
    against_source: bool,
    fresh: bool,
    repository: str | None,
    settings: tuple[str, ...],
    state: Path | None,
) -> None:
    """Compare restore points with what was read at the source.

    They are read as they lie there. POINT is a restore point's name or the beginning of it, VM/POINT, or its path. The result is recorded beside the manifest;
    a point that differs counts as good no longer (exit code 5). With --against-source, JOB is best the VM's backup job: its
    variables say which vCenter has the VM, and from where it is read.
    """
    options = options_from(settings, state)
    with repositories(site, options, repository) as places:
        found = [find_point(places, point) for point in points]
    names = {place.name for place, _ in found}
    if len(names) > 1:
        raise UsageError(f"these points lie in the repositories {', '.join(sorted(names))}: verify one's at a time")
    paths = sorted({posixpath.relpath(path, place.path) for place, path in found})
    values: dict[str, JsonValue] = {"repository": names.pop(), "points": list(paths), "level": level}
    if against_source:
        values |= _with_vm(read_job(site, options, part=True), paths)
    about = f"{layout.slug_of(posixpath.dirname(paths[0]))}-{posixpath.basename(paths[0])}"
    job = job_for(site, options, "verify", about, values)
    with stop_on_signals() as stop, Console(Registry.installed().findings) as console:
        result = run_job(job, Options(state=state, fresh=fresh, typed=typed()), stop, [console])
    raise click.exceptions.Exit(result.exit_code)


_HOW_IT_IS_READ = (
    "vcenter",
    "node",
    "connections",
    "transport",
    "vddk_libdir",
    "vddk_plugin",
    "vddk_transports",
    "vddk_compression",
)
"""Variables that the templates backup and verify share."""


def _with_vm(job: Job, points: Sequence[str]) -> dict[str, JsonValue]:
    """Variables of the template for a comparison with the VM of `points` (paths in a repository). Raises UsageError."""
    directories = {posixpath.dirname(point) for point in points}
    if len(directories) > 1:
        raise UsageError(f"these points are of {len(directories)} VMs: verify one VM's at a time against the source")
    vcenters = list(job.sections.get("vcenters", {}))
    if "vcenter" not in job.vars and len(vcenters) != 1:
        raise UsageError(
            f"{job.file} does not say which vCenter has the VM: name the VM's backup job, or a site with one vCenter"
        )
    uuid = layout.uuid_of_vm_directory(directories.pop())
    known: dict[str, JsonValue] = {"vcenter": vcenters[0]} if len(vcenters) == 1 else {}
    told = {name: job.vars[name] for name in _HOW_IT_IS_READ if name in job.vars}
    return {"against_source": True, "vm": uuid, **known, **told}
