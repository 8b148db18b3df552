"""Numbers as people read them."""

import pytest

from runner.base.units import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 points"), (1, "1 point"), (3, "3 points")], ids=str)
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "point") == text
