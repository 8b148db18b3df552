"""How many disks VDDK has open, by ESXi host: a disk over the limit waits, it does not fail.

The buffers of all connections to one ESXi host come out of 48 MB, and a vCenter takes 52 connections, one for
each open disk (Programming Guide 8.0, "NFC Session Limits and Timeouts"). Other runs and other products count
there too, so a host that is out of buffers all the same lowers the limit for the rest of the run.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.base.waiting import LOOK, until
from steps.source.nbdkit_vddk import BUFFER_IN_64_KIB, BUFFERS

PER_ESXI = 48 * 16 // (BUFFERS * BUFFER_IN_64_KIB)
"""48 MB of buffers, in 64 KiB as the library counts them."""

PER_VCENTER = 52


class Place:
    """One open disk's; `refused` once the ESXi host had no buffers for it."""

    def __init__(self, disks: OpenDisks, esxi: str, round_: int) -> None:
        self._disks = disks
        self.esxi = esxi
        self.round = round_

    def refused(self) -> None:
        self._disks.lower(self)


class OpenDisks:
    """Of one vCenter. Safe from any thread."""

    def __init__(self, *, per_esxi: int = PER_ESXI, per_vcenter: int = PER_VCENTER) -> None:
        self._per_vcenter = per_vcenter
        self._limit: dict[str, int] = defaultdict(lambda: per_esxi)
        self._open: dict[str, int] = defaultdict(int)
        self._round: dict[str, int] = defaultdict(int)
        self._changed = threading.Condition()

    @contextmanager
    def place(self, esxi: str, stop: threading.Event, waits: Callable[[str], None]) -> Iterator[Place]:
        """Waits for its turn for as long as the others take; `waits(why)` is called once if it has to. Raises
        Interrupted when `stop` is set meanwhile."""
        with self._changed:
            if why := self._full(esxi):
                waits(why)
                until(
                    lambda: self._changed.wait_for(lambda: not self._full(esxi), LOOK),
                    stop=stop,
                    timeout=math.inf,
                    pause=0,
                )
            self._open[esxi] += 1
            place = Place(self, esxi, self._round[esxi])
        try:
            yield place
        finally:
            with self._changed:
                self._open[esxi] -= 1
                self._changed.notify_all()

    def lower(self, place: Place) -> None:
        """Halves the host's limit, once for all that were open when it ran out: they fail together."""
        with self._changed:
            if place.round == self._round[place.esxi]:
                self._round[place.esxi] += 1
                self._limit[place.esxi] = max(1, min(self._limit[place.esxi], self._open[place.esxi]) // 2)

    def limit(self, esxi: str) -> int:
        with self._changed:
            return self._limit[esxi]

    def _full(self, esxi: str) -> str:
        if self._open[esxi] >= self._limit[esxi]:
            return f"{_disks(self._open[esxi])} of ESXi host {esxi} open, the most that its NFC buffers allow"
        if (total := sum(self._open.values())) >= self._per_vcenter:
            return f"{_disks(total)} open through this vCenter, the most that it allows"
        return ""


def _disks(count: int) -> str:
    return f"{count} disk{'s' if count > 1 else ''}"
