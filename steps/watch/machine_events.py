"""What QEMU itself tells of the machine, as far as it decides a drill. (QEMU's qapi: run-state.json,
block-core.json; documented)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.base.printable import printable
from runner.base.units import counted, human_bytes
from steps.boot.running import MonitorEvent
from steps.values.drill import Verdict
from steps.values.machine import DoubtKind
from steps.watch.disk_counters import DiskCounters

INACCESSIBLE_BOOT_DEVICE = 0x7B
"""Windows has no driver for its disk (Microsoft, bug check code reference; documented)."""

NO_DISK: tuple[DoubtKind, ...] = ("driver", "disk")
"""Of what a guest does that does not find its disk, among other things."""

PANICKED = "the guest's kernel panicked, as it told QEMU"

RESTARTS = 4
"""Restarts after which nobody expects the next one to end otherwise. Windows, and a Linux that labels its
files, do one or two of their own accord."""


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    why: str
    """In a sentence, without a full stop."""
    doubts: tuple[DoubtKind, ...] = ()
    """What else may explain a failure: with such a doubt of its machine, it is none of the point's."""


@dataclass
class MachineEvents:
    overlay: int
    """Bytes that the guest may write."""
    labels: Mapping[str, str]
    """Node of a disk → its name in vSphere."""
    restarts: int = 0
    stopped: bool = False
    """QEMU stopped it, for it could not read or write."""
    paused: bool = False
    """It does not run, for whatever reason."""
    panicked: bool = False
    """The guest said so, through pvpanic."""

    def add(self, events: Iterable[MonitorEvent]) -> Finding | None:
        """What the first that decides came to."""
        return next(filter(None, map(self._one, events)), None)

    def _one(self, event: MonitorEvent) -> Finding | None:
        match event.name:
            case "GUEST_PANICKED":
                return self._panicked(event)
            case "SHUTDOWN":
                return self._shut_down(str(event.data.get("reason")))
            case "RESET" if event.data.get("reason") == "guest-reset":
                return self._restarted()
            case "STOP" | "RESUME":
                self.paused = event.name == "STOP"
            case "BLOCK_IO_ERROR":
                return self._io_error(event)
        return None

    def _panicked(self, event: MonitorEvent) -> Finding:
        """Linux by pvpanic; Windows by Hyper-V's registers, with the parameters of its stop screen."""
        self.panicked = True
        told = event.data.get("info")
        code = told.get("arg1") if isinstance(told, dict) else None
        if isinstance(code, int):
            told_so = f"Windows stopped with bug check {code:#x}, as it told QEMU"
            return Finding("failed", told_so, NO_DISK if code == INACCESSIBLE_BOOT_DEVICE else ())
        return Finding("failed", PANICKED, NO_DISK)

    def _shut_down(self, reason: str) -> Finding | None:
        match reason:
            case "guest-shutdown":
                return Finding("failed", "the guest powered itself off")
            case "guest-panic":
                return Finding("failed", PANICKED, NO_DISK)
            case "guest-reset":
                return Finding("failed", "the guest restarted, and QEMU was not to let it")
        return None  # QEMU itself was told to end: then it does

    def _restarted(self) -> Finding | None:
        self.restarts += 1
        if self.restarts < RESTARTS:
            return None
        # As Windows does, and a Linux with panic=10, that does not reach its disk.
        return Finding("failed", f"the guest restarted for the {self.restarts}th time", NO_DISK)

    def _io_error(self, event: MonitorEvent) -> Finding:
        """The machine was stopped for it. (Of NVMe the guest is told instead, see `failed`.)"""
        self.stopped = True
        disk = self._label(str(event.data.get("node-name")))
        if event.data.get("nospace") is True:
            return Finding("undecided", self._full(disk))
        reason = printable(str(event.data.get("reason") or "QEMU does not say why"))[:120]
        what = "read" if event.data.get("operation") == "read" else "written"
        return Finding("undecided", f"{disk} could not be {what}: {reason}")

    def failed(self, counters: Iterable[DiskCounters]) -> str:
        """What failed beneath the guest without its being stopped: whatever it then did says nothing of the
        point. Empty if nothing did."""
        if self.stopped:
            return ""
        for one in counters:
            if one.failed_reads:
                return f"{counted(one.failed_reads, 'read')} of {self._label(one.node)} failed beneath it"
            if one.failed_writes:
                writes = f"{counted(one.failed_writes, 'write')} to {self._label(one.node)} failed beneath it"
                return f"{writes}: perhaps `overlay` ({human_bytes(self.overlay)}) is to be raised"
        return ""

    def _full(self, disk: str) -> str:
        allowed = human_bytes(self.overlay)
        return f"the guest wrote more to {disk} than `overlay` allows ({allowed} for all disks): raise it"

    def _label(self, node: str) -> str:
        return self.labels.get(node, "a disk")
