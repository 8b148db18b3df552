"""Where the events of a run are written: beside its records on this machine, and where somebody asked."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from runner.base.errors import StateError, UsageError
from runner.events.events import Bus, Warned
from runner.events.journal import Journal

THE_EVENTS = "the run's events"
"""What a warning is about, in words, where it is no node."""


class Journals:
    """Use as a context manager. What cannot be written changes nothing of what came of the work: it is warned
    of."""

    def __init__(self, bus: Bus, own: Path, asked_for: Path | None) -> None:
        """Raises UsageError where the file that somebody `asked_for` cannot be made; that its `own` cannot be
        is no reason for a run not to begin."""
        self._bus = bus
        self._own = own
        self._opened: list[Journal] = []
        self._stack = ExitStack()
        for file in filter(None, (own, asked_for)):
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                journal = Journal(file)
            except (OSError, StateError) as error:
                text = (
                    error.message
                    if isinstance(error, StateError)
                    else f"{file} cannot be made: {error.strerror}"
                )
                if file is asked_for:
                    # Nothing was begun yet: who asked for it would otherwise learn of it after hours.
                    self._stack.close()
                    raise UsageError(text) from error
                self._warn(text)
                continue
            self._stack.callback(self._close, journal)
            self._opened.append(journal)
            bus.subscribe(journal)

    def __enter__(self) -> Journals:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_whole(self) -> bool:
        """Whether the run's own journal has all events so far."""
        return any(journal.path == self._own and journal.failure is None for journal in self._opened)

    def tell_what_is_lost(self) -> None:
        for journal in self._opened:
            if (failure := journal.failure) is not None:
                self._warn(failure)

    def _close(self, journal: Journal) -> None:
        told = journal.failure
        journal.close()
        if (failure := journal.failure) is not None and failure != told:
            self._warn(failure)

    def _warn(self, text: str) -> None:
        self._bus.emit(Warned(node=THE_EVENTS, text=text))
