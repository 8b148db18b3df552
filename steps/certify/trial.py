"""A behaviour that can be tried with a scratch VM, and one that cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steps.certify.scratch import Scratch


@dataclass(frozen=True)
class Trial:
    """`number` and `what` as in the table of the simulator's behaviours. `run` returns None where a vCenter
    does as assumed, else what it did; raises NotTried."""

    number: int
    what: str
    run: Callable[[Scratch], str | None]


@dataclass(frozen=True)
class Untried:
    number: int
    what: str
    why: str
