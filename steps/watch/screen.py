"""What a person would see on the console: its picture, its text where it is in text mode, and for how long it
has been as it is. All of it is the guest's: sizes are checked before anything is read."""

from __future__ import annotations

import contextlib
import posixpath

from runner.base.errors import CommandError, HostError
from runner.base.units import KiB, MiB
from runner.hosts.regular_file import TooLargeError
from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.watch import drawn_text, stop_screen
from steps.watch.pixels import Pixels, changed, halved, pixels, png, size

LARGEST = 16 * MiB
"""Bytes of a picture, compressed or not: VMware's SVGA card has 12 MiB at its largest."""

STILL = 0.005
"""Part of the pixels that may change without its being progress: a cursor that blinks, a clock."""

KEPT = 2 * MiB
"""Bytes of a picture that is kept with a point."""

SOONEST = 3.0
"""Seconds between two looks, since each is a transfer from the host; then a quarter of the time for which
nothing has changed, up to LONGEST."""

LONGEST = 12.0

_TEXT = 0xB8000
_TEXT_LENGTH = 32 * KiB
"""Linux scrolls by moving where the screen begins in it."""

_COLUMNS = 80
_EITHER = 640
_TEXT_WIDTHS = (720, _EITHER)
_TEXT_HEIGHTS = (400, 350)
"""Of a VGA's text modes, in pixels: its characters are 9 or 8 wide, 16 or 14 high.
QEMU shows mode 13h as 640 to 400 as well; nothing is where the text would be then (tried with 7.2)."""


class Screen:
    """Of one machine, as it was at the last look."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._pixels: Pixels | None = None
        self._font: drawn_text.Font | None = None
        self._cells = b""
        self._next = 0.0
        self._looks_stopped = 0
        self.picture: bytes | None = None
        """PNG."""
        self.lines: tuple[str, ...] | None = None
        """Those that are not blank; None where it shows a picture."""
        self.changed_at = 0.0
        self.looked_at: float | None = None
        self.unreadable = ""
        """Why there is no picture."""

    def look(self, now: float) -> bool:
        """If it is time for one. Raises BootError once QEMU is gone."""
        if now < self._next:
            return False
        try:
            changed = self._look()
        except (BootError, TooLargeError) as error:
            if self._running.child.poll() is not None:
                raise
            self.unreadable, changed = error.message, False
        else:
            self.unreadable = ""
        if changed or self.looked_at is None:
            self.changed_at = now
        pause = min(max(SOONEST, (now - self.changed_at) / 4), LONGEST)
        self.looked_at, self._next = now, now + pause
        return True

    @property
    def shows_stop_screen(self) -> bool:
        """At two looks in a row, so that it is not a picture on its way to another one."""
        return self._looks_stopped >= 2

    def _look(self) -> bool:
        """Whether it is otherwise than before."""
        before, cells = self.picture, self._cells
        self.picture = self._screendump("png")
        width, height = size(self.picture)
        self._cells = self._text() if width in _TEXT_WIDTHS and height in _TEXT_HEIGHTS else b""
        if width == _EITHER and not self._cells.strip(b"\0 \xff"):
            self._cells = b""
        if self._cells:
            self._pixels, self._looks_stopped, self.lines = None, 0, _lines(self._cells)
            return cells != self._cells
        if before == self.picture and self._pixels is not None:
            self._looks_stopped += bool(self._looks_stopped)
            return False
        return self._look_at_pixels()

    def _look_at_pixels(self) -> bool:
        last, said = self._pixels, self.lines
        self._pixels = pixels(self._screendump("ppm"))
        self.lines = self._drawn(self._pixels) if self._pixels else None
        stopped = self._pixels is not None and stop_screen.is_one(self._pixels)
        self._looks_stopped = self._looks_stopped + 1 if stopped else 0
        if said is not None and self.lines is not None:
            return said != self.lines  # one line may be a thousandth of the points
        return last is None or self._pixels is None or changed(last, self._pixels) > STILL

    def _drawn(self, found: Pixels) -> tuple[str, ...] | None:
        if self._font is None:
            self._font = drawn_text.font(self._running.host)
        return drawn_text.read(found, self._font) if self._font else None

    def kept(self) -> bytes | None:
        """The picture as it is now, or as it was at the last look where QEMU is gone: a PNG of at most KEPT
        bytes, for which it is made smaller. None if there is none."""
        picture, shown = self.picture, None
        with contextlib.suppress(BootError, TooLargeError, HostError, CommandError):
            picture = self._screendump("png")
            if len(picture) > KEPT:
                shown = pixels(self._screendump("ppm"))
        while picture is not None and len(picture) > KEPT:
            if shown is None:
                return None
            shown = halved(shown)
            picture = png(shown)
        return picture

    def _text(self) -> bytes:
        """Characters in code page 437, without their colours."""
        return self._fetch("text", "pmemsave", val=_TEXT, size=_TEXT_LENGTH)[::2]

    def _screendump(self, kind: str) -> bytes:
        return self._fetch(kind, "screendump", format=kind)

    def _fetch(self, name: str, command: str, **arguments: str | int) -> bytes:
        """What QEMU writes into a file for it."""
        host, path = self._running.host, posixpath.join(self._running.directory, f"screen.{name}")
        try:
            self._running.monitor.execute(command, filename=path, **arguments)
            return host.read(path, limit=LARGEST)
        finally:
            host.remove(path)


def _lines(cells: bytes) -> tuple[str, ...]:
    lines = (cells[at : at + _COLUMNS].decode("cp437") for at in range(0, len(cells), _COLUMNS))
    return tuple(line for each in lines if (line := each.replace("\0", " ").rstrip()))
