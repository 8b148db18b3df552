"""Commands on repositories: init, points."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runner.cli.options import job_options, json_option, options_from, print_json
from runner.cli.repositories import repositories, site_argument
from runner.console import print_table
from runner.units import human_bytes
from steps.repository import catalogue, marker
from steps.repository.catalogue import Catalogue, Point

POINTS_SCHEMA_VERSION = 1


@click.command()
@site_argument
@job_options
def init(site: Path, settings: tuple[str, ...], state: Path | None) -> None:
    """Make the job's repositories, once.

    One that is there already is left as it is. A run refuses a path that was not made so: an unmounted disk must not fill the root disk.
    """
    with repositories(site, options_from(settings, state)) as places:
        for place in places:
            made = marker.init(place.host, place.path)
            click.echo(f"{place.name}: {place.path} on {place.host.name} is repository {made.uuid}")


@click.command()
@site_argument
@job_options
@json_option
def points(site: Path, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """List the restore points in the job's repositories. What is listed is complete, and verified as far as it says."""
    with repositories(site, options_from(settings, state)) as places:
        catalogues = {place.name: catalogue.read(place.host, place.path) for place in places}
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
