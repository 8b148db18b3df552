"""Commands on a terminal, by a pseudo-terminal on which a question is answered."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def on_a_terminal(answer: bytes, *argv: str) -> tuple[int, str]:
    """The exit code, and all that stood on the terminal; `answer` is typed once there is a question."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "runner.cli", *argv]
    env = {**os.environ, "TERM": "dumb"}
    child = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=env, start_new_session=True
    )
    os.close(theirs)
    shown, answered = b"", False
    while piece := _read(ours):
        shown += piece
        if not answered and b"[y/N]" in shown:
            os.write(ours, answer)
            answered = True
    os.close(ours)
    return child.wait(timeout=60), " ".join(shown.decode().split())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # what a terminal says once nobody is behind it any more
        return b""
