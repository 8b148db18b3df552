"""How many logins to one server this user's processes have under way at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from runner.base.errors import Interrupted
from runner.base.waiting import NEVER
from runner.hosts import connect_limits
from runner.hosts.connect_limits import STARTS_AT_ONCE, start_slot
from runner.hosts.spec import SshSpec

HOLDER = """
import sys, threading
from runner.base.waiting import NEVER
from runner.hosts.connect_limits import start_slot
from runner.hosts.spec import SshSpec
with start_slot(SshSpec(ssh=sys.argv[1]), NEVER):
    print("held", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def spec() -> SshSpec:
    return SshSpec(ssh=f"backup@slots-{os.getpid()}-{os.urandom(4).hex()}.example")


@contextmanager
def holders(spec: SshSpec, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        argv = [sys.executable, "-c", HOLDER, f"backup@{spec.server}"]
        started = [stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)) for _ in range(count)]
        for one in started:
            stack.callback(one.kill)
            assert one.stdout is not None and one.stdout.readline() == "held\n"
        yield started


def test_other_processes_are_waited_for_and_one_that_is_killed_gives_its_slot_back(spec: SshSpec) -> None:
    taken = threading.Event()

    def take() -> None:
        with start_slot(spec, NEVER):
            taken.set()

    with holders(spec, STARTS_AT_ONCE) as started:
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not taken.wait(0.3)
        started[0].send_signal(signal.SIGKILL)
        assert taken.wait(10)
        waiting.join(10)


def test_threads_wait_for_each_other_too_and_a_stop_ends_the_wait(spec: SshSpec) -> None:
    stop = threading.Event()
    with ExitStack() as held:
        for _ in range(STARTS_AT_ONCE):
            held.enter_context(start_slot(spec, NEVER))
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(Interrupted), start_slot(spec, stop):
            raise AssertionError("a sixth")
        with start_slot(SshSpec(ssh="backup@another.example"), NEVER):
            pass
    with start_slot(spec, NEVER):
        pass


def test_a_jump_host_has_slots_of_its_own(spec: SshSpec) -> None:
    through = [SshSpec(ssh=f"backup@{n}.{spec.server}", jump=f"jump@{spec.server}") for n in range(STARTS_AT_ONCE + 1)]
    stop = threading.Event()
    with ExitStack() as held:
        for one in through[:-1]:
            held.enter_context(start_slot(one, NEVER))
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(Interrupted), start_slot(through[-1], stop):
            raise AssertionError("a sixth")


def test_slots_that_are_never_given_back_only_delay_a_login(spec: SshSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_limits, "SLOT_TIMEOUT", 0.1)
    with ExitStack() as held:
        for _ in range(STARTS_AT_ONCE + 1):
            held.enter_context(start_slot(spec, NEVER))


def test_a_place_that_is_not_ours_is_not_used(spec: SshSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    open_to_all = tmp_path / f"open-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(connect_limits, "_PLACE", str(tmp_path / "open"))
    with start_slot(spec, NEVER):
        assert not list(open_to_all.iterdir())
