"""How far many jobs are, and when they may be done: told from measured speed, and where it cannot be, why."""

from typing import Any

import pytest

from runner.base.units import MiB
from runner.events.progress import Running, Totals, Waiting

SECOND = 100.0
"""Since all began."""


def progress(done: int, total: int | None = 100 * MiB, **more: Any) -> dict[str, Any]:
    told = {"node": "transfer[2000]", "label": "disk 2000", "phase": "copy", **more}
    return {"type": "node-progress", "done": done, "total": total, **told}


def totals(**waiting: Waiting) -> Totals:
    return Totals("VM", 0.0, dict(waiting))


def test_bytes_of_all_disks_count_together_and_what_is_read_back_is_not_copied_again() -> None:
    one = Running(0.0)
    one.add(progress(10 * MiB, zero=4 * MiB), 1.0)
    one.add(progress(20 * MiB, node="transfer[2001]"), 2.0)
    assert (one.what, one.done, one.total, one.copied) == ("copy", 30 * MiB, 200 * MiB, 26 * MiB)
    one.add(progress(5 * MiB, 50 * MiB, phase="verify"), 3.0)
    assert (one.what, one.done, one.total, one.copied) == ("verify", 5 * MiB, 50 * MiB, 26 * MiB)


def test_a_speed_is_of_the_last_seconds_and_a_stall_brings_it_to_nothing() -> None:
    one = Running(0.0)
    for second in range(1, 31):
        one.add(progress(second * MiB), float(second))
    assert one.speed(30.0) == pytest.approx(MiB)
    assert one.speed(45.0) == 0


def test_the_time_that_is_left_is_told_from_what_all_took_so_far() -> None:
    found = totals(a=Waiting(100 * MiB), b=Waiting(50 * MiB), c=Waiting(50 * MiB))
    found.start("a", 0.0)
    found.running["a"].add(progress(100 * MiB), 90.0)
    found.end("a", is_done=True)
    assert found.eta(SECOND) == "1 min 40 s left"
    found.start("b", SECOND)
    found.running["b"].add(progress(20 * MiB, 40 * MiB), SECOND)  # it is smaller than was thought
    assert found.eta(SECOND) == "58.3 s left"


@pytest.mark.parametrize(
    ("waiting", "copied", "told"),
    [
        pytest.param({"b": Waiting(None), "c": Waiting(None)}, MiB, "ETA unknown: 2 VMs of unknown size", id="sizes"),
        pytest.param({"b": Waiting(MiB)}, 0, "ETA unknown: nothing was copied yet", id="speed"),
        pytest.param({"b": Waiting(MiB, at_most=True)}, MiB, "at most 1 min 40 s left", id="bound"),
        pytest.param({}, MiB, "", id="nothing left"),
    ],
)
def test_where_it_cannot_be_known_it_says_so(waiting: dict[str, Waiting], copied: int, told: str) -> None:
    found = totals(a=Waiting(MiB), **waiting)
    found.start("a", 0.0)
    if copied:
        found.running["a"].add(progress(copied), 1.0)
    found.end("a", is_done=True)
    assert found.eta(SECOND) == told


def test_a_speed_of_the_first_seconds_tells_no_end() -> None:
    found = totals(a=Waiting(MiB))
    found.start("a", 0.0)
    found.running["a"].add(progress(MiB // 2), 1.0)
    assert found.eta(9.0) == "ETA unknown: it began less than 10 s ago"
    assert found.eta(10.0).endswith(" left")


def test_each_is_counted_once_also_one_that_waits_again() -> None:
    found = totals(a=Waiting(1), b=Waiting(1), c=Waiting(1))
    found.start("a", 0.0)
    found.again("a")
    found.start("a", 1.0)
    found.end("a", is_done=False)
    found.end("b", is_done=False)  # it was refused: it never began
    assert (found.done, found.failed, len(found.running), len(found.waiting), found.count) == (0, 2, 0, 1, 3)
