"""A schedule as systemd.time(7) says it.

Cron's two fields of days mean either of them if both are written, and both of them if one begins with a star:
the first is two lines for systemd. What cannot be said is a time of day that does not exist while clocks go
forward: cron makes it up at once, systemd leaves that day out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from runner.job.schedule import MONTHS, Schedule

LOOK_AHEAD = timedelta(days=366)
"""Clocks that go forward do so within a year."""

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def on_calendar(schedule: Schedule) -> tuple[str, ...]:
    """The values of ``OnCalendar=``: one, or two where a day may be named by either field."""
    minute, hour, day, month, weekday = schedule.cron.split()
    months = _said(_in_numbers(month), 1)
    clock = f"{_said(hour, 0)}:{_said(minute, 0)}:00"
    names = "" if len(schedule.weekdays) == len(_WEEKDAYS) else _named(schedule.weekdays)
    # A set of days that begins with a star takes nothing from the other one, as in Debian's cron.
    if day.startswith("*") or weekday.startswith("*"):
        dates = [f"{names}*-{months}-{_said(day, 1)}"]
    else:
        dates = [f"*-{months}-{_said(day, 1)}", f"{names}*-{months}-*"]
    return tuple(f"{date} {clock} {schedule.timezone}" for date in dates)


def _in_numbers(month: str) -> str:
    for number, name in enumerate(MONTHS, 1):
        month = month.replace(name, str(number))
    return month


def _said(field: str, first: int) -> str:
    """A field of cron; `first` is the lowest value of its kind."""
    return ",".join(_term(term, first) for term in field.split(","))


def _term(term: str, first: int) -> str:
    values, slash, step = term.partition("/")
    low, dash, high = values.partition("-")
    if values == "*":
        return f"{first:02}/{step}" if slash else "*"
    return f"{int(low):02}" + (f"..{int(high):02}" if dash else "") + slash + step


def _named(weekdays: frozenset[int]) -> str:
    return ",".join(name for number, name in enumerate(_WEEKDAYS) if number in weekdays) + " "


def left_out(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """The times at which cron starts a job in the coming year and systemd does not, because the time of day
    that is written does not exist then."""
    minute, hour, *_ = schedule.cron.split()
    if minute.startswith("*") or hour.startswith("*"):
        return  # cron makes up for none of these: the next one is near
    spelled = Schedule(cron=schedule.cron)  # the same times of day, where all of them exist
    begin = now.astimezone(schedule.zone).replace(tzinfo=UTC)
    for time in takewhile(lambda each: each < begin + LOOK_AHEAD, spelled.after(begin)):
        local = time.replace(tzinfo=schedule.zone)
        there = local.astimezone(UTC).astimezone(schedule.zone)
        if there.replace(tzinfo=None) != local.replace(tzinfo=None):
            yield time.replace(tzinfo=None)
