"""The command's standard output and error as something that may refuse: what nobody takes is dropped, and the
command runs to its end. A disk that is full, a reader that has gone (`| head`), a terminal that hung up, a
stream that was closed before we came (``>&-``) change nothing of what was done, so they change no exit code
of it either."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, TextIO, cast

from runner.base.printable import visible

STREAMS = (0, 1, 2)
CLOSED = OSError(errno.EBADF, "it is closed")


class Output:
    """`stream`, but for the errors of writing to it. None: it was closed before this program began."""

    def __init__(self, stream: IO[Any] | None) -> None:
        self._closed = stream is None
        self.stream: IO[Any] = Path(os.devnull).open("w") if stream is None else stream  # noqa: SIM115  until the process ends
        self.refusal: OSError | None = None
        """Why it takes no more."""

    @property
    def buffer(self) -> Output:
        """What takes bytes."""
        return self

    @property
    def is_read(self) -> bool:
        """Not by a reader that has gone: that one has all it wanted."""
        return not isinstance(self.refusal, BrokenPipeError)

    @property
    def drawn(self) -> Drawn:
        """The stream for control sequences of a drawing on a terminal."""
        return Drawn(self)

    def write(self, text: str | bytes) -> int:
        """How much was taken: nothing by one that refuses. Of text no control sequence reaches a terminal:
        names, notes and paths come from elsewhere, and one could rename the window, hide a line, or answer as
        if it were typed. Bytes are as they are."""
        return self.put(visible(text) if isinstance(text, str) else text)

    def put(self, text: str | bytes) -> int:
        """As `write`, to the letter."""
        taken = 0
        if self._closed and text:
            self.refusal = CLOSED
        try:
            taken = (self.stream if isinstance(text, str) else self.stream.buffer).write(text)  # type: ignore[attr-defined]
        except OSError as error:
            self._give_up(error)
        return taken if self.refusal is None else 0

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What it did not take is dropped, else Python would try again at its end, say so, and make 120 of
        the exit code."""
        self.refusal = self.refusal or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Drawn:
    """The same output for a drawing: its texts were made printable before."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> int:
        return self._output.put(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)


class Outputs:
    """Both of them, in the place of Python's own while a command runs."""

    def __enter__(self) -> Self:
        _occupy()
        self._before = (sys.stdin, sys.stdout, sys.stderr)
        for stream in self._before[1:]:
            _make_fit(stream)
        self.out, self.err = Output(sys.stdout), Output(sys.stderr)
        sys.stdout, sys.stderr = cast(TextIO, self.out), cast(TextIO, self.err)
        if sys.stdin is None:
            sys.stdin = Path(os.devnull).open()
        return self

    def __exit__(self, *_: object) -> None:
        self.out.flush()
        self.err.flush()
        sys.stdin, sys.stdout, sys.stderr = self._before

    def exit_code(self, code: int, *, answers: bool) -> int:
        """`code` is that of the work. `answers`: there was no work but telling, so that what could not be
        told has failed. Says on standard error what standard output did not take."""
        self.out.flush()
        if self.out.refusal is not None and self.out.is_read:
            print(f"sendense: standard output cannot be written: {self.out.refusal.strerror}", file=self.err)
        self.err.flush()
        untold = any(one.refusal is not None and one.is_read for one in (self.out, self.err))
        return 1 if code == 0 and answers and untold else code


def _occupy() -> None:
    """A number below 3 that is free would be that of the next file which is opened, a lock or a record, and
    whatever is printed to it would be written there."""
    for number in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)


def _make_fit(stream: TextIO | None) -> None:
    """Names come from anywhere: a terminal in an old locale must not fail the run that shows one. And who
    shares a pipe with us may have made it such that it takes no more than fits at once."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    if stream is not None:
        with suppress(OSError, ValueError):
            os.set_blocking(stream.fileno(), True)
