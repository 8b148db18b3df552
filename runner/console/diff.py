"""Lines of a unified diff: coloured as git does on a terminal, plain everywhere else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

_STYLES = {"-": "red", "+": "green", "@": "cyan", "!": "bold yellow"}


def print_diff(lines: Iterable[str], stream: TextIO) -> None:
    if not stream.isatty():
        stream.writelines(f"{line}\n" for line in lines)
        return
    from rich.text import Text

    from runner.console.screen import Screen

    console = Screen(stream)
    for line in lines:
        bold = line.startswith(("--- ", "+++ "))
        console.print(Text(line, style="bold" if bold else _STYLES.get(line[:1], "")))
