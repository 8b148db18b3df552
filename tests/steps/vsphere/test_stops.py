"""What waits for a vCenter ends with the run's stop, and what it asked for is not lost."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable

import pytest

from runner.base.errors import Interrupted
from runner.base.units import MINUTE
from steps.backup.snapshot import Snapshot
from steps.vsphere import cbt, client, snapshots
from tests.eventually import eventually
from tests.vcenter import NAME, PASSWORD, Lab, Starts, vcenters

pytestmark = pytest.mark.slow

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


class SlowPassword:
    """The lab's next login waits for `give`, which returns once all that was left behind has ended."""

    def __init__(self, lab: Lab) -> None:
        self._path = lab.scratch / "slow-password"
        self._writer = -1
        self._others = left_behind()
        os.mkfifo(self._path)
        lab.shared["vcenter", "prod"].vcenter = lab.vcenter(password={"file": str(self._path)})

    def is_awaited(self) -> bool:
        try:
            self._writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO  # nobody reads it
            return False
        return True

    def give(self) -> None:
        os.write(self._writer, PASSWORD.encode())
        os.close(self._writer)
        assert eventually(self._nobody_is_left)

    def _nobody_is_left(self) -> bool:
        return left_behind() <= self._others


def left_behind() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "may be left"}


def leaves_in_time(leave: Callable[[], object]) -> bool:
    """Before a login that hangs has ended, which has 30 seconds for its first answer."""
    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    return eventually(lambda: not leaving.is_alive(), timeout=20)


def test_an_act_that_a_stop_left_in_a_login_is_not_begun_after_it(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    password = SlowPassword(lab)
    lab.simulator.fault("session-expire", method="CreateSnapshot_Task")
    ended_by_a_stop(lab, lambda: lab.snapshot(found), password.is_awaited)
    password.give()
    assert lab.simulator.calls["Login"] == 2
    assert lab.simulator.calls["CreateSnapshot_Task"] == 1  # the one that met the expired session
    assert lab.simulator.snapshots("pgtest1") == []


def test_a_login_that_ends_after_the_client_was_left_is_logged_out(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.discover()
    password = SlowPassword(lab)
    lab.simulator.fault("session-expire")
    ended_by_a_stop(lab, lambda: lab.client.now(), password.is_awaited)
    assert leaves_in_time(lab.stack.close)
    assert lab.simulator.calls["Logout"] == 1
    password.give()
    assert (lab.simulator.calls["Login"], lab.simulator.calls["Logout"]) == (2, 2)


def test_who_leaves_waits_for_no_login_at_a_vcenter_that_says_nothing(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.discover()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent, contextlib.ExitStack() as lent:
        lent.enter_context(lab.client.lend_cookie(lambda cookie: None, lambda error: None))
        lab.shared["vcenter", "prod"].vcenter = lab.vcenter(port=silent.getsockname()[1])
        lab.simulator.fault("session-expire")
        ended_by_a_stop(lab, lambda: lab.client.now(), lambda: select.select([silent], [], [], 0)[0])

        def leave() -> None:
            lent.close()
            lab.stack.close()

        assert leaves_in_time(leave)
    assert lab.simulator.calls["Logout"] == 1
