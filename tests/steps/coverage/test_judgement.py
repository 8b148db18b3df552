"""Each VM is judged by what the vCenters and repositories hold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.base.units import DAY, HOUR
from runner.job.model import Excuse
from runner.step.items import Item
from steps.coverage import protection as protection_module
from steps.coverage import view
from steps.coverage.copied import Copied
from steps.coverage.document import Coverage
from steps.coverage.judgement import Seen, Taking, VCenterSeen, judge
from steps.coverage.protection import GoodPoint, NewestDrill, Protection, Protections
from steps.repository.history import Entry
from steps.repository.verification_records import Marks, Verdict
from steps.repository.vm_directory import VmDirectory
from steps.values.copy_rule import CopyRule, When
from tests.census import VCENTER, FakeCensus, item, uuid, where
from tests.chain import manifest_of
from tests.drill_records import drill

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def protection(number: int, age: float | None, **changes: Any) -> Protection:
    """Of the VM with that number; `age` in hours of its newest good point."""
    moment = None if age is None else NOW - timedelta(hours=age)
    good = None if moment is None else GoodPoint("20261130T030000Z-3f9a", moment, 1, 2, 3.0)
    known: dict[str, Any] = {
        "name": f"vm{number}",
        "inventory_path": f"DC0/vm/vm{number}",
        "vcenter_uuid": VCENTER,
        "instance_uuid": uuid(number),
        "repository": "main",
        "directory": f"/repository/vm{number}",
        "points": 1,
        "newest_good": good,
        "published": moment or NOW,
        **changes,
    }
    return Protection(**known)


def judged(
    items: list[Item],
    *protections: Protection,
    taken: dict[int, list[Taking]] | None = None,
    excuses: list[Excuse] | None = None,
    repositories_unread: dict[str, str] | None = None,
    unread: tuple[str, ...] = (),
    vcenters_unread: bool = False,
    jobs_unread: bool = False,
    **census: Any,
) -> Coverage:
    vcenter = VCenterSeen("prod", FakeCensus(items, **census))
    vcenter.taken = {uuid(number): takings for number, takings in (taken or {}).items()}
    for one, why in vcenter.census.unreadable.items():  # type: ignore[attr-defined]
        vcenter.unsure[one] = why
    found = Protections(list(protections), unread=repositories_unread or {})
    seen = Seen([vcenter], found, unread=unread, vcenters_unread=vcenters_unread, jobs_unread=jobs_unread)
    return judge(seen, excuses or [], "site.yaml", NOW)


def gold(rpo: float | None = 26 * HOUR, job: str = "gold") -> list[Taking]:
    return [Taking(job, rpo, ("main",))]


def excuse(*names: str, entry: str = "prod") -> Excuse:
    return Excuse("vcenters", entry, where(*names), "scratch")


def states(found: Coverage) -> dict[str, str]:
    return {one.vm: one.state for one in found.vms}


def test_the_worst_comes_first_and_of_the_too_old_the_oldest() -> None:
    items = [item(f"vm{number}", number) for number in range(6)]
    taken = {number: gold() for number in (1, 2, 3, 4)}
    ages = {1: 2.0, 2: 30.0, 3: 300.0}
    found = judged(items, *(protection(number, age) for number, age in ages.items()), taken=taken)
    assert [(one.vm, one.state) for one in found.vms] == [
        ("vm0", "uncovered"),
        ("vm5", "uncovered"),
        ("vm4", "no-point"),
        ("vm3", "too-old"),
        ("vm2", "too-old"),
        ("vm1", "good"),
    ]
    assert found.alarming == 5 and found.exit_code == 6


@pytest.mark.parametrize(
    ("hours", "rpo", "state"),
    [(25.9, 26, "good"), (26.1, 26, "too-old"), (9999, None, "good")],
    ids=["younger", "older", "without an rpo"],
)
def test_the_age_of_the_newest_good_point_is_held_against_the_rpo(hours: float, rpo: float | None, state: str) -> None:
    limit = None if rpo is None else rpo * HOUR
    found = judged([item("vm1", 1)], protection(1, hours), taken={1: gold(limit)})
    assert states(found) == {"vm1": state} and found.vms[0].age == pytest.approx(hours * HOUR)


def test_a_vm_of_two_jobs_has_the_shorter_rpo_and_the_newer_point_of_two_repositories() -> None:
    taken = {1: [*gold(26 * HOUR), Taking("silver", HOUR, ("offsite",))]}
    old, new = protection(1, 20, repository="offsite", directory="/offsite/vm1"), protection(1, 3)
    found = judged([item("vm1", 1)], old, new, taken=taken)
    (one,) = found.vms
    assert (one.state, one.rpo, one.repository) == ("too-old", HOUR, "main")
    assert one.age == pytest.approx(3 * HOUR)
    assert found.notes == ("in 2 jobs at once, gold and silver: vm1",)


def copied(number: int, age: float | None) -> Protection:
    return protection(number, age, repository="offsite", directory=f"/offsite/vm{number}", copies=True)


def with_copies(when: When) -> list[Taking]:
    return [Taking("gold", 26 * HOUR, ("main",), ((CopyRule(to="offsite", when=when), "offsite"),))]


@pytest.mark.parametrize(
    ("when", "days", "why"),
    [
        pytest.param("weekly", 7, None, id="a week, which is as it should be"),
        pytest.param(
            "weekly", 9, "copy overdue: the newest in offsite is 9 d older than its newest good point", id="9 d"
        ),
        pytest.param("daily", 1, None, id="of yesterday, while that of today is on its way"),
        pytest.param(
            "always", 3, "copy overdue: the newest in offsite is 3 d older than its newest good point", id="3 d"
        ),
        pytest.param("monthly", None, "copy overdue: there is none in offsite", id="none"),
    ],
)
def test_a_copy_that_the_job_makes_and_that_is_not_there_is_an_alarm(
    when: When, days: int | None, why: str | None
) -> None:
    copies = [] if days is None else [copied(1, 2 + 24 * days)]
    found = judged([item("vm1", 1)], protection(1, 2), *copies, taken={1: with_copies(when)})
    (one,) = found.vms
    assert (one.state, one.why) == (("good", "") if why is None else ("no-copy", why))
    assert found.exit_code == (0 if why is None else 6)
    assert one.repository == "main" and one.copied_to == ("offsite" if copies else None)


def test_a_copy_is_told_by_its_age_and_covers_a_vm_whose_own_repository_is_away() -> None:
    found = judged([item("vm1", 1)], copied(1, 3), taken={1: gold()}, repositories_unread={"main": "away"})
    assert states(found) == {"vm1": "good"} and found.vms[0].repository == "offsite"
    (group,) = view.groups(found)
    assert group.rows[0][group.columns.index("copy")] == "3 h"


def test_nobody_calls_a_copy_overdue_in_a_repository_that_could_not_be_read() -> None:
    found = judged(
        [item("vm1", 1)], protection(1, 2), taken={1: with_copies("daily")}, repositories_unread={"offsite": "away"}
    )
    assert states(found) == {"vm1": "good"}


def test_of_one_point_in_two_repositories_the_original_is_named() -> None:
    found = judged([item("vm1", 1)], copied(1, 3), protection(1, 3), taken={1: gold()})
    assert found.vms[0].repository == "main"


@pytest.mark.parametrize(
    ("when", "before", "now", "due"),
    [
        ("always", "2026-11-30T01:30", "2026-11-30T02:30", True),
        ("daily", "2026-11-30T01:30", "2026-11-30T23:30", False),
        ("daily", "2026-11-30T01:35", "2026-12-01T01:30", True),
        ("weekly", "2026-11-30T01:30", "2026-12-06T01:30", False),
        ("weekly", "2026-12-06T23:00", "2026-12-07T01:30", True),
        ("weekly", "2026-12-28T01:30", "2027-01-03T01:30", False),
        ("monthly", "2026-12-01T01:30", "2026-12-31T01:30", False),
        ("monthly", "2026-12-31T01:30", "2027-01-01T01:30", True),
    ],
)
def test_a_copy_is_due_with_the_first_point_of_each_period(when: When, before: str, now: str, due: bool) -> None:
    rule = CopyRule(to="offsite", when=when)
    assert rule.is_due(*(datetime.fromisoformat(f"{text}:00+00:00") for text in (before, now))) is due
    assert rule.is_due(None, NOW)


def test_a_point_that_is_not_good_does_not_count_and_the_reason_is_told() -> None:
    bad = protection(1, None, why_not="disk 2000 is suspect: CBT lied")
    newer_bad = protection(2, 50, why_not="blocks were not compared")
    found = judged([item("vm1", 1), item("vm2", 2)], bad, newer_bad, taken={1: gold(), 2: gold()})
    assert states(found) == {"vm1": "no-point", "vm2": "too-old"}
    assert "disk 2000 is suspect: CBT lied" in found.vms[0].why
    assert "a newer point is not good: blocks were not compared" in found.vms[1].why


def test_a_vm_is_excused_with_its_reason_and_an_excuse_that_fits_nothing_is_noted() -> None:
    items = [item("a-tmp", 1), item("db", 2), item("b-tmp", 3)]
    found = judged(items, taken={3: gold()}, excuses=[excuse("*-tmp"), excuse("gone-*")])
    assert states(found) == {"db": "uncovered", "b-tmp": "no-point", "a-tmp": "excused"}
    assert found.vms[-1].why == "scratch"
    assert "unprotected: name gone-* fits no VM: correct it, or take it out" in found.notes
    assert "unprotected: name *-tmp excuses what is backed up all the same: DC0/vm/b-tmp" in found.notes


def test_an_excuse_of_another_vcenter_excuses_nothing_here() -> None:
    found = judged([item("a-tmp", 1)], excuses=[excuse("*-tmp", entry="dr")])
    assert states(found) == {"a-tmp": "uncovered"} and found.notes == ()


def test_what_no_job_can_take_is_not_silently_fine_but_a_template_is() -> None:
    items = [item("lost", 1), item("tpl", 2), item("away-tmp", 3), item("ok", 4)]
    unworkable = {uuid(1): "it is inaccessible", uuid(2): "template", uuid(3): "it is inaccessible"}
    found = judged(items, protection(4, 1), taken={4: gold()}, excuses=[excuse("*-tmp")], unworkable=unworkable)
    assert states(found) == {"lost": "unworkable", "ok": "good", "away-tmp": "excused", "tpl": "template"}
    assert found.vms[0].why == "cannot be backed up: it is inaccessible" and found.exit_code == 6


def test_a_rule_that_could_not_be_decided_leaves_a_vm_unknown_not_uncovered() -> None:
    found = judged([item("vm1", 1)], unreadable={uuid(1): "its tags could not be read"})
    assert states(found) == {"vm1": "unknown"} and found.exit_code == 6


def test_a_repository_that_could_not_be_read_leaves_its_vms_unknown_and_nothing_covered() -> None:
    unread = ("repository main: it cannot be reached",)
    found = judged([item("vm1", 1)], taken={1: gold()}, repositories_unread={"main": "x"}, unread=unread)
    assert states(found) == {"vm1": "unknown"} and found.exit_code == 1


def test_nothing_is_all_covered_while_something_could_not_be_read() -> None:
    found = judged([item("vm1", 1)], protection(1, 1), taken={1: gold()}, unread=("vCenter dr: login refused",))
    assert found.alarming == 0 and found.exit_code == 1


def test_points_of_vms_that_are_gone_are_told_apart_from_those_of_vcenters_that_nobody_named() -> None:
    gone = protection(7, 100)
    elsewhere = protection(8, 50, vcenter_uuid="99999999-0000-0000-0000-000000000000")
    found = judged([item("vm1", 1)], protection(1, 1), gone, elsewhere, taken={1: gold()})
    assert [(one.vm, one.why.partition(" (")[0]) for one in found.gone] == [
        ("vm8", "of a vCenter that the site does not name"),
        ("vm7", "no longer in its vCenter"),
    ]
    assert found.exit_code == 0, "what is gone needs no backup"
    unsure = judged([], elsewhere, vcenters_unread=True)
    assert unsure.gone[0].why == "not in the vCenters that could be read"


def test_points_of_the_same_uuid_in_another_vcenter_are_not_this_vms() -> None:
    other = protection(1, 1, vcenter_uuid="99999999-0000-0000-0000-000000000000")
    found = judged([item("vm1", 1)], other, taken={1: gold()})
    assert states(found) == {"vm1": "no-point"} and len(found.gone) == 1


def test_a_vm_in_no_job_says_that_there_are_points_of_it() -> None:
    (one,) = judged([item("vm1", 1)], protection(1, 900, points=3)).vms
    assert one.why == "in no job, though there are 3 points of it"


def test_where_a_job_file_could_not_be_read_nothing_is_said_to_be_in_no_job() -> None:
    found = judged([item("vm1", 1), item("vm2", 2)], taken={1: gold()}, jobs_unread=True, unread=("b.yaml:3: x",))
    assert {one.vm: one.state for one in found.vms} == {"vm2": "unknown", "vm1": "no-point"}
    assert found.vms[-1].why == "in no job that could be read"


def drilled(verdict: Verdict, hours: float, *, passed: float | None = None, point: str = "p1") -> dict[str, Any]:
    """Of a protection: its newest drill, and when one was passed the last time."""
    at = NOW - timedelta(hours=hours)
    before = at if verdict == "passed" else None if passed is None else NOW - timedelta(hours=passed)
    return {"drill": NewestDrill(point, at, verdict, f"{verdict} as it was"), "drill_passed": before}


def cell(found: Coverage, column: str) -> list[str]:
    """Of each VM in its group."""
    return [row[group.columns.index(column)] for group in view.groups(found) for row in group.rows]


@pytest.mark.parametrize(
    ("known", "said", "why"),
    [
        ({}, "never", ""),
        (drilled("passed", 72), "3 d ago", ""),
        (drilled("failed", 2), "never, FAILED 2 h ago", "drill failed: failed as it was"),
        (drilled("failed", 2, passed=240), "10 d ago, FAILED 2 h ago", "drill failed: failed as it was"),
        (drilled("undecided", 5, passed=72), "3 d ago, undecided 5 h ago", "drill undecided: undecided as it was"),
        ({"drills_unread": ("of p1, drilled.json is damaged",)}, "unknown", "of p1, drilled.json is damaged"),
    ],
    ids=["never", "passed", "failed", "failed after a pass", "undecided after a pass", "unreadable"],
)
def test_of_each_vm_it_is_said_when_it_last_passed_a_drill(known: dict[str, Any], said: str, why: str) -> None:
    items = [item("db", 1), item("other", 2)]
    taken = {1: gold(), 2: gold()}
    found = judged(items, protection(1, 3, **known), protection(2, 3, **drilled("passed", 1)), taken=taken)
    assert cell(found, "drill passed") == [said, "1 h ago"]
    assert why in (cell(found, "why")[0] if why else "")
    assert found.exit_code == 0, "a drill alone covers and uncovers nothing"


def test_the_newest_drill_of_several_repositories_counts_and_any_pass() -> None:
    here = protection(1, 3, **drilled("failed", 2, point="here"))
    there = protection(1, 3, repository="offsite", directory="/offsite/vm1", **drilled("passed", 50, point="there"))
    (one,) = judged([item("db", 1)], here, there, taken={1: gold()}).vms
    assert one.drilled is not None
    assert (one.drilled.verdict, one.drilled.point, one.drilled.repository) == ("failed", "here", "main")
    assert one.drill_passed == NOW - timedelta(hours=50)


def test_of_a_vm_without_a_point_nothing_is_said_of_drills() -> None:
    found = judged([item("db", 1)], taken={1: gold()})
    assert all("drill passed" not in group.columns for group in view.groups(found))


def test_whose_newest_drill_did_not_pass_is_named_also_where_only_what_to_look_at_is_listed() -> None:
    items = [item(f"vm{number}", number) for number in range(9)]
    drills = [drilled("failed", 2) for _ in range(7)] + [drilled("undecided", 2), drilled("passed", 2)]
    points = [protection(number, 3, **known) for number, known in enumerate(drills)]
    found = judged(items, *points, taken=dict.fromkeys(range(9), gold()))
    assert found.notes == (
        "the newest drill failed: vm0, vm1, vm2, vm3, vm4 and 2 more",
        "the newest drill is undecided: vm7",
    )
    told = io.StringIO()
    view.print_text(found, told, everything=False)
    assert "note: the newest drill failed: vm0" in told.getvalue()
    assert "the newest drill failed: vm0" in view.as_markdown(found)
    assert "the newest drill failed: vm0" in view.as_html(found)


def test_of_several_drilled_points_the_newest_drill_counts_whichever_point_it_is_of() -> None:
    """A person may drill an older point today."""
    drills = {
        1: drill("failed", hours=30, now=NOW),
        2: drill("passed", hours=1, now=NOW),
        3: drill("undecided", hours=20, now=NOW),
        4: None,
    }
    entries = tuple(
        Entry(f"/repository/vm1/{made.point}", made, Marks(drilled=drills[number]))
        for number, made in ((number, manifest_of(number, NOW, {2000: None})) for number in drills)
    )
    found = protection_module.of(VmDirectory("/repository/vm1", entries=entries), "main")
    assert found.drill is not None
    assert (found.drill.verdict, found.drill.point) == ("passed", entries[1].point)
    assert found.drill_passed == NOW - timedelta(hours=1)


def copied_by(rpo: float | None = 26 * HOUR, **changes: Any) -> Copied:
    return Copied(**{"job": "pull", "rpo": rpo, "source": "main", "to": "offsite", **changes})


def seen_there(*own: Protection, jobs: Sequence[Copied], unread: dict[str, str] | None = None) -> Coverage:
    """On a host that knows no vCenter."""
    seen = Seen([], Protections(list(own), unread=unread or {}), copied=tuple(jobs))
    return judge(seen, [], "site.yaml", NOW)


def hours(age: float) -> datetime:
    return NOW - timedelta(hours=age)


@pytest.mark.parametrize(
    ("copy", "first", "rpo", "why"),
    [
        pytest.param(24.5, 999.0, 26 * HOUR, "", id="of last night"),
        pytest.param(75.0, 999.0, 26 * HOUR, "the newest in offsite is 3 d older", id="of three nights before"),
        pytest.param(75.0, 999.0, 8 * DAY, "", id="of three nights before, weekly"),
        pytest.param(75.0, 999.0, None, "the newest in offsite is 3 d older", id="of three nights before, no rpo"),
        pytest.param(None, 2.0, 26 * HOUR, "", id="a VM that is new"),
        pytest.param(None, 50.0, 26 * HOUR, "there is none in offsite", id="none, though there was time"),
    ],
)
@pytest.mark.parametrize("on_the_second_host", [True, False])
def test_copies_that_a_job_of_their_own_makes_are_overdue_once_they_are_behind(
    copy: float | None, first: float, rpo: float | None, why: str, *, on_the_second_host: bool
) -> None:
    own = [protection(1, 1.0, oldest=hours(first))]
    own += [] if copy is None else [protection(1, copy, repository="offsite", copies=True)]
    if on_the_second_host:
        found = seen_there(*own, jobs=[copied_by(rpo)])
    else:
        vcenter = VCenterSeen("prod", FakeCensus([item("vm1", 1)]))
        vcenter.taken = {uuid(1): gold()}
        found = judge(Seen([vcenter], Protections(own), copied=(copied_by(rpo),)), [], "site.yaml", NOW)
    (vm,) = found.vms
    assert (vm.state, why in vm.why, found.gone) == ("no-copy" if why else "good", True, ())
    assert vm.jobs == (("pull",) if on_the_second_host else ("gold",))


def test_the_second_host_tells_that_the_first_has_nothing_new_or_cannot_be_read() -> None:
    old = [protection(1, 50), protection(1, 50, repository="offsite", copies=True)]
    assert states(seen_there(*old, jobs=[copied_by()])) == {"vm1": "too-old"}
    unread = seen_there(*old[1:], jobs=[copied_by()], unread={"main": "no route to host"})
    assert states(unread) == {"vm1": "unknown"}
    doubted = seen_there(protection(1, None), jobs=[copied_by()])
    assert states(doubted) == {"vm1": "no-point"}


def test_a_vm_that_no_job_copies_is_one_that_is_gone() -> None:
    found = seen_there(protection(1, 1.0), protection(2, 1.0), jobs=[copied_by(vms=("vm1",))])
    assert (set(states(found)), [one.vm for one in found.gone]) == ({"vm1"}, ["vm2"])
    assert found.exit_code == 0
