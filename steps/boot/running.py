"""A machine that runs, and how it is talked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from runner.hosts.host import Child, Host
from steps.values.drill import Accelerator


@dataclass(frozen=True)
class MonitorEvent:
    """Of QMP: ``SHUTDOWN`` with ``{"guest": true, "reason": "guest-shutdown"}``."""

    name: str
    data: Mapping[str, JsonValue]


class Monitor(Protocol):
    """QEMU's own: never the guest's."""

    def execute(self, command: str, **arguments: JsonValue) -> JsonValue:
        """What it returns. Raises BootError for what QEMU refuses, and once it is gone."""

    def events(self) -> tuple[MonitorEvent, ...]:
        """Those that came since the last call."""


@dataclass(frozen=True)
class Running:
    host: Host
    directory: str
    """0700, on that host: for what QEMU writes for us (a picture); gone at the end."""
    child: Child
    """QEMU."""
    monitor: Monitor
    serial: str
    """A local unix socket that leads to the guest's first serial port; nothing is connected to it yet, and
    the guest is paused until `steps.watch.resume.resume`, so that nothing it says is lost."""
    agent: str | None
    """A local unix socket that leads to the guest agent's port; None where it is not expected."""
    ports: Mapping[int, str]
    """TCP port of the guest → what leads there, here: a unix socket, or ``127.0.0.1:34567``."""
    accelerator: Accelerator
    accelerator_why: str
    """Why it is not KVM, in words; empty where it is."""
    firmware: str
    """``BIOS (SeaBIOS)``, ``EFI (OVMF), secure boot``"""
    qemu: str
    """Its version."""
    firmware_log: str
    """The character device (a ring of 64 KiB, read by QMP's `ringbuf-read`) that has what SeaBIOS said of
    itself last: its debug port, 0x402, which a guest may write to as well. Empty for OVMF, which says nothing
    there. No socket: QEMU waits for the reader of one at a debug port, and answers nothing else until
    then (tried with 7.2)."""
