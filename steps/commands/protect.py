"""sendense protect: a restore point that nothing deletes until a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import click

from runner.app import read_job
from runner.base.errors import UsageError
from runner.cli.options import job_options, json_option, options_from, print_json
from runner.cli.work import Work
from steps.commands.repositories import find_point, repositories_of, repository_option, site_argument
from steps.repository import verification_records
from steps.repository.verification_records import Protection

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
@repository_option
@job_options
@json_option
def protect(
    site: Path,
    point: str,
    until: datetime | None,
    reason: str | None,
    lift: bool,
    repository: str | None,
    settings: tuple[str, ...],
    state: Path | None,
    as_json: bool,
) -> None:
    """Keep POINT until a day: nothing here deletes it before.

    What speaks against it is said. With --lift it is protected no longer. POINT is a restore point's name or
    the beginning of it, VM/POINT, or its path; VM, VM/latest, or latest where there is one VM, is the newest
    good point.
    """
    if lift == (until is not None and reason is not None) or (lift and (until or reason)):
        raise UsageError("give --until DATE and --reason TEXT, or --lift only")
    now = datetime.now(UTC)
    if until is not None and until <= now:
        raise UsageError(f"--until {until:%Y-%m-%d} is in the past")
    job = read_job(site, options_from(settings, state), part=True)
    with repositories_of(job, repository) as places:
        place, path = find_point(job, places, point)
        if until is None or reason is None:
            verification_records.unprotect(place.host, path)
            click.echo(f"{path} is no longer protected", err=as_json)
        else:
            verification_records.write(place.host, path, Protection(until=until, reason=reason, at=now))
            click.echo(f"{path} is protected until the end of {until:%Y-%m-%d}: {reason}", err=as_json)
            for sentence in verification_records.against(verification_records.read(place.host, path)):
                click.echo(f"{path}: {sentence}", err=True)
        against = (
            list(verification_records.against(verification_records.read(place.host, path))) if as_json else []
        )
    if as_json:
        told = {"path": path, "until": None if until is None else until.isoformat(), "reason": reason}
        print_json({"schema_version": PROTECT_SCHEMA_VERSION, **told, "against": against})
