"""What QEMU said before it ended."""

from __future__ import annotations

from runner.base.errors import BY_SIGNAL, ending
from runner.base.printable import printable
from runner.hosts.host import Child
from steps.boot.errors import BootError

_LONGEST = 400
"""Characters of them in a sentence: the cause comes last, and QEMU names whole options in it."""


def last_words(child: Child) -> str:
    """The end of what it printed, without warnings, in one line; empty if that is nothing."""
    lines = [line.removeprefix("qemu-system-x86_64:").strip() for line in child.stderr().splitlines()]
    said = printable(" / ".join(line for line in lines if line and not line.startswith("warning:")))
    return said if len(said) <= _LONGEST else f"…{said[-_LONGEST:]}"


def ended(child: Child) -> BootError:
    """Of a QEMU that is no more."""
    code = child.poll()
    assert code is not None
    said = last_words(child) or "it printed nothing"
    error = BootError(f"QEMU on {child.host} ended with {ending(code)}: {said}")
    # It was killed, or the host was lost; else it says the same next time.
    error.transient = code > BY_SIGNAL
    return error
