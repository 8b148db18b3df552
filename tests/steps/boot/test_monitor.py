"""QEMU's monitor answers, or says why it does not, in time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.boot import monitor as monitors
from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.boot.start import start
from steps.watch.resume import resume
from tests.eventually import eventually
from tests.guests.boot_sectors import disk, sector
from tests.hub import Hub
from tests.steps.boot.machines import CAPACITY, needs_qemu, one_disk, qemu

pytestmark = needs_qemu


@pytest.fixture
def resetting(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A guest that resets itself over and over, once it runs."""
    monkeypatch.setattr(monitors, "MOST_EVENTS", 3)
    ctx = hub.context()
    source = disk(tmp_path / "disk.raw", sector("reboots"), CAPACITY)
    with start(ctx, ctx.host("hub"), one_disk(source)) as running:
        yield running


def test_what_qemu_refuses_is_a_sentence_with_its_words(resetting: Running):
    with pytest.raises(BootError, match=r"QEMU on hub refuses `eject`: .*nothing"):
        resetting.monitor.execute("eject", device="nothing")
    assert resetting.monitor.execute("query-status") == {"running": False, "singlestep": False, "status": "prelaunch"}


def test_of_a_flood_of_events_the_newest_are_kept(resetting: Running, hub: Hub):
    resume(resetting, (), hub.stop)
    seen = []

    def flooded() -> bool:
        found = resetting.monitor.events()
        assert len(found) <= 3
        seen.extend(found)
        return len(seen) > 8

    assert eventually(flooded, 60)
    assert {event.name for event in seen} <= {"RESUME", "RESET"}
    assert seen[-1].data == {"guest": True, "reason": "guest-reset"}


def test_events_that_came_before_the_end_are_told_before_it(resetting: Running):
    resetting.monitor.execute("system_reset")
    os.kill(qemu(resetting), signal.SIGKILL)
    with pytest.raises(BootError, match="ended with"):
        resetting.monitor.execute("query-status")
    assert [event.name for event in resetting.monitor.events()] == ["RESET"]
    with pytest.raises(BootError, match="ended with"):
        resetting.monitor.events()


def test_an_answer_that_does_not_come_is_waited_for_until_the_deadline_alone(
    resetting: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(monitors, "ANSWER_TIMEOUT", 0.2)
    os.kill(qemu(resetting), signal.SIGSTOP)
    with pytest.raises(BootError, match="QEMU on hub did not answer `query-status` in time"):
        resetting.monitor.execute("query-status")


def test_a_socket_that_nobody_is_connected_to_keeps_the_guest_from_starting(
    resetting: Running, hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("steps.watch.resume.CONNECT_TIMEOUT", 0.1)
    with pytest.raises(BootError, match="nothing connects to QEMU's serial on hub"):
        resume(resetting, ("serial",), hub.stop)
