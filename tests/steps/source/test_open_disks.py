"""Disks that VDDK may have open at once: one too many waits for its turn."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from runner.base.errors import Interrupted
from steps.source.open_disks import PER_ESXI, OpenDisks
from tests.eventually import eventually


class Waiting:
    """A disk that wants a place, in a thread of its own, and keeps it until told to go."""

    def __init__(self, disks: OpenDisks, esxi: str, stop: threading.Event | None = None) -> None:
        self.told: list[str] = []
        self.opened = threading.Event()
        self.done = threading.Event()
        self.error: Exception | None = None
        self._stop = stop or threading.Event()
        self._thread = threading.Thread(target=self._run, args=(disks, esxi))
        self._thread.start()

    def _run(self, disks: OpenDisks, esxi: str) -> None:
        try:
            with disks.place(esxi, self._stop, self.told.append):
                self.opened.set()
                assert self.done.wait(30)
        except Interrupted as error:
            self.error = error

    def end(self) -> None:
        self.done.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.behaviour(32, "documented")
def test_buffers_of_4_mib_a_disk_make_12_disks_of_48_mb() -> None:
    assert PER_ESXI == 12


def test_a_disk_over_the_limit_of_its_esxi_host_waits_for_one_to_be_done() -> None:
    disks = OpenDisks(per_esxi=2)
    first, second, other = Waiting(disks, "a"), Waiting(disks, "a"), Waiting(disks, "b")
    for disk in (first, second, other):
        assert disk.opened.wait(10)
    third = Waiting(disks, "a")
    assert eventually(lambda: third.told)
    assert third.told == ["2 disks of ESXi host a open, the most that its NFC buffers allow"]
    assert not third.opened.is_set()
    other.end()
    assert not third.opened.is_set()
    first.end()
    assert third.opened.wait(10)
    second.end()
    third.end()


@pytest.mark.behaviour(32, "documented")
def test_a_vcenter_has_a_limit_of_its_own() -> None:
    disks = OpenDisks(per_vcenter=2)
    first, second = Waiting(disks, "a"), Waiting(disks, "b")
    assert first.opened.wait(10)
    assert second.opened.wait(10)
    third = Waiting(disks, "c")
    assert eventually(lambda: third.told)
    assert third.told == ["2 disks open through this vCenter, the most that it allows"]
    first.end()
    assert third.opened.wait(10)
    second.end()
    third.end()


def test_a_run_that_is_told_to_stop_does_not_wait() -> None:
    disks, stop = OpenDisks(per_esxi=1), threading.Event()
    first = Waiting(disks, "a")
    assert first.opened.wait(10)
    second = Waiting(disks, "a", stop)
    assert eventually(lambda: second.told)
    stop.set()
    second.end()
    assert isinstance(second.error, Interrupted)
    first.end()


def test_disks_that_fail_together_halve_the_limit_once() -> None:
    disks, stop = OpenDisks(), threading.Event()
    with ExitStack() as stack:
        places = [stack.enter_context(disks.place("a", stop, pytest.fail)) for _ in range(8)]
        for place in places:
            place.refused()
        assert disks.limit("a") == 4
        assert disks.limit("b") == PER_ESXI
    with disks.place("a", stop, pytest.fail) as later:
        later.refused()
    assert disks.limit("a") == 1
    with disks.place("a", stop, pytest.fail) as alone:
        alone.refused()
    assert disks.limit("a") == 1  # one is always let through, to be told by the host itself
