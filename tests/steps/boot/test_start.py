"""A machine that is started on a host, and what is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import Interrupted
from runner.hosts.connect import connect
from steps.boot import firmware
from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.boot.start import start
from steps.lab.sshd import Sshd
from steps.nbd.image_server import serve
from steps.values.drill import Expectation
from steps.values.stored_point import DiskImage
from steps.watch.resume import resume
from tests.eventually import eventually, is_gone
from tests.guests.boot_sectors import disk, sector
from tests.hub import Hub, hub_on
from tests.steps.boot.machines import CAPACITY, machine, needs_qemu, one_disk, opened, pids, processes, qemu, request

pytestmark = needs_qemu

SAID = "the first byte counts"


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk(tmp_path_factory.mktemp("speaking") / "disk.raw", sector("prints", SAID), CAPACITY)


def heard(running: Running, hub: Hub, length: int) -> bytes:
    """What its serial port says first."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(running.serial)
        resume(running, ("serial",), hub.stop)
        said = b""
        while len(said) < length:
            said += connection.recv(length)
    return said


def left(directory: str, found: list[int]) -> bool:
    """Whether anything is there of a machine that had this directory and these processes."""
    return Path(directory).exists() or not all(map(is_gone, found))


def test_what_it_says_is_heard_from_the_first_byte_on(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        assert heard(running, any_hub, len(SAID)) == SAID.encode()
        assert running.accelerator == "tcg"
        assert running.accelerator_why == "the job says so"
        assert running.firmware == "BIOS (SeaBIOS)"
        ring = running.monitor.execute("ringbuf-read", device=running.firmware_log, size=65536)
        assert "Booting from Hard Disk" in str(ring)
    assert any_hub.run not in " ".join(ctx.run.tools)
    assert ctx.run.tools["qemu-system-x86_64 on hub"] == running.qemu


def test_nothing_of_it_is_on_disk_while_it_runs(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        images = [name for name in opened(qemu(running)) if ".qcow2" in name]
        assert images
        assert all(name.endswith(" (deleted)") for name in images)
        assert not Path(images[0].removesuffix(" (deleted)")).parent.exists()
        assert sorted(path.name for path in Path(running.directory).iterdir()) == [".owner", "qmp", "serial"]
        assert Path(running.directory).stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_at_the_end(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking, Expectation(port=22, banner="SSH-"))) as running:
        found = pids(running)
        assert qemu(running) in found
    assert eventually(lambda: not left(running.directory, found))
    assert not Path(running.serial).exists()


def test_nothing_is_left_after_a_failure_in_the_midst_of_it(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    with pytest.raises(ZeroDivisionError), start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        found = pids(running)
        raise ZeroDivisionError
    assert eventually(lambda: not left(running.directory, found))


def test_a_qemu_that_does_not_start_is_one_sentence_with_its_own_words(any_hub: Hub, tmp_path: Path):
    ctx = any_hub.context()
    with pytest.raises(BootError) as failed, start(ctx, ctx.host("hub"), one_disk(tmp_path / "absent.raw")):
        raise AssertionError("it was started")
    assert failed.value.message.startswith("QEMU on hub ended with exit code 1: ")
    assert f"Could not open '{tmp_path}/absent.raw': No such file or directory" in failed.value.message
    assert "\n" not in failed.value.message
    assert not failed.value.transient


def test_a_qemu_that_dies_is_told_of_and_not_waited_for(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        os.kill(qemu(running), signal.SIGKILL)
        with pytest.raises(BootError, match=r"QEMU on hub ended with exit code 137 \(killed by SIGKILL\)") as failed:
            running.monitor.execute("query-status")
        assert failed.value.transient
        with pytest.raises(BootError, match="ended with"):
            running.monitor.events()


def test_a_stop_ends_the_wait_for_a_qemu_that_does_not_answer(hub: Hub, speaking: Path):
    ctx = hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        os.kill(qemu(running), signal.SIGSTOP)
        threading.Timer(0.3, hub.stop.set).start()
        with pytest.raises(Interrupted):
            running.monitor.execute("query-status")
        found = pids(running)
    assert eventually(lambda: not left(running.directory, found)), "a frozen QEMU is ended too"


def test_a_stop_while_it_starts_leaves_nothing(any_hub: Hub, speaking: Path, monkeypatch: pytest.MonkeyPatch):
    ctx = any_hub.context()
    made: list[str] = []
    prepare = firmware.prepare

    def stopped(*arguments: Any) -> firmware.Firmware:
        made.append(arguments[-1])
        ctx.stop.set()
        return prepare(*arguments)

    monkeypatch.setattr(firmware, "prepare", stopped)
    with pytest.raises(Interrupted), start(ctx, ctx.host("hub"), one_disk(speaking)):
        raise AssertionError("it was started")
    assert eventually(lambda: not Path(made[0]).exists() and not processes(made[0]))


def test_a_disk_is_read_from_an_export_and_nothing_reaches_it(hub: Hub, tmp_path: Path):
    image = tmp_path / "point.qcow2"
    raw = disk(tmp_path / "source.raw", sector("writes", SAID, times=4), CAPACITY)
    hub.host.run(("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)))
    before = image.read_bytes()
    ctx = hub.context()
    with ctx.closing:
        stored = DiskImage(host="hub", images=(str(image),), key=2000, capacity=CAPACITY, export="point/disk 1")
        serving = serve(ctx, hub.host, stored, "read-only", 1)
        for where in (serving.there, serving.uris[0]):
            with start(ctx, ctx.host("hub"), request(machine(), {2000: where})) as running:
                assert heard(running, hub, len(SAID)) == SAID.encode()
    assert image.read_bytes() == before


def test_a_port_leads_to_the_guest_and_is_of_loopback_alone(any_hub: Hub, speaking: Path):
    ctx = any_hub.context()
    expect = (Expectation(port=22, banner="SSH-"), Expectation(port=443, banner="HTTP"))
    with start(ctx, ctx.host("hub"), one_disk(speaking, *expect)) as running:
        assert set(running.ports) == {22, 443}
        listening = [
            line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if listens(line, running)
        ]
        assert len(listening) == 2
        assert {address.split(":")[0] for address in listening} == {"0100007F"}
        for where in running.ports.values():
            assert connects(where)


def listens(line: str, running: Running) -> bool:
    state, inode = line.split()[3], line.split()[9]
    return state == "0A" and f"socket:[{inode}]" in opened(qemu(running))


def connects(where: str) -> bool:
    if where.startswith("/"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(where)
            return True
    host, _, port = where.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 10):
        return True
    return False


def test_a_host_without_qemu_is_told_what_to_install(hub: Hub, speaking: Path, tmp_path: Path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "env", "setsid", "kill", "mktemp", "rm", "readlink", "cat", "sleep", "stat", "qemu-img"):
        (programs / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(programs))
    ctx = hub.context()
    message = "host hub has no qemu-system-x86_64: install .*Debian package qemu-system-x86"
    with pytest.raises(Exception, match=message), start(ctx, ctx.host("hub"), one_disk(speaking)):
        raise AssertionError("it was started")


def test_the_sandbox_is_on_and_nothing_more_can_be_started(hub: Hub, speaking: Path):
    ctx = hub.context()
    with start(ctx, ctx.host("hub"), one_disk(speaking)) as running:
        status = Path(f"/proc/{qemu(running)}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "spawn=deny" in Path(f"/proc/{qemu(running)}/cmdline").read_text()
        assert "NoNewPrivs:\t1" in status


def test_a_host_that_forwards_no_unix_sockets_starts_no_machine(tmp_path: Path, speaking: Path):
    sshd = Sshd(tmp_path / "sshd", {"AllowStreamLocalForwarding": "no"})
    sshd.start()
    try:
        spec = sshd.spec.model_copy(update={"ports": "10100-10103"})
        with closing(connect("hub", spec)) as host, hub_on(host, str(tmp_path / "repository"), tmp_path) as hub:
            ctx = hub.context()
            message = "sshd of hub forwards no unix sockets, through which QEMU is controlled"
            with pytest.raises(BootError, match=message), start(ctx, ctx.host("hub"), one_disk(speaking)):
                raise AssertionError("it was started")
    finally:
        sshd.stop()
