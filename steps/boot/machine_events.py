"""What QEMU itself tells of the machine, as far as it decides a drill. (QEMU's qapi: run-state.json,
block-core.json; documented)"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.base.printable import printable
from runner.base.units import human_bytes
from steps.boot.running import MonitorEvent
from steps.values.drill import Verdict

RESTARTS = 4
"""Restarts after which nobody expects the next one to end otherwise. Windows, and a Linux that labels its
files, do one or two of their own accord."""


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    why: str
    """In a sentence, without a full stop; what happened follows on `after 3 s`."""


@dataclass
class MachineEvents:
    overlay: int
    """Bytes that the guest may write."""
    restarts: int = 0
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
            case "BLOCK_IO_ERROR":
                return self._io_error(event)
        return None

    def _panicked(self, event: MonitorEvent) -> Finding:
        """Linux by pvpanic; Windows by Hyper-V's registers, with the parameters of its stop screen."""
        self.panicked = True
        told = event.data.get("info")
        code = told.get("arg1") if isinstance(told, dict) else None
        if isinstance(code, int):
            return Finding("failed", f"Windows stopped with bug check {code:#x}, as it told QEMU")
        return Finding("failed", "the guest's kernel panicked, as it told QEMU")

    def _shut_down(self, reason: str) -> Finding | None:
        match reason:
            case "guest-shutdown":
                return Finding("failed", "the guest powered itself off")
            case "guest-panic":
                return Finding("failed", "the guest's kernel panicked, as it told QEMU")
            case "guest-reset":
                return Finding("failed", "the guest restarted, and QEMU was not to let it")
        return Finding("undecided", f"QEMU was told to end ({printable(reason)})")

    def _restarted(self) -> Finding | None:
        self.restarts += 1
        if self.restarts < RESTARTS:
            return None
        return Finding("failed", f"the guest had restarted {self.restarts} times")

    def _io_error(self, event: MonitorEvent) -> Finding:
        if event.data.get("nospace") is True:
            allowed = human_bytes(self.overlay)
            return Finding(
                "undecided", f"the guest had written more than `overlay` allows ({allowed}): raise it"
            )
        reason = printable(str(event.data.get("reason") or "it is not said why"))[:120]
        disk = printable(str(event.data.get("node-name") or event.data.get("device") or "a disk"))[:60]
        what = "read" if event.data.get("operation") == "read" else "written"
        return Finding("undecided", f"{disk} could not be {what}: {reason}")
