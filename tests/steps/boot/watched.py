"""A real QEMU with a guest that waits, as `Running` has it, for what looks at machines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue
from qemu.qmp import ConnectError, ExecInterruptedError, QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from runner.events.events import Event
from runner.hosts.local import LocalHost
from runner.step.context import Context, Run
from steps.boot.request import BootRequest
from steps.boot.running import MonitorEvent, Running
from steps.boot.seen import BootError, Seen
from steps.boot.watch import watch
from steps.values.drill import Expectation, MachineLimits
from steps.values.machine import Machine
from tests.eventually import eventually

MACHINE = Machine(name="pgtest1", uuid="", guest="", firmware="bios", memory=64 << 20, cpus=1, disks=(), cards=())


@dataclass
class PlainMonitor:
    """Of one QEMU, as plainly as can be."""

    protocol: QEMUMonitorProtocol
    asked: list[str] = field(default_factory=list)

    def execute(self, command: str, **arguments: JsonValue) -> JsonValue:
        self.asked.append(command)
        try:
            return self.protocol.cmd(command, **arguments)  # type: ignore[return-value]
        except (QMPError, ConnectError, ExecInterruptedError, EOFError, OSError) as error:
            raise BootError(f"QEMU refuses {command}: {error}") from error

    def events(self) -> tuple[MonitorEvent, ...]:
        try:
            found = self.protocol.get_events()
        except (QMPError, EOFError, OSError):
            found = []
        return tuple(MonitorEvent(one["event"], one.get("data", {})) for one in found)


@contextmanager
def waiting_guest(
    directory: Path, *arguments: str, ports: Sequence[int] = (), agent: bool = False
) -> Iterator[Running]:
    """QEMU with a VGA card, a serial port, SeaBIOS's debug port and `arguments`; paused."""
    host = LocalHost("here")
    with host.tempdir() as scratch:
        sockets = [f"{scratch}/{name}" for name in ("qmp", "serial")]
        forwarded = {port: _free_port() for port in ports}
        argv = [
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-accel",
            "tcg",
            "-S",
            "-boot",
            "strict=on",
        ]
        argv += ["-m", "64", "-vga", "vmware", "-action", "reboot=reset,shutdown=pause,panic=pause"]
        argv += ["-chardev", f"socket,id=serial,path={sockets[1]},server=on,wait=off", "-serial", "chardev:serial"]
        argv += ["-chardev", "ringbuf,id=firmware-log,size=65536"]
        argv += [
            "-device",
            "isa-debugcon,iobase=0x402,chardev=firmware-log",
            "-qmp",
            f"unix:{sockets[0]},server=on,wait=off",
        ]
        if ports:
            hosts = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{port}" for port, here in forwarded.items())
            argv += ["-netdev", f"user,id=net-0,restrict=on{hosts}", "-device", "e1000,netdev=net-0,romfile="]
        if agent:
            sockets.append(f"{scratch}/agent")
            argv += [
                "-chardev",
                f"socket,id=agent,path={scratch}/agent,server=on,wait=off",
                "-device",
                "virtio-serial-pci",
            ]
            argv += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        child = host.popen((*argv, *arguments))
        try:
            assert eventually(lambda: all(Path(one).exists() for one in sockets), 60), child.stderr()
            protocol = QEMUMonitorProtocol(sockets[0])
            protocol.connect()
            try:
                yield Running(
                    host=host,
                    directory=scratch,
                    child=child,
                    monitor=PlainMonitor(protocol),
                    serial=sockets[1],
                    agent=f"{scratch}/agent" if agent else None,
                    ports={port: f"127.0.0.1:{here}" for port, here in forwarded.items()},
                    accelerator="tcg",
                    accelerator_why="a test",
                    firmware="BIOS (SeaBIOS)",
                    qemu="7.2",
                    firmware_log="firmware-log",
                )
            finally:
                protocol.close()
        finally:
            child.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def with_disk(path: Path) -> tuple[str, ...]:
    """The BIOS boots from it; nothing is written."""
    return (
        *("-blockdev", f"driver=raw,node-name=disk-2000,read-only=off,file.driver=file,file.filename={path}"),
        *("-device", "ide-hd,drive=disk-2000,bootindex=0,rerror=stop,werror=stop"),
    )


def context(scratch: Path, heard: list[Event] | None = None, stop: threading.Event | None = None) -> Context:
    def nothing(*_: object) -> None:
        raise AssertionError("not asked for by what is tested")

    return Context(
        run=Run("20261130T170000Z-3f9a0c1e", "test", "digest", None),
        node="drill",
        emit=(heard if heard is not None else []).append,
        host=nothing,  # type: ignore[arg-type]
        section=nothing,
        shared=nothing,
        scratch=scratch,
        stop=stop or threading.Event(),
        unwind=tuple,
    )


def request(*expect: Expectation, overlay: int = 64 << 20) -> BootRequest:
    return BootRequest(machine=MACHINE, disks={}, expect=expect, limits=MachineLimits(overlay=overlay))


def watched(directory: Path, running: Running, *expect: Expectation) -> Seen:
    return watch(context(directory), running, request(*expect))
