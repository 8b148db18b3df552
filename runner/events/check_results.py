"""What was looked at before anything is done, what was found there, and how to fix it: the lines of a
checklist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import Model

State = Literal["good", "noted", "wrong"]


class Observation(Model):
    """`good`: as it must be. `noted`: a run continues, but a user of its result must know. `wrong`: a run
    would fail.

    `found` is a sentence without a full stop; of what is wrong, `remedy` says what to do, and is empty where
    `found` does."""

    subject: str
    """``host store``, ``vCenter prod``, ``VM pgtest1``, ``disk 2000``."""
    looked_at: str
    state: State
    found: str
    remedy: str = ""
    lines: tuple[str, ...] = ()
    """Of a file to be changed, ready to be pasted."""
    passing: bool = False
    """What is wrong may pass by itself, as a host that cannot be reached at the moment."""
    shared: str = ""
    """The cause of what is wrong, where other runs would meet it too: `SendenseError.shared`."""

    @property
    def sentence(self) -> str:
        return f"{self.found}; {self.remedy}" if self.remedy else self.found


def good(subject: str, looked_at: str, found: str) -> Observation:
    return Observation(subject=subject, looked_at=looked_at, state="good", found=found)


def noted(
    subject: str, looked_at: str, found: str, remedy: str = "", *, lines: tuple[str, ...] = ()
) -> Observation:
    return Observation(
        subject=subject, looked_at=looked_at, state="noted", found=found, remedy=remedy, lines=lines
    )


def wrong(
    subject: str, looked_at: str, found: str, remedy: str = "", *, lines: tuple[str, ...] = ()
) -> Observation:
    return Observation(
        subject=subject, looked_at=looked_at, state="wrong", found=found, remedy=remedy, lines=lines
    )


def met(subject: str, looked_at: str, error: SendenseError) -> Observation:
    """`error` is what a run would meet."""
    update = {"passing": error.transient, "shared": error.shared}
    return wrong(subject, looked_at, error.message).model_copy(update=update)


def observe(subject: str, looked_at: str, look: Callable[[], str]) -> Observation:
    """`look` returns what is good, in words, or raises the SendenseError that a run would meet. Raises
    Interrupted."""
    try:
        return good(subject, looked_at, look())
    except Interrupted:
        raise
    except SendenseError as error:
        return met(subject, looked_at, error)
