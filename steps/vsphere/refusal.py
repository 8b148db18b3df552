"""What keeps every run from a vCenter, not one alone: a refused login, which is not tried again soon, and a
server that cannot be reached.

A vCenter locks an account after five wrong passwords within three minutes (the default of vCenter Single
Sign-On), for people too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.units import MINUTE
from steps.vsphere import causes
from steps.vsphere.errors import LoginRefused, NotReached, NotTrusted, Unreachable

REFUSED_FOR = 10 * MINUTE
"""Seconds for which a refused login is not tried again: a run fails meanwhile, and does not lock the
account."""


class Refusal:
    """Of one login, by all who would try it for one run."""

    def __init__(self) -> None:
        self._said = ""
        self._until = -math.inf

    def heed(self) -> None:
        """Raises LoginRefused."""
        if time.monotonic() < self._until:
            raise LoginRefused(self._said)

    @contextmanager
    def noticed(self) -> Iterator[None]:
        try:
            yield
        except LoginRefused as error:
            self._said, self._until = error.message, time.monotonic() + REFUSED_FOR
            raise


@contextmanager
def shared_by_all(name: str) -> Iterator[None]:
    """What keeps all runs on that vCenter from working says so in its error."""
    try:
        yield
    except LoginRefused as error:
        error.shared = causes.login(name)
        raise
    except (NotReached, NotTrusted, Unreachable) as error:
        error.shared = causes.unreached(name)
        raise
