"""Standard output as something that may refuse: what nobody takes is dropped, and the command goes on to its end."""

from __future__ import annotations

import os
from typing import IO, Any


class Output:
    """`stream`, but for the errors of writing to it: a run that failed is one that failed, whoever reads of it."""

    def __init__(self, stream: IO[Any]) -> None:
        self.stream = stream
        self.refusal: OSError | None = None
        """Why it takes no more."""

    @property
    def buffer(self) -> Output:
        """What takes bytes."""
        return self

    def write(self, text: str | bytes) -> int:
        """How much was taken: nothing by one that refuses."""
        taken = 0
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
        """What it did not take is dropped, else Python would try again at its end and say so."""
        self.refusal = self.refusal or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
