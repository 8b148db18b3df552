"""History collectors: what a client reads events and tasks through, a page at a time, backwards or forwards.

As the API reference has it (HistoryCollector): `latestPage` holds the newest first; reading begins behind it,
or, after RewindCollector, with the oldest. A collector dies with its session.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.sessions import Session
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vim

PAGE = 10
"""Of `latestPage`, until SetCollectorPageSize says else."""

LONGEST_PAGE = 1000

MOST = 32
"""Collectors in one session; the API promises no number, only that it is told (`maxCollector`)."""


class HistoryCollector(Managed):
    """`found` gives all that its filter takes, the oldest first, as it is now."""

    def __init__(self, world: World, session: Session, asked: Any, found: Callable[[], list[Any]]) -> None:
        if sum(isinstance(one, HistoryCollector) for one in session.owned.values()) >= MOST:
            raise fault(vim.fault.InvalidState, "The operation is not allowed in the current state.")
        super().__init__(world, f"session[{session.token}]{secrets.token_hex(8)}")
        self._session = session
        self._asked = asked
        self._found = found
        self._page = PAGE
        self._next = len(found())
        """Where reading forwards continues; reading backwards gives what is before it."""
        session.owned[self.moid] = self

    @provides("filter")
    def filter(self) -> Any:
        return self._asked

    @provides("latestPage")
    def latest_page(self) -> list[Any]:
        return self._found()[::-1][: self._page]

    @operation("SetCollectorPageSize")
    def set_page_size(self, call: Call) -> None:
        self._page = _size(call)
        self._next = len(self._found())

    @operation("RewindCollector")
    def rewind(self, call: Call) -> None:
        self._next = 0

    @operation("ResetCollector")
    def reset(self, call: Call) -> None:
        self._next = len(self._found())

    @operation("DestroyCollector")
    def destroy(self, call: Call) -> None:
        self._session.owned.pop(self.moid, None)
        self.world.remove(self)

    def forwards(self, call: Call) -> list[Any]:
        page = self._found()[self._next :][: _size(call)]
        self._next += len(page)
        return page

    def backwards(self, call: Call) -> list[Any]:
        start = max(0, self._next - _size(call))
        page = self._found()[start : self._next]
        self._next = start
        return page


def _size(call: Call) -> int:
    size: int = call.arguments.maxCount
    if not 0 < size <= LONGEST_PAGE:
        raise invalid_argument("maxCount")
    return size
