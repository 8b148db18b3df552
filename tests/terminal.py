"""Commands on a terminal, by a pseudo-terminal on which a question is answered."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES, COLUMNS = 50, 130


def on_a_terminal(answer: bytes, *argv: str) -> tuple[int, str]:
    """`sendense` with these words: the exit code, and all words that stood on the terminal."""
    words = [sys.executable, "-m", "runner.cli", *argv]
    code, shown = answered(words, answer, cwd=ROOT, env={**os.environ, "TERM": "dumb"})
    return code, " ".join(shown.split())


def answered(argv: Sequence[str], answer: bytes, *, cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and what stood on the terminal; `answer` is typed once there is a question."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env, start_new_session=True)
    os.close(theirs)
    shown, asked = b"", False
    while piece := _read(ours):
        shown += piece
        if not asked and b"[y/N]" in shown:
            os.write(ours, answer)
            asked = True
    os.close(ours)
    return child.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # what a terminal says once nobody is behind it any more
        return b""
