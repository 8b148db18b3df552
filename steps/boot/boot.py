"""A machine that is booted, watched and gone again."""

from __future__ import annotations

from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot.request import BootRequest
from steps.boot.seen import Seen
from steps.boot.start import start
from steps.boot.watch import watch


def boot(ctx: Context, host: Host, request: BootRequest) -> Seen:
    """Raises what `steps.boot.start.start` and `steps.boot.watch.watch` raise."""
    with start(ctx, host, request) as running:
        return watch(ctx, running, request)
