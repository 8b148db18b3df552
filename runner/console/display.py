"""What is drawn again and again on a terminal, and what becomes of it once nobody reads."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import RenderableType
from rich.live import Live

from runner.console.screen import Screen


class Display(Live):
    """`frame`, drawn at the bottom of the screen and gone when it stops. `takes_errors`: what others write to
    standard error meanwhile goes above it."""

    def __init__(
        self, frame: RenderableType, screen: Screen, frames_per_second: float, *, takes_errors: bool
    ) -> None:
        # Standard output is not redirected: it may be a file that --json writes to.
        super().__init__(
            frame,
            console=screen,
            refresh_per_second=frames_per_second,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=takes_errors,
        )

    def start(self, refresh: bool = False) -> None:
        super().start(refresh)
        # A second Ctrl-C ends the process at once: the cursor must not stay hidden then.
        self.console.show_cursor(True)


class UntilClosed:
    """Does what it is called with, until the stream that this writes to is one that nobody reads any more (a
    closed pipe): that must not end the work that is told of."""

    def __init__(self) -> None:
        self._is_closed = False

    def __call__(self, write: Callable[[], None]) -> None:
        if self._is_closed:
            return
        try:
            write()
        except OSError:
            self._is_closed = True
