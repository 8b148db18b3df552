"""What one runner says to the others: what it holds, and what it waits for first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from runner.base.model import Model
from runner.sets.request import Request
from runner.sets.waiting import Waiting
from runner.step.items import Claim

SCHEMA_VERSION = 1


class Share(Model):
    """A `Claim` without its words."""

    resource: str
    amount: int
    limit: int


class Entry(Model):
    """A request that waits, or that was admitted."""

    id: str
    shares: tuple[Share, ...]
    priority: int
    point: float | None
    """When its newest good point was made, seconds since the epoch; None where there is none."""
    since: float
    """When it was put into the queue."""
    passed: int = 0

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(Claim(one.resource, one.amount, one.limit, "") for one in self.shares)

    def request(self, now: float) -> Request:
        age = float("inf") if self.point is None else now - self.point
        return Request(self.id, self.id, self.claims, age, self.priority)


class Book(Model):
    schema_version: int = SCHEMA_VERSION
    holder: str
    """Who it is, in words."""
    holds: tuple[Entry, ...] = ()
    waits: tuple[Entry, ...] = ()
    """Those that would be admitted first, no more than it can start."""
    room: int = 0
    """How many it can start."""


@dataclass(frozen=True, slots=True)
class Runner:
    """What was found of one."""

    name: str
    lives: bool
    """Its lock is held. If it is free, what it held counts until its children have had time to stop."""
    quiet: float
    """Seconds since it wrote or looked."""
    book: Book | None
    """None: it cannot be read, so it may hold anything."""


def read_book(text: str) -> Book | None:
    try:
        book = Book.model_validate_json(text)
    except ValidationError:
        return None
    return book if book.schema_version == SCHEMA_VERSION else None


def entry_of(one: Waiting) -> Entry:
    point = one.key[1]
    return Entry(
        id=one.request.id,
        shares=shares_of(one.request.claims),
        priority=one.request.priority,
        point=None if point == float("-inf") else point,
        since=one.since,
        passed=one.passed,
    )


def shares_of(claims: Iterable[Claim]) -> tuple[Share, ...]:
    return tuple(Share(resource=claim.resource, amount=claim.amount, limit=claim.limit) for claim in claims)
