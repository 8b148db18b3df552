"""sendense restore: the disks of a restore point, as files."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app.inspection import plan_job
from runner.base.errors import UsageError
from runner.cli.options import print_json, renamed_option
from runner.cli.work import Work
from runner.console import plan_view
from runner.events.summary import RunSummary
from runner.job.model import LOCAL
from steps.commands import command_jobs, consent
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import accept_option, disk_option, find_point, point_argument
from steps.points import stored
from steps.repository import layout, standing
from steps.repository.lookup import LATEST
from steps.repository.standing import Standing
from steps.restore.finalize_restore import FinalizeRestore

RESTORE_SCHEMA_VERSION = 1


@click.command(cls=Work)
@site_argument
@point_argument
@click.option(
    "--to",
    "place",
    required=True,
    metavar="DIR|HOST:DIR",
    help=("Where to write the files; HOST is a host of the job."),
)
@disk_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["qcow2", "raw", "vmdk", "vmdk-stream"]),
    default="qcow2",
    show_default=True,
    help="The format; vmdk-stream is the one in an OVA.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files, once the new ones are verified.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@renamed_option("--plan", "--dry-run", is_flag=True)
@click.option("--fresh", is_flag=True, help="Discard an unfinished restore, and start over.")
@accept_option
@on_repositories
def restore(
    asked: Asked,
    point: str,
    place: str,
    disks: tuple[int, ...],
    form: str,
    overwrite: bool,
    dry_run: bool,
    fresh: bool,
    accept_suspect: bool,
) -> None:
    """Restore the disks of POINT as files.

    POINT is a restore point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or
    latest where there is one VM, is the newest good point. What is restored is read back and compared with
    what was read at the source; no file gets its final name before. After a failure the same command resumes.
    """
    job = asked.job
    host, directory = destination(place, job.hosts)
    with asked.places() as places:
        found, path = find_point(job, places, point)
        stored.refuse_unknown_disks(found.host, path, disks)
        known = standing.read(found.host, path, disks)
    suspect = not dry_run and consent.accept_suspect(known, "Restore it anyway?", given=accept_suspect)
    values: dict[str, JsonValue] = {
        "repository": found.name,
        "point": path,
        "disks": list(disks),
        "host": host,
        "directory": directory,
        "format": form,
        "overwrite": overwrite,
        "accept_suspect": suspect or accept_suspect,
    }
    file = _job_for(asked, point, path, values, fresh=fresh)
    own = asked.of_run(fresh=fresh)
    if dry_run:
        plan = plan_job(file, own, offline=False)
        if asked.as_json:
            print_json(plan.to_json_value())
        else:
            plan_view.print_text(plan, sys.stdout)
        raise click.exceptions.Exit(1 if plan.problems else 0)
    result, summary = command_jobs.run_made(file, own)
    if asked.as_json:
        told = command_jobs.document(RESTORE_SCHEMA_VERSION, result, summary)
        print_json({**told, **_document(known, path, host, summary)})
    raise click.exceptions.Exit(result.exit_code)


def _job_for(asked: Asked, point: str, path: str, values: Mapping[str, JsonValue], *, fresh: bool) -> Path:
    """Of the point at `path`, which was asked for as `point`."""
    directory, name = posixpath.split(path)
    vm = layout.slug_of(directory)
    free = ("overwrite", "accept_suspect")
    if name.startswith(posixpath.basename(point.rstrip("/"))):
        return command_jobs.job_for(asked, "restore", f"{vm}-{name}", values, free)
    # The newest is another one tomorrow: what is unfinished keeps the point that it began with.
    told: list[JsonValue] = [asked.job.file, directory, point]
    about = f"{vm}-{LATEST}"
    return command_jobs.job_for(asked, "restore", about, values, (*free, "point"), typed_as=told, fresh=fresh)


def _document(known: Standing, path: str, host: str, summary: RunSummary) -> dict[str, JsonValue]:
    files = (
        file
        for out in command_jobs.outputs(summary, FinalizeRestore.name)
        for file in command_jobs.texts(out["files"])
    )
    return {
        "vm": known.vm,
        "point": known.point,
        "path": path,
        "doubts": list(known.doubts),
        "host": host,
        "files": list(files),
    }


def destination(place: str, hosts: Collection[str]) -> tuple[str, str]:
    """The host and the absolute directory that ``DIR`` or ``HOST:DIR`` mean. Raises UsageError."""
    host, colon, directory = place.partition(":")
    if not colon or place.startswith(("/", ".")):
        host, directory = LOCAL, place
    if host not in hosts:
        known = ", ".join(hosts)
        raise UsageError(
            f"--to {place}: the job has no host '{host}'; it has {known}; write ./{place} for a directory "
            "on this machine"
        )
    if host == LOCAL:
        return host, str(Path(directory).resolve())
    if not directory.startswith("/"):
        raise UsageError(f"--to {place}: write an absolute path on {host}, {host}:/{directory}")
    return host, directory
