"""sendense protect: a restore point that nothing deletes until a day."""

from __future__ import annotations

import posixpath
from datetime import UTC, date, datetime, time
from typing import Any

import click

from runner.base.errors import UsageError
from runner.cli.options import print_json
from runner.cli.work import Work
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import find_first_point
from steps.points.place import Place
from steps.repository import locked, verification_records
from steps.repository.verification_records import Protection
from steps.trail.entry import Act
from steps.trail.log import Log

PROTECT_SCHEMA_VERSION = 1


class Day(click.ParamType[datetime]):
    """``2026-12-31``: its end, UTC."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value} is not a date; write it as 2026-12-31", param, ctx)
        return datetime.combine(day, time(23, 59, 59), UTC)


@click.command(cls=Work)
@site_argument
@click.argument("point")
@click.option(
    "--until", type=Day(), metavar="DATE", help=("The last day of protection, as 2026-12-31 (UTC).")
)
@click.option("--reason", help="Why; it is shown to anyone who tries to delete it.")
@click.option("--lift", is_flag=True, help="Remove the protection.")
@on_repositories
def protect(
    asked: Asked,
    point: str,
    until: datetime | None,
    reason: str | None,
    lift: bool,
) -> None:
    """Protect POINT from deletion until a date.

    A warning is shown if the point is suspect or damaged. --lift removes the protection. POINT is a restore
    point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or latest where there
    is one VM, is the newest good point.
    """
    if lift == (until is not None and reason is not None) or (lift and (until or reason)):
        raise UsageError("give --until DATE and --reason TEXT, or --lift only")
    now = datetime.now(UTC)
    if until is not None and until <= now:
        raise UsageError(f"--until {until:%Y-%m-%d} is in the past")
    with asked.places() as places:
        place, path = find_first_point(asked.job, places, point)
        if until is None or reason is None:
            verification_records.unprotect(place.host, path)
            _note(asked, place, path, "lift", "")
            ends = locked.until(place.host, *posixpath.split(path))
            still = "" if ends is None else f"; it is locked until {ends:%Y-%m-%d} all the same"
            click.echo(f"{path} is no longer protected{still}", err=asked.as_json)
        else:
            verification_records.write(place.host, path, Protection(until=until, reason=reason, at=now))
            _note(asked, place, path, "protect", f"until {until:%Y-%m-%d}: {reason}")
            click.echo(f"{path} is protected until the end of {until:%Y-%m-%d}: {reason}", err=asked.as_json)
        told = not lift or asked.as_json
        against = [*verification_records.against(verification_records.read(place.host, path))] if told else []
        for sentence in () if lift else against:
            click.echo(f"{path}: {sentence}", err=True)
    if asked.as_json:
        day = None if until is None else until.isoformat()
        document = {"path": path, "until": day, "reason": reason, "against": against}
        print_json({"schema_version": PROTECT_SCHEMA_VERSION, **document})


def _note(asked: Asked, place: Place, path: str, act: Act, text: str) -> None:
    log = Log(place.host, place.path, asked.job.name, lambda warning: click.echo(f"! {warning}", err=True))
    directory, point = posixpath.split(path)
    log.note(act, vm=directory, points=(point,), text=text)
