"""What waits for a vCenter ends with the run's stop, and what it asked for is not lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from runner.base.errors import Interrupted
from runner.base.units import MINUTE
from steps.backup.snapshot import Snapshot
from steps.vsphere import cbt, client, snapshots
from tests.eventually import eventually
from tests.vcenter import NAME, Lab, Starts, vcenters

start_vcenter = vcenters

IN_TIME = 2.0
"""Seconds in which work ends once the stop came."""


def ended_by_a_stop(lab: Lab, work: Callable[[], object], begun: Callable[[], object]) -> str:
    """What it says of its end; later work of the lab is stopped by nothing."""
    stop = lab.stop
    asked: list[float] = []

    def ask() -> None:
        if eventually(begun):
            asked.append(time.monotonic())
        stop.set()

    threading.Thread(target=ask).start()
    with pytest.raises(Interrupted) as raised:
        work()
    ended = time.monotonic()
    assert asked, "it never began"
    assert ended - asked[0] < IN_TIME
    lab.stop = threading.Event()
    return str(raised.value)


def test_a_snapshot_whose_creation_is_left_is_found_by_the_next_run(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    lab.simulator.fault("slow-task", method="CreateSnapshot_Task", seconds=4)
    said = ended_by_a_stop(lab, lambda: lab.snapshot(found), lambda: not lab.simulator.armed)
    assert f"while creating the snapshot {NAME}; vSphere continues it (task-" in said
    assert lab.simulator.snapshots("pgtest1") == []
    assert lab.snapshot(found).name == NAME  # it waits for the one that is being created
    assert lab.simulator.calls["CreateSnapshot_Task"] == 1


def test_a_snapshot_whose_creation_is_left_is_released_by_who_discards_the_run(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    lab.simulator.fault("slow-task", method="CreateSnapshot_Task", seconds=4)
    ended_by_a_stop(lab, lambda: lab.snapshot(found), lambda: not lab.simulator.armed)
    begun = Snapshot().leftover(lab.context(), lab.snapshot_in(found))
    assert begun is not None
    lab.undo(found, begun)
    assert lab.simulator.snapshots("pgtest1") == []


def test_a_removal_that_is_left_is_made_good_by_the_next_one(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("slow-task", method="RemoveSnapshot_Task", seconds=4)
    said = ended_by_a_stop(lab, lambda: lab.undo(found, taken), lambda: not lab.simulator.armed)
    assert "while removing the snapshot" in said
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []


def test_nobody_waits_on_for_a_vm_that_another_task_holds(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "BUSY_PAUSE", 10 * MINUTE)
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("fail-task", method="RemoveSnapshot_Task", fault="TaskInProgress")
    ended_by_a_stop(lab, lambda: lab.undo(found, taken), lambda: not lab.simulator.armed)
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []


def test_a_call_that_is_to_be_made_again_is_not(start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 10 * MINUTE)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 10 * MINUTE)
    lab = start_vcenter()
    lab.discover()
    lab.simulator.fault("lost-answer", method="CurrentTime")
    ended_by_a_stop(lab, lambda: lab.client.now(), lambda: not lab.simulator.armed)


def test_a_tracking_file_that_is_locked_is_not_asked_for_again(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbt, "FIRST_PAUSE", 10 * MINUTE)
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("cbt-locked")
    ended_by_a_stop(
        lab,
        lambda: list(cbt.areas(lab.client, found.vm.moref, taken.moref, taken.disks[0].key, 1 << 20, "*")),
        lambda: not lab.simulator.armed,
    )


def test_an_answer_that_does_not_come_is_waited_for_no_longer(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.discover()
    silent, asked = threading.Event(), threading.Event()

    def work(session: object) -> None:
        asked.set()
        silent.wait(10 * MINUTE)

    ended_by_a_stop(lab, lambda: lab.client.call("asking", work), asked.is_set)
    silent.set()


def test_who_is_not_stopped_has_its_answer_though_others_of_the_run_are(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    stopped = lab.client
    lab.stop.set()
    with pytest.raises(Interrupted):
        stopped.call("asking", lambda session: threading.Event().wait(10 * MINUTE))
    lab.stop = threading.Event()
    assert lab.client.now() is not None
