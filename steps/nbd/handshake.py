"""Ready means an NBD handshake through the very path the data will take, never a pid or an open port."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.base.waiting import again
from runner.hosts.host import Forwards
from runner.hosts.tunnel import explain
from runner.step.context import Context
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import ExportInfo, probe

ATTEMPT = 5.0
"""A forward takes a connection before the server does: an attempt may hang, and the next one succeed."""

PAUSE = 0.05


def handshake_through(
    ctx: Context,
    host: str,
    forwards: Forwards,
    uri: str,
    name: str,
    *,
    timeout: float,
    alive: Callable[[], None] = lambda: None,
) -> ExportInfo:
    """As `handshake`, through one of `forwards` to `host`. Raises a HostError with ssh's words where ssh
    knows why."""

    def may_come() -> None:
        alive()
        why = explain(host, forwards)
        if why is not None and (
            not why.transient or any(child.poll() is not None for child in forwards.children)
        ):
            raise why

    try:
        return handshake(ctx, uri, name, timeout=timeout, alive=may_come)
    except ConnectFailed as error:
        if (why := explain(host, forwards)) is not None:
            raise why from error
        raise


def handshake(
    ctx: Context, uri: str, name: str, *, timeout: float, alive: Callable[[], None] = lambda: None
) -> ExportInfo:
    """Tries until `timeout` seconds are over; before each try `alive` raises if no answer can come.

    Raises the last ConnectFailed, Interrupted, or what `alive` raises.
    """
    ends = time.monotonic() + timeout

    def attempt(number: int) -> ExportInfo:
        ctx.check_stop()
        alive()
        try:
            left = min(ATTEMPT, max(0.1, ends - time.monotonic()))
            return probe(uri, left, name, stop=ctx.stop, measure=True)
        except ConnectFailed:
            alive()
            raise

    return again(
        attempt,
        on=lambda error: isinstance(error, ConnectFailed),
        stop=ctx.stop,
        timeout=timeout,
        first=PAUSE,
    )
