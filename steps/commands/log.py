"""sendense log: who did what to which restore points."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Sequence

import click
from pydantic import JsonValue

from runner.base.printable import printable
from runner.cli.options import print_json
from runner.console.tables import print_table
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.points.place import Place
from steps.repository import layout, marker, reader
from steps.trail import comparison, reading
from steps.trail.entry import Entry
from steps.trail.reading import Trail

LOG_SCHEMA_VERSION = 1

NEWEST = 50


@click.command()
@site_argument
@click.argument("vms", nargs=-1, metavar="[VM]…")
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    default=NEWEST,
    show_default=True,
    help="Show the newest N entries; with --json all are told.",
)
@on_repositories
def log(asked: Asked, vms: tuple[str, ...], last: int) -> None:
    """Show who did what to which restore points.

    Each repository has a log.jsonl in which every line names the digest of the line before. What is missing
    or was changed in it is said (exit code 5), and so are points that are gone or there without an entry.
    What was taken from its end, a witness knows: see `sendense verify --witness`. With VM, only what was done
    to points of that VM.
    """
    with asked.places() as places:
        found = [(place, _read(place)) for place in places]
    if asked.as_json:
        documents: list[JsonValue] = [_document(place, trail, vms) for place, trail in found]
        print_json({"schema_version": LOG_SCHEMA_VERSION, "repositories": documents})
    for place, trail in found:
        if not asked.as_json:
            _show(place, [entry for entry in trail.entries if _is_of(entry, vms)], vms, last)
        for problem in trail.problems:
            where = f"{posixpath.join(place.path, layout.LOG)} on {place.host.name}"
            click.echo(f"{where}: {printable(problem)}", err=True)
    raise click.exceptions.Exit(5 if any(trail.problems for _, trail in found) else 0)


def _read(place: Place) -> Trail:
    """With what it does not know of the points that are there."""
    marker.require(place.host, place.path)
    trail = reading.read(place.host, place.path)
    # What a run publishes or deletes just then is explained at the second look.
    if unexplained := _unexplained(place, trail):
        trail = reading.read(place.host, place.path)
        again = _unexplained(place, trail)
        trail.problems += [text for text in unexplained if text in again]
    return trail


def _unexplained(place: Place, trail: Trail) -> list[str]:
    return comparison.of_points(reader.read_all(place.host, place.path).vms.values(), trail)


def _is_of(entry: Entry, vms: Sequence[str]) -> bool:
    return not vms or entry.vm in vms or layout.slug_of(entry.vm) in vms


def _show(place: Place, entries: Sequence[Entry], vms: Sequence[str], last: int) -> None:
    where = f"{place.name}: {posixpath.join(place.path, layout.LOG)} on {place.host.name}"
    of = f" of {', '.join(vms)}" if vms else ""
    if not entries:
        click.echo(f"{where} has no entries{of}")
        return
    shown = entries[-last:]
    newest = f", the newest {len(shown)} of {len(entries)}" if len(shown) < len(entries) else ""
    click.echo(f"{where}{newest}")
    rows = [
        (
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            f"{entry.account}@{entry.host}",
            entry.act,
            "/".join(filter(None, (layout.slug_of(entry.vm), ", ".join(entry.points)))),
            entry.text,
            entry.run or entry.job,
        )
        for entry in shown
    ]
    print_table("", ("when (UTC)", "who", "what", "point", "why", "run or job"), rows, stream=sys.stdout)


def _document(place: Place, trail: Trail, vms: Sequence[str]) -> JsonValue:
    return {
        "name": place.name,
        "host": place.host.name,
        "path": place.path,
        "head": trail.head.to_json_value(),
        "problems": [*trail.problems],
        "entries": [entry.to_json_value() for entry in trail.entries if _is_of(entry, vms)],
    }
