"""Changed block tracking that is on for the VM and leaves a disk out: it is said of that disk, and reset once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.events.events import Warned
from tests.e2e.site import Ran
from tests.estate import VM, Estate, disk, estate, inventory, machine, of, read, scribble

MISSING = "changed block tracking is on for the VM, but this disk has no changeId"
RESET = f"{MISSING}: `cbt: reset` in vars switches it off and on again, once"


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Estate]:
    left_out = disk(2001, "1 MiB", 1, tracking=request.param, content={"pattern": 2})
    vm = machine(disk(2000, "2 MiB", content={"pattern": 1}), left_out, change_tracking=True)
    with estate(tmp_path, {"prod": inventory(vm)}) as site:
        yield site


def kinds(point: Path) -> list[str]:
    return ["incremental" if one.parent else "full" for one in read(point).disks]


def note(site: Estate) -> list[Path]:
    return list(site.repository().glob("*/tracking-reset.json"))


def reason(site: Estate, job: Path, node: str = "parent[2001]") -> str:
    return " ".join(next(one for one in site.plan(job).nodes if one.id == node).notes)


def warnings(ran: Ran) -> str:
    return " / ".join(event.text for event in ran.events if isinstance(event, Warned))


@pytest.mark.parametrize("started", ["missing-until-reset"], indirect=True)
def test_a_disk_without_a_change_id_is_named_and_a_reset_makes_it_incremental_again(started: Estate) -> None:
    site, simulator = started, started.vcenter
    job = site.job(cbt="enable")
    site.backup(job)
    assert RESET in reason(site, job)

    job = site.job(cbt="reset")
    assert "this run resets it" in reason(site, job)
    second = site.run(job)
    told = "no changeId for disk 2001 of db, though changed block tracking is on: resetting it once"
    assert told in warnings(second)
    (point,) = second.points()
    assert kinds(point) == ["full", "full"]
    assert all(of(point, key).change_id for key in (2000, 2001))
    assert simulator.snapshots(VM) == []
    assert note(site) != []

    reconfigured = simulator.calls["ReconfigVM_Task"]
    scribble(simulator, 2001, 1024 * 1024, seed=3)
    assert kinds(site.backup(job)) == ["incremental", "incremental"]
    assert simulator.calls["ReconfigVM_Task"] == reconfigured
    assert note(site) == []
    site.assert_all_equal()


@pytest.mark.parametrize("started", ["missing"], indirect=True)
def test_a_reset_that_did_not_help_is_told_and_not_tried_again(started: Estate) -> None:
    site, simulator = started, started.vcenter
    job = site.job(cbt="reset")
    first = site.run(job)
    assert "did not help disk 2001 of db, and is not repeated: check in vSphere" in warnings(first)
    assert simulator.calls["ReconfigVM_Task"] == 2
    second = site.run(job)
    assert kinds(second.points()[0]) == ["incremental", "full"]
    run = first.output("snapshot")["name"].removeprefix("sendense-")
    assert f"{MISSING}: run {run} reset it, and that did not help" in second.output("parent[2001]")["reason"]
    assert simulator.calls["ReconfigVM_Task"] == 2
    assert simulator.snapshots(VM) == []
