"""A machine that is booted, watched and gone again."""

from __future__ import annotations

from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot.request import BootRequest
from steps.boot.start import start
from steps.watch.seen import Seen
from steps.watch.watch import watch


def boot(ctx: Context, host: Host, request: BootRequest) -> Seen:
    """Raises what `steps.boot.start.start` and `steps.watch.watch.watch` raise."""
    with start(ctx, host, request) as running:
        return watch(ctx, running, request)
