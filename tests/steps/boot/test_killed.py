"""A process that boots a machine is killed by SIGKILL: nothing of the machine is left, here and behind sshd."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from runner.hosts.supervisor import mark_of
from steps.lab.sshd import Sshd
from tests.eventually import eventually
from tests.guests.boot_sectors import disk, sector
from tests.steps.boot import victim
from tests.steps.boot.machines import CAPACITY, needs_qemu, processes

pytestmark = needs_qemu

STARTED = ("once QEMU was started", "before its monitor is asked", victim.RUNNING)
PLACES = ("/tmp", "/var/tmp", "/dev/shm", os.environ.get("TMPDIR", "/tmp"))


@pytest.fixture(scope="module")
def forking() -> ForkServerContext:
    """Its server ends with this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([victim.__name__])
    return context


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk(tmp_path_factory.mktemp("source") / "disk.raw", sector("writes", "done"), CAPACITY)


@pytest.mark.parametrize("moment", [*victim.MOMENTS, victim.RUNNING])
@pytest.mark.parametrize("where", ["local", "ssh"])
def test_nothing_is_left(request, forking, source: Path, where: str, moment: str) -> None:
    sshd: Sshd | None = request.getfixturevalue("sshd") if where == "ssh" else None
    mark = mark_of(secrets.token_hex(8), "execution")
    told, tell = forking.Pipe(duplex=False)
    spec = None if sshd is None else sshd.spec
    process = forking.Process(target=victim.die, args=(spec, str(source), mark, moment, tell))
    process.start()
    try:
        assert told.poll(60)
        told.recv()
        if moment in STARTED:
            assert eventually(lambda: programs(mark), 30)
        held = directories(mark)
        assert held, "it has a directory at least"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
    assert eventually(lambda: not processes(mark), 30), "the shells that hold it end with it"
    assert eventually(lambda: not any(path.exists() for path in held), 30)
    assert eventually(lambda: not any(processes(str(path)) for path in held), 30), "and so does QEMU"


def directories(mark: str) -> list[Path]:
    """The temporary directories of that mark."""
    return [path.parent for path in _owners() if _says(path, mark)]


def _owners() -> Iterator[Path]:
    for place in dict.fromkeys(PLACES):
        yield from Path(place).glob("sd-*/.owner")


def _says(path: Path, mark: str) -> bool:
    with suppress(OSError):
        return mark in path.read_text()
    return False


def programs(mark: str) -> list[int]:
    """QEMUs that have one of its directories in their command line."""
    return [pid for path in directories(mark) for pid in processes(f"{path}/qmp") if _is_qemu(pid)]


def _is_qemu(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name == "qemu-system-x86_64"
    return False
