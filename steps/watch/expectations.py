"""Positive evidence that a guest is up, looked for until its deadline: what a port says, never that it
accepts a connection, since QEMU accepts one before the guest lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner.base.printable import printable
from runner.base.units import MINUTE, KiB
from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.values.drill import Accelerator, Evidence, Expectation
from steps.watch.agent import Agent
from steps.watch.channel import Channel
from steps.watch.serial_log import PlainText

WITHIN: dict[Accelerator, float] = {"kvm": 5 * MINUTE, "tcg": 20 * MINUTE}
"""Seconds that a guest has where its expectation does not say. TCG is some ten times as slow; a server that
starts many services takes a minute or two on the hardware it is used to."""

LONGEST_SEEN = 200
"""Characters."""

LONGEST_BANNER = 4 * KiB

PATIENCE = 4.0
"""Seconds that a connection may be silent before another one is made; then half as long again, up to
LONGEST_PATIENCE. What was opened before the guest listened is not always carried through to it later."""

LONGEST_PATIENCE = 20.0

PAUSE = 1.0
"""Seconds between a connection that said something else, or ended, and the next."""


def within(expectation: Expectation, accelerator: Accelerator) -> float:
    """Seconds since the start."""
    return expectation.within if expectation.within is not None else WITHIN[accelerator]


def one_line(text: str, longest: int = LONGEST_SEEN) -> str:
    """What a guest said, in one printable line of at most `longest` characters."""
    line = printable(" ".join(text[: 16 * longest].split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


class Source(Protocol):
    """Where evidence comes from."""

    def look(self, now: float) -> str | None:
        """What was seen, once it was. Never blocks."""

    @property
    def instead(self) -> str:
        """What was seen in its place, the last time."""

    def close(self) -> None: ...


class Awaited:
    """One expectation, and what has come of it so far."""

    def __init__(self, expectation: Expectation, deadline: float, source: Source) -> None:
        self.expectation = expectation
        self.within = deadline
        self.source = source
        self.seen: str | None = None
        self.after: float | None = None

    def look(self, now: float) -> None:
        if self.after is None and now <= self.within and (seen := self.source.look(now)) is not None:
            self.seen, self.after = one_line(seen), now
            self.source.close()

    def is_open(self, now: float) -> bool:
        """Whether it may still be seen."""
        return self.after is None and now <= self.within

    def evidence(self) -> Evidence:
        return Evidence(expected=self.expectation.words, within=self.within, seen=self.seen, after=self.after)


def awaited(expect: Sequence[Expectation], running: Running, serial: PlainText) -> tuple[Awaited, ...]:
    return tuple(
        Awaited(one, within(one, running.accelerator), _source(one, running, serial)) for one in expect
    )


def _source(one: Expectation, running: Running, serial: PlainText) -> Source:
    if one.serial is not None:
        return SerialSource(serial, one.serial)
    if one.port is not None:
        if one.port not in running.ports:
            raise BootError(f"nothing leads to port {one.port} of the guest")
        return PortSource(running.ports[one.port], one.banner, one.send)
    if running.agent is None:
        raise BootError("nothing leads to the guest agent")
    return Agent(running.agent)


class SerialSource:
    """Text on the guest's serial port."""

    def __init__(self, text: PlainText, wanted: str) -> None:
        self._text = text
        self._wanted = wanted.encode()
        self._since = 0

    def look(self, now: float) -> str | None:
        at = self._text.find(self._wanted, self._since)
        # What comes next may be the rest of what stands at the end now.
        self._since = self._text.end - len(self._wanted) + 1
        return None if at is None else _around(self._text.line(at), self._wanted.decode())

    @property
    def instead(self) -> str:
        return ""

    def close(self) -> None:
        return None


def _around(line: str, wanted: str) -> str:
    """So much of a long line that `wanted` is in it."""
    if len(line) <= LONGEST_SEEN or (at := line.find(wanted)) < 0:
        return line if len(line) <= LONGEST_SEEN else wanted
    return line[max(0, at - LONGEST_SEEN // 4) :]


class PortSource:
    """What a port of the guest says first, on connections that are made again and again."""

    def __init__(self, address: str, banner: str, send: str) -> None:
        self._address = address
        self._banner = banner.encode()
        self._send = send.encode()
        self._channel: Channel | None = None
        self._heard = b""
        self._opened = self._matched = 0.0
        self._again = 0.0
        self._patience = PATIENCE
        self._instead = ""

    def look(self, now: float) -> str | None:
        if self._channel is None:
            if now < self._again:
                return None
            self._open(now)
        assert self._channel is not None
        self._heard += self._channel.read(LONGEST_BANNER - len(self._heard))
        if self._heard.startswith(self._banner):
            return self._line(now, self._channel.ended)
        if not self._banner.startswith(self._heard):
            self._instead = one_line(self._heard.decode(errors="replace"), 80)
            self._drop(now + PAUSE)
        elif self._channel.ended:
            self._drop(now + PAUSE)
        elif now - self._opened >= self._patience:
            self._patience = min(1.5 * self._patience, LONGEST_PATIENCE)
            self._drop(now)
        return None

    @property
    def instead(self) -> str:
        return f"it said '{self._instead}'" if self._instead else ""

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self, now: float) -> None:
        self._channel, self._heard, self._opened, self._matched = Channel(self._address), b"", now, 0.0
        self._channel.send(self._send)

    def _drop(self, again: float) -> None:
        self.close()
        self._again = again

    def _line(self, now: float, ended: bool) -> str | None:
        """All of the first line, for which it has a moment."""
        self._matched = self._matched or now
        line, newline, _ = self._heard.partition(b"\n")
        if newline or ended or len(line) >= LONGEST_BANNER or now - self._matched >= PAUSE:
            return line.decode(errors="replace")
        return None
