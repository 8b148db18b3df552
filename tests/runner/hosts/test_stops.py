"""A host that is bound to a stop ends what it waits for when that comes, on this machine and behind sshd."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.base.errors import Interrupted, LockedError
from runner.base.units import MiB
from runner.base.waiting import NEVER
from runner.hosts.connect import connect
from runner.hosts.fencing import guarded
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.lab.sshd import Sshd
from tests.eventually import eventually
from tests.programs import Programs
from tests.sshd import sshd

pytestmark = pytest.mark.slow

__all__ = ["sshd"]

IN_TIME = 5.0
"""Seconds in which work ends once the stop came."""

HANGS = '#!/bin/sh\necho $$ >"$(dirname "$0")/pid"\nexec sleep 3600\n'
DEAF = '#!/bin/sh\ntrap "" TERM\necho $$ >"$(dirname "$0")/pid"\nwhile :; do sleep 3600; done\n'


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


@pytest.fixture
def behind_sshd(tmp_path: Path, programs: Programs) -> Iterator[Host]:
    server = Sshd(tmp_path / "sshd", {"SetEnv": f"SHLVL=2 PATH={programs.path}"})
    server.start()
    with contextlib.closing(connect("hub", server.spec)) as host:
        yield host
    server.stop()


@pytest.fixture(params=["local", "ssh"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> Host:
    if request.param == "ssh":
        behind: Host = request.getfixturevalue("behind_sshd")
        return behind
    monkeypatch.setenv("PATH", programs.path)
    return LocalHost("here")


def ended_by_a_stop(work: Callable[[threading.Event], object], begun: Callable[[], object]) -> float:
    """Seconds from the stop, which comes once it has begun, to the end of `work` as one that was interrupted."""
    stop = threading.Event()
    asked: list[float] = []

    def ask() -> None:
        if eventually(begun):
            asked.append(time.monotonic())
        stop.set()

    threading.Thread(target=ask).start()
    with pytest.raises(Interrupted):
        work(stop)
    ended = time.monotonic()
    assert asked, "it never began"
    return ended - asked[0]


def test_a_command_is_ended_there_too(host: Host, programs: Programs) -> None:
    programs.put("qemu-img", HANGS)
    argv = ("qemu-img", "check", "disk.qcow2")
    took = ended_by_a_stop(lambda stop: host.until(stop).run(argv, timeout=3600), programs.runs)
    assert took < IN_TIME
    assert programs.is_gone()


def test_a_command_that_heeds_no_term_is_killed(host: Host, programs: Programs) -> None:
    programs.put("qemu-img", DEAF)
    took = ended_by_a_stop(lambda stop: host.until(stop).run(("qemu-img",), timeout=3600), programs.runs)
    assert took < 2 * IN_TIME
    assert eventually(programs.is_gone)


def test_a_command_that_writes_without_end_is_ended(host: Host, programs: Programs) -> None:
    programs.put("cat", '#!/bin/sh\necho $$ >"$(dirname "$0")/pid"\nexec yes\n')
    took = ended_by_a_stop(lambda stop: host.until(stop).run(("cat",), timeout=3600), programs.runs)
    assert took < IN_TIME
    assert programs.is_gone()


def test_a_sync_is_ended(host: Host, programs: Programs, tmp_path: Path) -> None:
    programs.put("sync", HANGS)
    (tmp_path / "disk.qcow2").touch()
    took = ended_by_a_stop(lambda stop: host.until(stop).sync(f"{tmp_path}/disk.qcow2"), programs.runs)
    assert took < IN_TIME
    assert programs.is_gone()


def test_a_file_is_read_no_further(host: Host, tmp_path: Path) -> None:
    (tmp_path / "digests").write_bytes(bytes(8 * MiB))
    stop, read = threading.Event(), 0
    with pytest.raises(Interrupted):
        for piece in host.until(stop).read_chunks(f"{tmp_path}/digests", MiB):
            read += len(piece)
            stop.set()
    assert read < 8 * MiB


def test_a_file_that_does_not_come_is_waited_for_no_longer(
    behind_sshd: Host, programs: Programs, tmp_path: Path
) -> None:
    programs.put("dd", HANGS)
    (tmp_path / "digests").write_bytes(bytes(MiB))
    took = ended_by_a_stop(lambda stop: list(behind_sshd.until(stop).read_chunks(f"{tmp_path}/digests")), programs.runs)
    assert took < IN_TIME


def test_a_sparse_file_of_which_more_is_to_be_sent_is_not_made(host: Host, tmp_path: Path) -> None:
    stop = threading.Event()

    def pieces() -> Iterator[tuple[int, bytes]]:
        yield 0, bytes(MiB)
        stop.set()
        yield MiB, bytes(MiB)

    with pytest.raises(Interrupted):
        host.until(stop).write_sparse(f"{tmp_path}/disk.blake3", 2 * MiB, pieces())
    assert eventually(lambda: sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [])


def test_a_server_that_is_silent_at_the_login_is_waited_for_no_longer(sshd: Sshd) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        spec = sshd.spec.model_copy(update={"port": silent.getsockname()[1]})
        with contextlib.closing(connect("hub", spec)) as host:
            took = ended_by_a_stop(
                lambda stop: host.until(stop).run(("true",)), lambda: select.select([silent], [], [], 0)[0]
            )
    assert took < IN_TIME


def test_nothing_is_started_after_the_stop(host: Host, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    stopped = host.until(stop)
    for start in (stopped.run, stopped.popen):
        with pytest.raises(Interrupted):
            start(("touch", f"{tmp_path}/made"))
    assert not (tmp_path / "made").exists()


def test_what_cleans_up_works_after_the_stop(host: Host, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    stopped = host.until(stop)
    stopped.write(f"{tmp_path}/record", b"interrupted")
    stopped.rename(f"{tmp_path}/record", f"{tmp_path}/renamed")
    stopped.remove(f"{tmp_path}/renamed")
    assert stopped.until(NEVER).run(("echo", "cleaned")).stdout == b"cleaned\n"


def test_a_guarded_host_stays_guarded(tmp_path: Path) -> None:
    def lost() -> None:
        raise LockedError("the VM", "another run")

    with pytest.raises(LockedError):
        guarded(LocalHost(), lost).until(NEVER).write(f"{tmp_path}/made", b"x")
