"""A question to the person at the terminal. It is written to standard error, since standard output may be
somebody's file."""

from __future__ import annotations

import signal
import sys
import threading


def ask(question: str) -> bool | None:
    """Only ``y`` and ``yes`` are yes; the end of the input is no. None where nobody can be asked: nothing
    waits for input that nobody types. Raises KeyboardInterrupt."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    # Not `input`, which asks on standard output.
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = _line()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def _line() -> str:
    """Ctrl-C ends the wait, whatever a command does with it while it works."""
    if threading.current_thread() is not threading.main_thread():
        return sys.stdin.readline()
    # A handler that only sets a flag, as `run` has, would leave readline waiting.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return sys.stdin.readline()
    finally:
        signal.signal(signal.SIGINT, before)
