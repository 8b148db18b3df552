"""Commands on repositories: init, points."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from runner.app import read_job
from runner.cli.options import job_argument, job_options, json_option, options_from, print_json
from runner.console import print_table
from runner.errors import UsageError
from runner.events import Bus
from runner.hosts import Host
from runner.units import human_bytes
from runner.world import World
from steps.repository import catalogue, marker
from steps.repository.catalogue import Catalogue, Point
from steps.repository.section import Repository

POINTS_SCHEMA_VERSION = 1


@click.command()
@job_argument
@job_options
def init(job: Path, settings: tuple[str, ...], state: Path | None) -> None:
    """Make the job's repositories, once.

    One that is there already is left as it is. A run refuses a path that was not made so: an unmounted disk must not fill the root disk.
    """
    with _repositories(job, settings, state) as found:
        for name, host, path in found:
            made = marker.init(host, path)
            click.echo(f"{name}: {path} on {host.name} is repository {made.uuid}")


@click.command()
@job_argument
@job_options
@json_option
def points(job: Path, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """List the restore points in the job's repositories. What is listed is complete, and verified as far as it says."""
    with _repositories(job, settings, state) as found:
        catalogues = {name: catalogue.read(host, path) for name, host, path in found}
    if as_json:
        print_json(
            {
                "schema_version": POINTS_SCHEMA_VERSION,
                "repositories": [{"name": name, **listed.to_json_value()} for name, listed in catalogues.items()],
            }
        )
        return
    for name, listed in catalogues.items():
        _show(name, listed)


@contextmanager
def _repositories(job: Path, settings: tuple[str, ...], state: Path | None) -> Iterator[list[tuple[str, Host, str]]]:
    """Name, host and path of each; the hosts are good until the block is left."""
    read = read_job(job, options_from(settings, state))
    sections = read.sections.get("repositories", {})
    if not sections:
        raise UsageError(f"{job} names no repositories; add `repositories: {{main: {{host: …, path: …}}}}`")
    with (
        tempfile.TemporaryDirectory(prefix="sendense-") as scratch,
        World(read, Bus(), threading.Event(), Path(scratch)) as world,
    ):
        entries = [(name, entry) for name, entry in sections.items() if isinstance(entry, Repository)]
        yield [(name, world.host(entry.host), entry.path) for name, entry in entries]


def _show(name: str, listed: Catalogue) -> None:
    where = f"{listed.repository} on {listed.host}"
    if listed.points:
        columns = ("VM", "point", "kind", "disks", "size", "data", "verified", "quiesced")
        print_table(f"{name}: {where}", columns, [_row(point) for point in listed.points], stream=sys.stdout)
    else:
        click.echo(f"{name}: {where} has no restore points yet")
    for point in listed.points:
        for note in point.notes:
            print(f"{point.vm} {point.point}: {note}", file=sys.stderr)
    if listed.skipped:
        rows = [(skipped.path, skipped.why) for skipped in listed.skipped]
        print_table("Not listed", ("path", "why"), rows, stream=sys.stderr)
    if listed.unfinished:
        print_table("Unfinished", ("path",), [(path,) for path in listed.unfinished], stream=sys.stderr)


def _row(point: Point) -> tuple[str, ...]:
    verified = {"full": "every block", "sample": "a sample", "metadata": "tables only"}[point.level]
    return (
        point.vm,
        point.point,
        point.kind,
        str(point.disks),
        human_bytes(point.capacity),
        human_bytes(point.data),
        f"{verified} (last good)" if point.last_good else verified,
        point.quiesced,
    )
