"""`schedule:` of a job: when systemd or CI starts it.

The language is what every such clock can say: five fields of cron(5), without the extensions that only some
know. Which moments they mean is told by cronsim, which does as Debian's cron: where clocks go forward over
a time of day it comes with the next one that exists, and where they go back it comes once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator

from runner.base.model import JobModel
from runner.base.suggestion import did_you_mean
from runner.base.units import human_seconds

FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of the month": "1-31",
    "month": "1-12 or JAN-DEC",
    "day of the week": "0-7 or SUN-SAT",
}
"""Of cron(5), in its order, with what each may be."""

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Which CI does not know."""

EXAMPLE = "30 1 * * *"


def _cron(text: str) -> str:
    if text.strip().lower() in NICKNAMES:
        raise ValueError(f"write it as five fields: '{NICKNAMES[text.strip().lower()]}'")
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"it has {len(fields)} fields, and cron has five, {', '.join(FIELDS)}, such as '{EXAMPLE}'"
        )
    for (name, values), field in zip(FIELDS.items(), fields, strict=True):
        if not _fits(name, field.upper()):
            known = {"month": MONTHS, "day of the week": DAYS}.get(name, ())
            may_be = f"; it may be {values}, *, a list 1,3, a range 1-5 or a step */2"
            raise ValueError(f"'{field}' is no {name}{did_you_mean(field, known) or may_be}")
    if next(_moments(text, datetime.now(UTC)), None) is None:
        raise ValueError("there is no such day")
    return " ".join(fields).upper()


def _fits(name: str, field: str) -> bool:
    from cronsim import CronSim, CronSimError

    # L, LW and # are cronsim's and not every clock's.
    if name.startswith("day") and ("L" in field or "#" in field):
        return False
    try:
        CronSim(" ".join(field if each == name else "*" for each in FIELDS), datetime.now(UTC))
    except CronSimError:
        return False
    return True


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise ValueError("this machine knows no time zones: install tzdata") from None
        last = {each.rpartition("/")[2]: each for each in sorted(known)}
        hint = did_you_mean(name, known) or did_you_mean(last.get(name.title(), name), known)
        raise ValueError(
            f"there is no time zone '{name}'{hint or '; write it as Europe/Berlin or UTC'}"
        ) from None
    return name


class Schedule(JobModel):
    """When a job is to run."""

    cron: Annotated[str, AfterValidator(_cron)]
    """Minute, hour, day of the month, month and day of the week, as in a crontab: ``30 1 * * *``"""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """Whose clock: ``Europe/Berlin``"""
    missed: Literal["run", "skip"] = "run"
    """What becomes of a time at which the machine was off: made up for when it is back, or left out"""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def weekdays(self) -> frozenset[int]:
        """Those of its fifth field, from 0 for Sunday."""
        from cronsim import CronSim

        found = CronSim(self.cron, datetime.now(UTC)).weekdays
        return frozenset(day % 7 for day in found if isinstance(day, int))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """When it is due, from the first time after `moment` on, in its own time zone."""
        return _moments(self.cron, moment.astimezone(self.zone))

    def last(self, moment: datetime) -> datetime:
        """When it was due last, at `moment` or before."""
        from cronsim import CronSim

        return next(CronSim(self.cron, moment.astimezone(self.zone).replace(microsecond=1), reverse=True))

    def sentence(self, now: datetime, count: int = 1) -> str:
        """``30 1 * * * Europe/Berlin, next: Tue 2026-12-01 01:30 CET (in 12 h 28 min)``"""
        due = list(itertools.islice(self.after(now), count))
        shown = ", ".join(f"{moment:%a %Y-%m-%d %H:%M %Z}" for moment in due)
        away = human_seconds((due[0] - now).total_seconds())
        return f"{self.cron} {self.timezone}, next: {shown} (in {away})"


def _moments(cron: str, moment: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(cron, moment)
    except CronSimError:
        return iter(())
