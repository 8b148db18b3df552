"""Signals that ask a command to stop: SIGINT, SIGTERM, and SIGHUP of a terminal that hangs up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ONE_REQUEST = 1.0
"""Seconds in which several signals are one request to stop: timeout(1) signals its child and then its whole
group, and so do some runners of CI."""


class StopRequest(threading.Event):
    """To stop. Set by a signal, and by a bug in a run, which its other nodes hear of so."""

    asked: float | None = None
    """When a signal came first, by `time.monotonic`."""


@contextmanager
def stop_on_signals(
    what: str | None = "closing what is open; what is done is kept", stop: StopRequest | None = None
) -> Iterator[StopRequest]:
    """The first SIGINT, SIGTERM or SIGHUP asks the run to stop cleanly; one that comes later leaves the rest
    to the next run. A terminal that hangs up may say so more than once, and not at all where it was told to
    be silent (nohup). `what` is said then; None: another process says it. `stop`: the one to set, where a
    command is open to signals for a part of its work."""
    stop = stop or StopRequest()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.asked is not None:
            if number != signal.SIGHUP and time.monotonic() - stop.asked > ONE_REQUEST:
                os._exit(130)
            return
        stop.asked = time.monotonic()
        stop.set()
        # Not `print`: the signal may have come in the midst of one, which holds the stream's lock.
        if what is not None:
            with suppress(OSError):  # nobody may be there to read it
                os.write(2, f"\nstopping: {what}; press Ctrl-C again to quit at once\n".encode())

    before = {
        number: signal.signal(number, on_signal)
        for number in ASKS_TO_STOP
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
