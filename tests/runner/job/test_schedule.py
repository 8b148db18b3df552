"""When a job is due, and what is no schedule."""

import itertools
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from runner.job.schedule import Schedule

BERLIN = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"cron": "@daily"}, "write it as five fields: '0 0 * * *'"),
        ({"cron": "1 1 * *"}, "it has 4 fields, and cron has five"),
        ({"cron": "61 1 * * *"}, "'61' is no minute; it may be 0-59, *"),
        ({"cron": "0 0 * * mom"}, "'mom' is no day of the week; did you mean 'MON'?"),
        ({"cron": "0 0 * * 5L"}, "'5L' is no day of the week"),
        ({"cron": "0 0 * * 1#2"}, "'1#2' is no day of the week"),
        ({"cron": "0 0 LW * *"}, "'LW' is no day of the month"),
        ({"cron": "0 0 */0 * *"}, "'*/0' is no day of the month"),
        ({"cron": "0 0 30 2 *"}, "there is no such day"),
        ({**BERLIN, "timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'?"),
        ({**BERLIN, "timezone": "Berlin"}, "did you mean 'Europe/Berlin'?"),
        ({**BERLIN, "timezone": "../etc"}, "there is no time zone '../etc'; write it as Europe/Berlin or UTC"),
        ({**BERLIN, "missed": "rum"}, "'run' or 'skip'"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value.values()),
)
def test_what_is_no_schedule_is_told_with_what_may_be_meant(written: dict[str, str], said: str):
    with pytest.raises(ValidationError) as caught:
        Schedule.model_validate(written)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("before", "due"),
    [
        ("2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),  # 02:30 does not exist: 03:00
        ("2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),  # it exists twice: once
    ],
    ids=["spring", "autumn"],
)
def test_a_night_in_which_clocks_change_has_one_run(before: str, due: list[str]):
    found = Schedule.model_validate(BERLIN).after(datetime.fromisoformat(before).replace(tzinfo=UTC))
    assert [f"{each.astimezone(UTC):%Y-%m-%dT%H:%M}" for each in itertools.islice(found, 2)] == due


def test_when_it_was_due_last_is_told_also_at_that_very_moment():
    schedule = Schedule.model_validate(BERLIN)
    due = next(schedule.after(datetime(2026, 6, 1, tzinfo=UTC)))
    assert schedule.last(due) == due
    assert schedule.last(due.replace(second=59)) == due


def test_the_sentence_names_the_next_time_in_the_schedule_s_own_zone():
    told = Schedule.model_validate(BERLIN).sentence(datetime(2026, 6, 1, 0, 0, tzinfo=UTC))
    assert told == "30 2 * * * Europe/Berlin, next: Mon 2026-06-01 02:30 CEST (in 30 min 00 s)"
