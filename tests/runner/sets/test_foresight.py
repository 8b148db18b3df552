"""What will wait for what, as a plan tells it."""

from runner.sets.foresight import foreseen
from runner.sets.request import Request
from runner.step.items import Claim


def request(name: str, disks: int, limit: int) -> Request:
    return Request(name, name, (Claim.share("vcenter disks", disks, limit, "disks read at once"),), 0.0)


def test_what_waits_is_counted_by_what_it_lacks_first():
    assert foreseen([request(f"vm{number}", 2, 5) for number in range(6)]) == {"disks read at once (at most 5)": 4}


def test_one_with_more_disks_than_a_limit_is_told_to_take_turns():
    assert foreseen([request("big", 9, 4)]) == {"their disks take turns: disks read at once (at most 4)": 1}


def test_nothing_is_told_where_all_can_begin():
    assert foreseen([request("a", 1, 9), Request("b", "b", (), 0.0)]) == {}
