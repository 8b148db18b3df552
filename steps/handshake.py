"""Ready means an NBD handshake through the very path the data will take, never a pid or an open port (n8)."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.step import Context
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import ExportInfo, probe

ATTEMPT = 5.0
"""A forward takes a connection before the server does: an attempt may hang, and the next one succeed."""

PAUSE = 0.05


def handshake(
    ctx: Context, uri: str, name: str, *, timeout: float, alive: Callable[[], None] = lambda: None
) -> ExportInfo:
    """Tries until `timeout` seconds are over; before each try `alive` raises if no answer can come any more.

    Raises the last ConnectFailed, Interrupted, or what `alive` raises.
    """
    deadline = time.monotonic() + timeout
    while True:
        ctx.check_stop()
        alive()
        try:
            return probe(uri, min(ATTEMPT, max(0.1, deadline - time.monotonic())), name)
        except ConnectFailed:
            alive()
            if time.monotonic() >= deadline:
                raise
        ctx.stop.wait(PAUSE)
