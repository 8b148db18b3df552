"""Standard output as something that may refuse: an error of it is told from those of all other files."""

from __future__ import annotations

import os
from typing import IO, Any, TextIO, cast


class OutputError(Exception):
    """Standard output takes no more; its cause is the OSError. Not an OSError itself: click would end the process for some."""


class Output:
    """`stream`, but for the errors of writing to it, which come as OutputError."""

    def __init__(self, stream: IO[Any]) -> None:
        self.stream = stream

    @property
    def buffer(self) -> Output:
        """What takes bytes."""
        return Output(cast(TextIO, self.stream).buffer)

    def write(self, text: str | bytes) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            raise _refusal(error) from error

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            raise _refusal(error) from error

    def give_up(self) -> None:
        """What it did not take is dropped, else Python would try again at its end and say so."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _refusal(error: OSError) -> OutputError:
    return OutputError(f"standard output cannot be written: {error.strerror}")
