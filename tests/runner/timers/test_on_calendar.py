"""systemd starts a job at the moments that cron names."""

import itertools
import re
import subprocess
from datetime import UTC, datetime

import pytest

from runner.job.schedule import Schedule
from runner.timers.on_calendar import left_out, on_calendar

MOMENTS = 40

CRONS = (
    "30 1 * * *",
    "0 */6 * * *",
    "*/15 1-5 * * 1-5",
    "0 1 1,15 * MON",  # either field of days
    "0 1 */2 * 1",  # both of them
    "0 12 13 * FRI",
    "17 3 * jan,MAR-may *",
    "5 1-9/3 * * 0,7",
    "0 22 * * 5-7",
    "10-50/20 23 * 2-12/5 *",
    "3/17 4 * * *",
    "30 2 * * *",
)

BEFORE_CLOCKS_CHANGE = {
    "spring": datetime(2026, 3, 5, tzinfo=UTC),
    "autumn": datetime(2026, 10, 20, tzinfo=UTC),
}
"""New York's come three weeks before Berlin's, and a week after."""


def elapses(lines: tuple[str, ...], base: datetime) -> list[datetime]:
    """As systemd computes them, of all lines together."""
    argv = ["systemd-analyze", "calendar", f"--iterations={MOMENTS}", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC"]
    told = subprocess.run(
        [*argv, *lines], check=True, capture_output=True, text=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"}
    ).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", told)
    return sorted({datetime.fromisoformat(each).replace(tzinfo=UTC) for each in found})


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("season", BEFORE_CLOCKS_CHANGE)
def test_systemd_computes_the_moments_that_cron_means(zone: str, season: str):
    base = BEFORE_CLOCKS_CHANGE[season]
    for cron in CRONS:
        schedule = Schedule(cron=cron, timezone=zone)
        due = [each.astimezone(UTC) for each in itertools.islice(schedule.after(base), MOMENTS)]
        told = [each for each in elapses(on_calendar(schedule), base) if each <= due[-1]]
        missing = {each.astimezone(UTC).date() for each in due} - {each.date() for each in told}
        assert missing == {each.date() for each in left_out(schedule, base) if each < due[-1].replace(tzinfo=None)}, (
            cron
        )
        assert [each for each in due if each.date() not in missing] == told, cron


def test_a_time_that_clocks_skip_is_told():
    skipped = left_out(Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), datetime(2026, 6, 1, tzinfo=UTC))
    assert [f"{each:%Y-%m-%d %H:%M}" for each in skipped] == ["2027-03-28 02:30"]


@pytest.mark.parametrize(
    ("cron", "zone"), [("30 2 * * *", "UTC"), ("30 1 * * *", "Europe/Berlin"), ("0 * * * *", "Europe/Berlin")]
)
def test_no_time_is_told_where_clocks_skip_none(cron: str, zone: str):
    assert not [*left_out(Schedule(cron=cron, timezone=zone), datetime(2026, 6, 1, tzinfo=UTC))]
