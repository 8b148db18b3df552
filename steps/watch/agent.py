"""QEMU's guest agent, asked whether it lives (QEMU's docs/interop/qemu-ga-ref: guest-sync-delimited,
guest-ping, guest-get-osinfo; documented). Its answers come from the guest: they are bounded, and believed of
nothing but that something answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from runner.base.units import KiB
from steps.watch.channel import Channel

LONGEST_ANSWER = 64 * KiB

ASK_AGAIN = 5.0
"""Seconds until it is asked anew. What was sent before it lived waits in its port, and is answered then."""

NAMES_ITSELF = 3.0
"""Seconds that an agent that answered has to say what its system is, which is for the sentence only."""

ANSWERS = "it answers"


class Agent:
    """One conversation with it, one step a look."""

    def __init__(self, address: str) -> None:
        self._channel = Channel(address)
        self._heard = b""
        self._ids: set[int] = set()
        self._asked: float | None = None
        self.synced = False
        """What it says now are answers to us."""
        self.answered: float | None = None
        """When it answered."""

    def look(self, now: float) -> str | None:
        """The name of its system, or that it answers; None as long as it does not."""
        for answer in self._answers():
            if not self.synced:
                self._sync(answer)
            elif self.answered is None:
                self._pinged(answer, now)
            else:
                return _name(answer)
        if self.answered is not None:
            return ANSWERS if now - self.answered >= NAMES_ITSELF else None
        if self._asked is None or now - self._asked >= ASK_AGAIN:
            self._ask(now)
        return None

    @property
    def remembered(self) -> int:
        """Bytes of what it said that are no whole line yet."""
        return len(self._heard)

    @property
    def instead(self) -> str:
        return ""

    def close(self) -> None:
        self._channel.close()

    def _ask(self, now: float) -> None:
        self._asked, self.synced = now, False
        number = secrets.randbelow(2**31)
        self._ids = {*list(self._ids)[-99:], number}
        # 0xFF makes the agent's parser forget what another client left half-said.
        self._channel.send(b"\xff" + _command("guest-sync-delimited", id=number))

    def _sync(self, answer: Any) -> None:
        if isinstance(answer, int) and not isinstance(answer, bool) and answer in self._ids:
            self.synced = True
            self._channel.send(_command("guest-ping"))

    def _pinged(self, answer: Any, now: float) -> None:
        if answer == {}:
            self.answered = now
            self._channel.send(_command("guest-get-osinfo"))

    def _answers(self) -> Iterator[Any]:
        """What its whole lines return; for an error None."""
        self._heard += self._channel.read(LONGEST_ANSWER)
        *lines, self._heard = self._heard.split(b"\n")
        self._heard = self._heard[-LONGEST_ANSWER:]
        for line in lines:
            try:
                said = json.loads(line.rpartition(b"\xff")[2])
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict):
                yield said.get("return")


def _command(name: str, **arguments: int) -> bytes:
    return json.dumps({"execute": name, **({"arguments": arguments} if arguments else {})}).encode() + b"\n"


def _name(answer: Any) -> str:
    found = answer.get("pretty-name") or answer.get("name") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else ANSWERS
