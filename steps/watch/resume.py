"""A guest that starts to run once somebody hears what it says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from runner.base.waiting import until
from steps.boot.errors import BootError
from steps.boot.running import Running

CONNECT_TIMEOUT = 15.0
"""Seconds for a connection through a forward to arrive at QEMU: a round trip."""


def resume(running: Running, heard: Sequence[str], stop: threading.Event) -> None:
    """Lets the guest run (`cont`) once what the caller has connected to is connected at QEMU's end as well:
    ``serial``, ``agent``. A forward takes a connection before its far end is made, and QEMU throws away what
    a guest says to nobody. Raises BootError, Interrupted."""
    wanted = set(heard)

    def late() -> BootError:
        names = " and ".join(sorted(wanted - _connected(running)))
        return BootError(f"nothing connects to QEMU's {names} on {running.host.name}")

    until(lambda: wanted <= _connected(running), stop=stop, timeout=CONNECT_TIMEOUT, late=late)
    running.monitor.execute("cont")


def _connected(running: Running) -> set[str]:
    """The character devices that somebody is connected to. Of a socket without a client QEMU says
    ``disconnected:unix:…`` (tried with 7.2)."""
    found = cast("list[dict[str, str]]", running.monitor.execute("query-chardev"))
    return {one["label"] for one in found if not one["filename"].startswith("disconnected:")}
