"""What a change of job files does to the VMs that there are."""

from __future__ import annotations

import pytest

from runner.base.units import DAY, HOUR
from steps.coverage.comparison import Change, Comparison, Side, changes, headline
from steps.coverage.judgement import Seen, Taking, VCenterSeen
from steps.coverage.protection import Protections
from tests.census import FakeCensus, item, uuid
from tests.steps.coverage.test_judgement import excuse

CENSUS = FakeCensus([item("a", 1), item("b", 2)])


def side(*jobs: tuple[str, float | None], excused: bool = False) -> Side:
    """The VM a is in these jobs, each with its rpo; b is in one job always."""
    vcenter = VCenterSeen("prod", CENSUS)
    vcenter.taken = {uuid(2): [Taking("always", None, ())]}
    if jobs:
        vcenter.taken[uuid(1)] = [Taking(name, rpo, ()) for name, rpo in jobs]
    return Side(Seen([vcenter], Protections()), [excuse("a")] if excused else [])


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (side(("gold", HOUR)), side(("gold", HOUR)), None),
        (side(("gold", HOUR)), side(), "out"),
        (side(("gold", HOUR)), side(excused=True), "excused"),
        (side(), side(excused=True), None),
        (side(), side(("gold", HOUR)), "in"),
        (side(("gold", HOUR)), side(("silver", HOUR)), "moved"),
        (side(("gold", HOUR)), side(("gold", HOUR), ("silver", DAY)), "moved"),
        (side(("gold", HOUR)), side(("silver", DAY)), "weaker"),
        (side(("gold", HOUR)), side(("gold", None)), "weaker"),
        (side(("gold", HOUR), ("silver", DAY)), side(("silver", DAY)), "weaker"),
        (side(("gold", None)), side(("gold", HOUR)), None),
    ],
)
def test_a_change_is_what_becomes_of_one_vm(before: Side, after: Side, kind: str | None) -> None:
    assert [one.kind for one in changes(before, after)] == ([kind] if kind else [])


def made(*kinds: str, unread: tuple[str, ...] = ()) -> Comparison:
    found = tuple(
        Change(vm="a", path="a", id="1", vcenter="prod", kind=kind, before=(), after=(), why="")  # type: ignore[arg-type]
        for kind in kinds
    )
    return Comparison(site="s", against="main", vms=2, changes=found, deleted=(), added=(), unread=unread, notes=())


def test_the_headline_says_what_the_merge_does() -> None:
    assert headline(made("out", "out", "in")) == "This merge takes 2 VMs out of every job, adds 1 VM."
    assert headline(made()) == "This merge changes nothing of what is backed up."
    assert headline(made(unread=("x",))) == "This merge changes nothing of what could be read."


def test_only_what_is_taken_out_without_a_reason_fails_the_merge() -> None:
    assert [made(kind).exit_code for kind in ("out", "excused", "weaker", "in", "moved")] == [6, 0, 0, 0, 0]
    assert made(unread=("x",)).exit_code == 1
