"""A guest is started and looked at about twice a second, until it can be said what came of it.

Each look is in this order: what its ports say, and whether that is what was expected; what QEMU tells of the
machine; what its console shows, and whether anything of it is a failure that can be told; whether there is
time left. What passed in one look stays passed: what a guest does after it was seen to be up is not asked.
"""

from __future__ import annotations

import base64
import time
from contextlib import ExitStack
from dataclasses import replace

from runner.base.errors import Interrupted
from runner.base.units import KiB
from runner.step.context import Context
from steps.boot.errors import BootError
from steps.boot.last_words import ended
from steps.boot.request import BootRequest
from steps.boot.running import Running
from steps.values.machine import DoubtKind
from steps.watch import sentences
from steps.watch.disk_counters import DiskCounters, parsed
from steps.watch.expectations import WITHIN, Awaited, awaited
from steps.watch.listener import Listener
from steps.watch.machine_events import NO_DISK, Finding, MachineEvents
from steps.watch.recognised import LOOKED_AT, Place, Said, doubts_of_panic, panic, quoted, recognised
from steps.watch.resume import resume
from steps.watch.screen import Screen
from steps.watch.seen import Seen
from steps.watch.serial_log import PlainText, SerialLog

TICK = 0.4
"""Seconds between two looks."""

DEAF = 5.0
"""Seconds between the end of a connection and that of QEMU, where the one ended with the other."""

RING = 64 * KiB

TELL = 1.0
"""Seconds between two words to who waits."""


def watch(ctx: Context, running: Running, request: BootRequest) -> Seen:
    """Starts the paused guest and watches it until there is a verdict. Raises BootError where QEMU ends by
    itself or cannot be asked, Interrupted."""
    with ExitStack() as closing:
        watching = _Watching(ctx, running, request, closing)
        resume(running, ("serial", "agent") if watching.asks_agent else ("serial",), ctx.stop)
        found = watching.verdict()
        return watching.seen(found)


class _Serial:
    """The guest's first serial port."""

    def __init__(self, address: str) -> None:
        self.listener = Listener(address)
        self.log = SerialLog()
        self.text = PlainText()

    def look(self, now: float) -> None:
        said = self.listener.take()
        self.log.add(said)
        self.text.add(said, now)


class _Firmware:
    """What SeaBIOS says of itself, in a ring that QEMU keeps for us."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.text = PlainText()

    def look(self, now: float) -> None:
        """What came since the last look, or as much of its end as the ring holds."""
        if not self._running.firmware_log:
            return
        ring = self._running.firmware_log
        said = self._running.monitor.execute("ringbuf-read", device=ring, size=RING, format="base64")
        self.text.add(base64.b64decode(said) if isinstance(said, str) else b"", now)


class _Watching:
    def __init__(self, ctx: Context, running: Running, request: BootRequest, closing: ExitStack) -> None:
        self._ctx, self._running, self._request = ctx, running, request
        self._serial = _Serial(running.serial)
        closing.callback(self._serial.listener.close)
        self._firmware = _Firmware(running)
        self._awaited = awaited(request.expect, running, self._serial.text)
        for one in self._awaited:
            closing.callback(one.source.close)
        without = WITHIN[running.accelerator] if request.within is None else request.within
        self._until = max((one.within for one in self._awaited), default=without)
        self._screen = Screen(running)
        self._events = MachineEvents(
            request.limits.overlay, {f"disk-{disk.key}": disk.label for disk in request.machine.disks}
        )
        self._began = time.monotonic()
        self._told = -TELL
        self._heard_at = 0.0

    @property
    def asks_agent(self) -> bool:
        return any(one.expectation.agent for one in self._awaited)

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    @property
    def _missing(self) -> list[Awaited]:
        return [one for one in self._awaited if one.after is None]

    def verdict(self) -> Finding:
        self._began = time.monotonic()
        while True:
            now = self._now
            if (found := self._look(now)) is not None:
                return self._judged(found)
            self._tell(now)
            if self._ctx.stop.wait(TICK):
                raise Interrupted

    def _judged(self, found: Finding) -> Finding:
        """Undecided where the machine, made otherwise than its VM was, may have failed for that."""
        why = [one.why for one in self._request.machine.doubts if one.kind in found.doubts]
        if found.verdict != "failed" or not why:
            return found
        return Finding("undecided", f"{found.why}; that may be the drill's own doing: {why[0]}")

    def _look(self, now: float) -> Finding | None:
        if (found := self._evidence(now)) is not None:
            return found
        if (happened := self._machine(now)) is not None:
            # What the guest said before may have come between the two looks.
            return self._evidence(now) or happened
        self._firmware.look(now)
        self._screen.look(now)
        return self._failure(now) or self._over(now)

    def _evidence(self, now: float) -> Finding | None:
        self._serial.look(now)
        for one in self._awaited:
            one.look(now)
        if not self._awaited or self._missing:
            return None
        return Finding("passed", sentences.passed(self._awaited))

    def _machine(self, now: float) -> Finding | None:
        found = self._events.add(self._running.monitor.events())
        if found is None:
            if self._running.child.poll() is not None:
                raise ended(self._running.child)
            self._check_serial(now)
            return self._paused() if self._events.paused else None
        besides, doubts = self._besides(found)
        return Finding(found.verdict, f"after {sentences.spoken(now)} {found.why}{besides}", doubts)

    def _check_serial(self, now: float) -> None:
        """It ends with QEMU alone, which has a moment to be seen to have ended."""
        if not self._serial.listener.ended:
            self._heard_at = now
        elif now - self._heard_at > DEAF:
            error = BootError(
                f"the connection to the guest's serial port on {self._running.host.name} was lost"
            )
            error.transient = True
            raise error

    def _paused(self) -> Finding | None:
        """By QEMU, and for no reason that an event tells: KVM could not run an instruction."""
        state = self._running.monitor.execute("query-status")
        status = state.get("status") if isinstance(state, dict) else None
        if status != "internal-error":
            return None
        accelerator = self._running.accelerator.upper()
        return Finding("undecided", f"QEMU stopped the guest, which {accelerator} could not run any further")

    def _besides(self, found: Finding) -> tuple[str, tuple[DoubtKind, ...]]:
        """What had been seen by then, and what the guest said last; what else that may come from."""
        if found.verdict != "failed":
            return "", ()
        last = self._serial.text.lines(LOOKED_AT)
        panicked = panic(last, self._screen.lines or ()) if self._events.panicked else None
        said = f": {quoted(panicked)}" if panicked else f"; {sentences.serial(last, self._serial.log.total)}"
        doubts = doubts_of_panic(panicked) if panicked else found.doubts
        return f"{sentences.before(self._missing)}{said}", doubts

    def _failure(self, now: float) -> Finding | None:
        has_evidence = any(one.after is not None for one in self._awaited)
        after = f"after {sentences.spoken(now)}"
        if (found := recognised(self._said(now), has_evidence)) is not None:
            return replace(found, why=f"{after} {found.why}")
        if self._screen.shows_stop_screen:
            told = "the console showed what looks like Windows's stop screen (assumed, by its picture)"
            return Finding("failed", f"{after} {told}", NO_DISK)
        return None

    def _said(self, now: float) -> list[Said]:
        texts: dict[Place, PlainText] = {"serial": self._serial.text, "firmware": self._firmware.text}
        said = [Said(place, text.lines(LOOKED_AT), now - text.changed_at) for place, text in texts.items()]
        screen = self._screen
        if screen.lines is not None and screen.looked_at is not None:
            said.append(Said("screen", screen.lines, screen.looked_at - screen.changed_at))
        return said

    def _over(self, now: float) -> Finding | None:
        if now <= self._until and (not self._awaited or any(one.is_open(now) for one in self._awaited)):
            return None
        screen = self._screen
        words = (
            sentences.missed(self._awaited),
            sentences.serial(self._serial.text.lines(LOOKED_AT), self._serial.log.total),
            sentences.screen(screen.lines, now - screen.changed_at, screen.unreadable),
        )
        return Finding("undecided", "; ".join(words))

    def _tell(self, now: float) -> None:
        if now - self._told >= TELL:
            self._told = now
            name = self._request.machine.name
            self._ctx.progress(name, "watch", round(now), round(self._until), noun="second")

    def seen(self, found: Finding) -> Seen:
        running = self._running
        counters = self._counters()
        if found.verdict != "passed" and (failed := self._events.failed(counters)):
            found = Finding("undecided", f"{found.why}; {failed}")
        return Seen(
            verdict=found.verdict,
            why=found.why,
            evidence=tuple(one.evidence() for one in self._awaited),
            seconds=self._now,
            written=sum(one.written for one in counters),
            picture=self._screen.kept(),
            serial=self._serial.log.content,
            accelerator=running.accelerator,
            accelerator_why=running.accelerator_why,
            firmware=running.firmware,
            qemu=running.qemu,
        )

    def _counters(self) -> tuple[DiskCounters, ...]:
        """None of them where QEMU is gone."""
        try:
            return parsed(self._running.monitor.execute("query-blockstats"))
        except BootError:
            return ()
