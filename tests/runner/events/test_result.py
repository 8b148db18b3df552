"""The last line of a run, and the same for programs."""

from __future__ import annotations

from runner.base.units import MiB
from runner.events.result import Amount, Result, document, in_a_line, in_brief

MAKES = ("points", "disks")


def backup(vm: str, point: str) -> Result:
    return Result(
        act="backup",
        subject=vm,
        noun="VM",
        parts=("incremental", Amount(value=2 * MiB, noun="bytes", label="copied"), "every new block verified"),
        made=f"point {vm}/{point}",
        bytes=2 * MiB,
        lists={"points": (f"{vm}/{point}",), "disks": ({"key": 2000, "copied": 2 * MiB},)},
    )


def pruned(vm: str, points: int, rebuilt: int = 0) -> Result:
    return Result(
        act="prune",
        subject=vm,
        noun="VM",
        parts=(
            Amount(value=points, noun="point", label="deleted"),
            Amount(value=rebuilt, noun="image", label="rebuilt", always=False),
        ),
        bytes=points * MiB,
    )


def test_a_backup_is_told_with_its_vm_bytes_seconds_and_point() -> None:
    line = "pgtest1, incremental, 2.0 MiB copied, every new block verified, 3.4 s, point pgtest1/20261129"
    assert in_a_line([backup("pgtest1", "20261129")], 3.4) == line


def test_several_of_one_kind_are_summed() -> None:
    assert in_a_line([pruned("a", 1), pruned("b", 4, 1)], 1.0) == "2 VMs, 5 points deleted, 1 image rebuilt, 1.0 s"
    assert in_a_line([pruned("a", 1)], 1.0) == "a, 1 point deleted, 1.0 s"


def test_words_that_only_some_have_are_left_out() -> None:
    full = backup("b", "2").model_copy(update={"parts": ("full", *backup("b", "2").parts[1:])})
    line = in_a_line([backup("a", "1"), full], 1.0)
    assert line == "2 VMs, 4.0 MiB copied, every new block verified, 1.0 s, point a/1, point b/2"


def test_a_backup_with_retention_tells_both() -> None:
    line = in_a_line([backup("a", "1"), pruned("a", 3)], 1.0)
    assert line.endswith("every new block verified; a, 3 points deleted, 1.0 s, point a/1")


def test_beside_its_name_a_line_has_neither_that_nor_what_came_to_nothing() -> None:
    assert in_brief([backup("a", "1")]) == "incremental, 2.0 MiB copied, every new block verified"
    assert in_brief([backup("a", "1"), pruned("a", 0)]) == in_brief([backup("a", "1")])
    assert in_brief([backup("a", "1"), pruned("a", 3)]).endswith("every new block verified; 3 points deleted")
    none = backup("a", "1").model_copy(update={"parts": ("incremental", Amount(value=0, noun="bytes", label="copied"))})
    assert in_brief([none]) == "incremental, 0 B copied"


def test_a_program_gets_the_points_and_the_bytes_of_what_the_run_was_for() -> None:
    told = document([backup("a", "1"), pruned("a", 3)], MAKES)
    assert (told["points"], told["bytes"], told["disks"]) == (["a/1"], 2 * MiB, [{"key": 2000, "copied": 2 * MiB}])
    assert [one["act"] for one in told["results"]] == ["backup", "prune"]  # type: ignore[union-attr,index,call-overload]


def test_a_run_that_made_nothing_has_the_same_keys() -> None:
    assert document([], MAKES) == {"points": [], "disks": [], "bytes": None, "results": []}


def test_what_two_acts_of_a_run_name_is_listed_once() -> None:
    verified = Result(act="verify", subject="a/1", noun="point", parts=(), lists={"points": ("a/1", "a/0")})
    assert document([backup("a", "1"), verified], MAKES)["points"] == ["a/1", "a/0"]
