"""Numbers as people read them."""

import pytest

from runner.base.units import counted, parse_duration, written_duration


@pytest.mark.parametrize(("count", "text"), [(0, "0 points"), (1, "1 point"), (3, "3 points")], ids=str)
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "point") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(93600, "26h"), (5400, "90m"), (1234567.5, "1234567.5s"), (604800, "168h")]
)
def test_a_duration_is_written_as_it_is_read(seconds: float, text: str) -> None:
    assert written_duration(seconds) == text and parse_duration(text) == seconds
