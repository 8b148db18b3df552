from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from steps import check_source
from steps.check_point import PointChecked
from steps.check_source import CheckSource, CheckSourceIn, SourceDiffersError
from steps.repository import marks
from steps.repository.marks import Comparison, DiskCompared
from tests.chain import Chain
from tests.hub import Hub, disk, vm
from tests.points import snapshot

STEP = CheckSource()
WRITTEN = ((0, 1 << 20),)
"""What the VM wrote since the point: it is not compared."""


def found(at: datetime, *different: int) -> DiskCompared:
    return DiskCompared(key=2000, at=at, blocks=4, compared=3, changed=1, different=different)


@pytest.mark.parametrize(
    ("after", "different", "stands"),
    [
        pytest.param(-1, (0,), (0,), id="before, in what was not compared now"),
        pytest.param(-1, (2 << 20,), (), id="before, in what is equal now"),
        pytest.param(1, (2 << 20,), (2 << 20,), id="after this was begun"),
    ],
)
def test_what_another_comparison_found_while_this_one_ran_stands(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, after: int, different: tuple[int, ...], stands: tuple[int, ...]
) -> None:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {})

    def compared_for_hours(*given: Any) -> tuple[DiskCompared, Any]:
        begun = next(one for one in given if isinstance(one, datetime))
        other = found(begun + timedelta(hours=after), *different)
        marks.write(hub.host, str(made.path(0)), Comparison(disks=(other,)))
        return found(begun), WRITTEN

    monkeypatch.setattr(check_source, "_disk", compared_for_hours)
    now = datetime.now(UTC)
    checked = PointChecked(path=str(made.path(0)), host="hub", level="chain", blocks=4, compared=4, at=now)
    inputs = CheckSourceIn(repository="main", checked=checked, vm=vm(), snapshot=snapshot((disk(),), vm()))
    if stands:
        with pytest.raises(SourceDiffersError):
            STEP.run(hub.context(), inputs, STEP.Live(sources=()))
    else:
        STEP.run(hub.context(), inputs, STEP.Live(sources=()))
    known = marks.read(hub.host, str(made.path(0))).against_source
    assert known is not None
    assert known.disks[0].different == stands
