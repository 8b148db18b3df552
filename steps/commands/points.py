"""sendense points: the restore points of a repository, of each VM its chains, the full first, what is built
on it below."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

import click

from runner.base.errors import Interrupted, SendenseError, UsageError
from runner.base.units import DAY, HOUR, counted, human_bytes
from runner.cli.options import print_json
from runner.console.tables import print_table
from steps.brake import released
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.points.figures import verified
from steps.points.place import Place
from steps.repository import catalogue
from steps.repository.catalogue import Catalogue, Point
from steps.repository.section import BrakeLimits
from steps.repository.verification_records import Comparison, Drill, Verification
from steps.repository.vm_directory import VmDirectory

POINTS_SCHEMA_VERSION = 4

COLUMNS = ("point", "kind", "on disk", "changed", "age", "verified", "")

LONGEST_WHY = 60
"""Characters of why a drill did not pass: a firmware's own words are four lines of a terminal."""


@click.command()
@site_argument
@click.argument("vms", nargs=-1, metavar="[VM]…")
@on_repositories
def points(
    asked: Asked,
    vms: tuple[str, ...],
) -> None:
    """List the restore points in the job's repositories.

    With VM, only those of that VM. A listed point is complete, and verified as far as the list says. An
    incremental is listed below its parent.
    """
    with asked.places() as places:
        catalogues, unread = _read(asked, places, vms)
    if vms and not any(listed.points for listed in catalogues.values()):
        raise UsageError(
            f"there are no points of {' or '.join(vms)}; `sendense points {asked.site}` lists all"
        )
    if asked.as_json:
        found = [{"name": name, **listed.to_json_value()} for name, listed in catalogues.items()]
        print_json({"schema_version": POINTS_SCHEMA_VERSION, "repositories": found, "unread": unread})
    else:
        for name, listed in catalogues.items():
            _show(name, listed, _Elsewhere(name, catalogues))
        for name, why in unread.items():
            print(f"! repository {name} cannot be read: {why}", file=sys.stderr)
    raise click.exceptions.Exit(1 if unread else 0)


def _read(
    asked: Asked, places: Sequence[Place], vms: Sequence[str]
) -> tuple[dict[str, Catalogue], dict[str, str]]:
    """By name of the repository; and why others could not be read. Raises that where none could."""
    found: dict[str, Catalogue] = {}
    unread: dict[str, str] = {}
    for place in places:
        try:
            on_hold = partial(_on_hold, place, asked.brake(place.name))
            found[place.name] = catalogue.read(place.host, place.path, vms, on_hold)
        except (Interrupted, UsageError):
            raise
        except SendenseError as error:
            if len(places) == 1:
                raise
            unread[place.name] = error.message
    return found, unread


def _on_hold(place: Place, brake: BrakeLimits | None, vm: VmDirectory) -> str | None:
    return released.sentence(place.host, vm, brake)


class _Elsewhere:
    """What the list of one repository says of the others that have the same points."""

    def __init__(self, name: str, catalogues: Mapping[str, Catalogue]) -> None:
        self._names = {listed.uuid: called for called, listed in catalogues.items()}
        self._having: dict[tuple[str, str], list[str]] = {}
        for called, listed in catalogues.items():
            for point in listed.points if called != name else ():
                self._having.setdefault((point.instance_uuid, point.point), []).append(called)

    def remark(self, point: Point) -> str:
        """Empty for one that is nowhere else."""
        if (origin := point.copied) is not None:
            return f"copied from {self._names.get(origin.repository, f'repository {origin.repository}')}"
        having = self._having.get((point.instance_uuid, point.point), ())
        return f"also in {' and '.join(having)}" if having else ""


def _show(name: str, listed: Catalogue, elsewhere: _Elsewhere) -> None:
    where = f"{name}: {listed.repository} on {listed.host}"
    if not listed.points:
        click.echo(f"{where} has no restore points yet")
    else:
        count = len({point.instance_uuid for point in listed.points})
        stored = human_bytes(sum(point.stored for point in listed.points))
        click.echo(f"{where}: {counted(count, 'VM')}, {counted(len(listed.points), 'point')}, {stored}")
    now = datetime.now(UTC)
    for (_, label), group in groupby(listed.points, key=lambda point: (point.instance_uuid, point.label)):
        rows = [_row(point, stem, now, elsewhere.remark(point)) for point, stem in trees(tuple(group))]
        print_table(label, COLUMNS, rows, stream=sys.stdout)
    if any(_is_cut(point) for point in listed.points):
        print("why a drill did not pass, in full: --json, or drilled.json of the point", file=sys.stderr)
    for point in listed.points:
        for note in point.notes:
            print(f"{point.label} {point.point}: {note}", file=sys.stderr)
    for label, why in listed.on_hold.items():
        print(f"! {label}: {why}", file=sys.stderr)
    if listed.unread:
        rows = [(one.path, one.why) for one in listed.unread]
        print_table(
            "Cannot be read, so no point of its VM is deleted", ("path", "why"), rows, stream=sys.stderr
        )
    if listed.skipped:
        print_table(
            "Not listed", ("path", "why"), [(one.path, one.why) for one in listed.skipped], stream=sys.stderr
        )
    if listed.unfinished:
        print_table("Unfinished", ("path",), [(path,) for path in listed.unfinished], stream=sys.stderr)


def trees(points: Sequence[Point]) -> Iterator[tuple[Point, str]]:
    """The points of one VM, each below its parent, with the lines that lead to it. A chain goes straight
    down: only where several have one parent are all but the last indented."""
    order = {point.point: number for number, point in enumerate(points)}
    above: dict[str | None, list[Point]] = {}
    for point in points:
        parents = [disk.parent for disk in point.disks if disk.parent in order]
        above.setdefault(max(parents, default=None, key=lambda parent: order[parent or ""]), []).append(point)
    pending = [(point, "", True) for point in reversed(above.get(None, []))]
    while pending:
        point, stem, root = pending.pop()
        children = above.get(point.point, [])
        last = not children
        yield point, "" if root else f"{stem}{'└ ' if last else '├ '}"
        # The straight line continues last, below the branches.
        for child in children[-1:]:
            pending.append((child, stem, False))
        for child in reversed(children[:-1]):
            pending.append((child, f"{stem}│ ", False))


def _row(point: Point, stem: str, now: datetime, elsewhere: str) -> tuple[str, ...]:
    return (
        f"{stem}{point.point}",
        _kind(point),
        human_bytes(point.stored),
        "" if point.changed is None else human_bytes(point.changed),
        _age(now, point.moment),
        _verified(point, now),
        "; ".join((*_remarks(point), *filter(None, (elsewhere,)))),
    )


def _kind(point: Point) -> str:
    fulls = sum(disk.parent is None for disk in point.disks)
    return "full" if fulls == len(point.disks) else f"{fulls} full" if fulls else "incr"


def _verified(point: Point, now: datetime) -> str:
    made = verified(point.level, point.compared, point.blocks)
    # What speaks against it stands beside it: this is only how it was when it was made.
    trusted = not point.doubts and point.broken is None
    said = [(made if trusted else f"when made: {made}") + (" (last good)" if point.last_good else "")]
    if (at_rest := point.at_rest) is not None:
        said.append(f"{at_rest.level} {_came_out(at_rest, now)}")
    if (against := point.against_source) is not None:
        said.append(f"source {_came_out(against, now) if against.compared else 'not comparable'}")
    if (drilled := point.drilled) is not None:
        said.append(f"drill {_came_to(drilled, now)}")
    if point.drilled_unread:
        said.append("drill unknown")
    return ", ".join(said)


def _came_out(found: Verification | Comparison, now: datetime) -> str:
    return f"{'ok' if found.passed else 'FAILED'} {_age(now, found.at)} ago"


def _came_to(drilled: Drill, now: datetime) -> str:
    """``ok 3 d ago``; where it did not pass, also when it did before."""
    at = f"{_age(now, drilled.at)} ago"
    if drilled.verdict == "passed":
        return f"ok {at}"
    word = "FAILED" if drilled.verdict == "failed" else drilled.verdict
    before = "" if drilled.passed_at is None else f", passed {_age(now, drilled.passed_at)} ago"
    return f"{word} {at}{before}"


def _remarks(point: Point) -> Iterator[str]:
    if point.broken is not None:
        yield f"BROKEN: {point.broken}"
    for doubt in point.doubts:
        yield f"NOT TRUSTED: {doubt}"
    if point.drilled is not None and point.drilled.verdict != "passed":
        yield f"drill {point.drilled.verdict}: {_short(point.drilled.why)}"
    if point.drilled_unread:
        yield f"drill unknown: {point.drilled_unread}"
    if point.protected is not None:
        yield f"protected until {point.protected.until:%Y-%m-%d}"
    if point.locked is not None:
        yield f"locked until {point.locked:%Y-%m-%d}"
    if point.quiesced != "yes":
        yield f"quiesced: {point.quiesced}"


def _is_cut(point: Point) -> bool:
    drilled = point.drilled
    return drilled is not None and drilled.verdict != "passed" and _short(drilled.why) != drilled.why


def _short(why: str) -> str:
    """Cut between words; what is no longer than it may be stays as it is."""
    return why if len(why) <= LONGEST_WHY else textwrap.shorten(why, LONGEST_WHY, placeholder=" …")


def _age(now: datetime, then: datetime) -> str:
    seconds = max(0.0, (now - then).total_seconds())
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} d"
