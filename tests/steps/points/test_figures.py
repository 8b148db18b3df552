"""Numbers that several places tell of one thing."""

from __future__ import annotations

import pytest

from steps.points.figures import verified
from steps.repository.manifest import Level


@pytest.mark.parametrize(
    ("level", "compared", "blocks", "words"),
    [
        pytest.param("full", 96, 96, "every block", id="a full"),
        pytest.param("full", 66, 96, "every new block", id="an incremental"),
        pytest.param("sample", 96, 96, "every block", id="a sample that is all"),
        pytest.param("sample", 66, 96, "a sample (66 of 96 blocks)", id="a sample"),
        pytest.param("metadata", 0, 96, "tables only", id="metadata"),
        pytest.param("metadata", 0, 0, "tables only", id="nothing is not every block"),
    ],
)
def test_how_far_blocks_were_verified_is_told_in_one_way(level: Level, compared: int, blocks: int, words: str) -> None:
    assert verified(level, compared, blocks) == words
