"""What is killed while it starts a machine: forked from a process that has everything imported, so that a kill costs
little. It stops at one moment, and says so on a pipe with what there is of it by then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from runner.hosts.connect import connect
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.spec import SshSpec
from steps.boot import firmware, overlays, start
from steps.watch.resume import resume
from tests.hub import Hub
from tests.steps.boot.machines import one_disk

MOMENTS = {
    "before its overlays are made": (overlays, "make", "before"),
    "when its overlays are made": (firmware, "prepare", "before"),
    "before QEMU is started": (start, "Announced", "before"),
    "once QEMU was started": (start, "Announced", "after"),
    "before its monitor is asked": (start, "connected", "before"),
}
RUNNING = "while the guest runs"


def die(spec: SshSpec | None, source: str, mark: str, moment: str, tell: Connection) -> None:
    """Never returns: it waits to be killed."""
    os.setsid()
    host: Host = LocalHost("hub") if spec is None else connect("hub", spec)
    host.mark = mark
    with ExitStack() as stack:
        ctx = Hub(host, "", Path("/nonexistent"), stack=stack).context()
        if moment != RUNNING:
            where, name, when = MOMENTS[moment]
            stack.enter_context(mock.patch.object(where, name, _waits(getattr(where, name), when, tell)))
        with start.start(ctx, host, one_disk(Path(source))) as running:
            resume(running, (), threading.Event())
            _wait(tell)


def _waits(act: Callable[..., Any], when: str, tell: Connection) -> Callable[..., Any]:
    def acting(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            _wait(tell)
        done = act(*arguments, **named)
        _wait(tell)
        return done

    return acting


def _wait(tell: Connection) -> None:
    tell.send(None)
    while True:
        signal.pause()
