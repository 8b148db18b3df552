"""The terminal behind a stream: what it can show, and how wide it is."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions


class Screen(RichConsole):
    """Writes to `stream` in its width; where that is no terminal, without colours whatever the environment
    says."""

    def __init__(self, stream: TextIO) -> None:
        self._on_terminal = stream.isatty()
        drawn: TextIO = getattr(stream, "drawn", stream)
        super().__init__(file=drawn, highlight=False, force_terminal=None if self._on_terminal else False)

    @property  # type: ignore[misc]  # rich's can be set too, which nobody here does
    def size(self) -> ConsoleDimensions:
        """Of the very terminal that is written to, now. rich asks the one behind standard input first, and
        takes a dumb one to have 80 columns; it is asked where a terminal does not know its size (0 x 0: some
        containers)."""
        if self._on_terminal:
            with suppress(OSError):  # it hung up meanwhile
                found = os.get_terminal_size(self.file.fileno())
                if found.columns and found.lines:
                    return ConsoleDimensions(found.columns, found.lines)
        return super().size


def can_redraw(stream: TextIO) -> bool:
    """Whether written lines can be redrawn: not in a file, nor where TERM is ``dumb``."""
    return stream.isatty() and not Screen(stream).is_dumb_terminal
