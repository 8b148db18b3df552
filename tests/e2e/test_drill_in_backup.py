"""A backup that drills its new point: after its snapshot was released, when that is due, and never to its own harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.engine.job_state import JobState
from runner.events.events import Event, NodeStarted, Warned
from runner.hosts.local import LocalHost
from steps.qemu.system import QEMU_SYSTEM
from steps.repository import layout, verification_records
from steps.repository.verification_records import Drill
from tests.drills import needs_qemu
from tests.e2e.site import Ran
from tests.estate import VM, Estate, disk, estate, inventory, machine
from tests.guests.boot_sectors import sector

pytestmark = [needs_qemu, pytest.mark.slow]

HERE = LocalHost("local")
DRILL: dict[str, Any] = {
    "expect": [{"serial": "login:"}],
    "within": "60s",
    "accelerator": "tcg",
    "limits": {"memory": "64MiB", "overlay": "16MiB"},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "1 MiB")))}) as found:
        found.vcenter.write(VM, 2000, 0, sector("prints", "login: "))
        yield found


def recorded(point: Path) -> Drill | None:
    return verification_records.drill(HERE, str(point))


def warnings(ran: Ran) -> list[str]:
    return [event.text for event in ran.events if isinstance(event, Warned)]


def test_a_new_point_is_drilled_once_its_snapshot_is_released_and_again_when_that_is_due(site: Estate) -> None:
    job, held = site.job(drill={**DRILL, "every": "7d"}), []

    def look(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "drill":
            held.append(site.vcenter.snapshots(VM))

    first = site.backup(job, look)
    assert held == [[]]
    found = recorded(first)
    assert found is not None and found.verdict == "passed" and found.passed_at == found.at

    ran = site.run(job)
    (second,) = ran.points()
    assert first.name in ran.output("drill")["skipped"]
    assert recorded(second) is None
    assert (ran.exit_code, warnings(ran)) == (0, [])

    (third,) = site.run(site.job(drill=DRILL)).points()
    assert recorded(third) is not None, "without `every` each is"


def test_what_cannot_be_drilled_is_a_warning_and_recorded_as_undecided(
    site: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(QEMU_SYSTEM, program="qemu-system-none", asks=("qemu-system-none", "--version"))
    monkeypatch.setattr("steps.drill.planning.QEMU_SYSTEM", absent)
    monkeypatch.setattr("steps.drill.drill_new_point.QEMU_SYSTEM", absent)
    ran = site.run(site.job(drill=DRILL))
    (point,) = ran.points()
    (warned,) = warnings(ran)
    assert "was not drilled: host local has no qemu-system-none: install" in warned
    assert (ran.exit_code, ran.error) == (0, "")
    found = recorded(point)
    assert found is not None
    assert (found.verdict, found.accelerator, found.picture) == ("undecided", None, None)
    assert "install" in found.why


def test_who_is_stopped_while_it_drills_has_made_a_backup(site: Estate) -> None:
    site.vcenter.write(VM, 2000, 0, sector("hangs"))
    job, stop = site.job(drill=DRILL), threading.Event()

    def end(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "drill":
            stop.set()

    ran = site.run(job, end, stop=stop)
    assert (ran.exit_code, warnings(ran)) == (0, [])
    assert ran.output("drill")["skipped"] == "the run was told to stop"
    (point,) = ran.points()
    assert recorded(point) is None


def test_a_run_whose_snapshot_stays_is_not_kept_busy_by_a_drill(site: Estate) -> None:
    site.vcenter.fault("fail-task", method="RemoveSnapshot_Task")
    job = site.job(drill=DRILL)
    failed = site.run(job)
    assert failed.exit_code == 1
    assert not [event for event in failed.events if isinstance(event, NodeStarted) and event.node == "drill"]
    resumed = site.run(job)
    assert (resumed.exit_code, resumed.result.run) == (0, failed.result.run)
    (point,) = resumed.points()
    assert (drill := recorded(point)) is not None
    assert drill.verdict == "passed"


def test_after_a_kill_in_the_drill_the_next_run_is_a_backup(site: Estate) -> None:
    job = site.job(drill=DRILL)
    ran = site.run(job)
    killed(site, ran, drill="intent", cleanup="failed")
    resumed = site.run(job)
    assert (resumed.exit_code, resumed.result.run) == (0, ran.result.run), "its cleanup is still to be done"

    killed(site, ran, drill="intent")
    again = site.run(job)
    assert again.exit_code == 0
    assert again.result.run != ran.result.run
    assert again.points() != ran.points()
    assert any("was cut short when its work was done" in text for text in warnings(again))
    assert ran.points()[0].exists()


def killed(site: Estate, ran: Ran, **states: Any) -> None:
    """Its records as a kill at its end leaves them: those nodes are not done."""
    (state,) = (site.repository() / layout.STATE).glob(f"*/{ran.result.run}")
    of_job = JobState.at(HERE, str(state.parent))
    (record,) = of_job.runs().known
    run = of_job.open(record.id)
    run.save(record.model_copy(update={"phase": "unwinding", "ended": None}))
    for node in [one for one in run.nodes().values() if one.step_id in states]:
        run.put(node.model_copy(update={"state": states[node.step_id], "out": None}))
