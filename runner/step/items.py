"""What a set of jobs is made for: the items that a section's entry lists, what selects them, and what work on
one of them takes of which limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from runner.base.model import JobModel
from runner.base.units import MINUTE


@dataclass(frozen=True)
class Where:
    """Which items are meant: those that one of `any` fits and none of `none`. No rule at all: every one."""

    any: tuple[JobModel, ...] = ()
    """Each of the section's `Rule`."""
    none: tuple[JobModel, ...] = ()


@dataclass(frozen=True, slots=True)
class Footing:
    """Something that an item stands on: the host that runs it, a datastore."""

    key: str
    """The same for everybody, whatever a job calls it: ``<vCenter's uuid>/host-12``."""
    name: str
    """For people: ``esx1``."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one child job is made for."""

    id: str
    """Stable: it names the child, its records and its restore points. Of a VM the instance uuid."""
    name: str
    path: str
    """Names no other item of the same census: an inventory path."""
    rule: str = ""
    """Which rule selected it, in words: ``tag backup/gold``."""
    stands_on: Mapping[str, tuple[Footing, ...]] = field(default_factory=dict)
    """By kind: ``vcenter``, ``host``, ``datastore``."""
    disks: int | None = None
    """How many there are to copy; None until `Census.detailed`."""
    size: int | None = None
    """Their bytes."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For people and programs: ``power: on``."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An item that a set does not take, though a rule fits it."""

    item: Item
    why: str
    """In words: ``template``, ``not: name *-test``."""
    by_rule: bool = False
    """A `not:` rule of the job says so; False: it cannot be worked on."""


@dataclass(frozen=True)
class Items:
    """What `where` selects, by path."""

    chosen: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()
    unfit: Mapping[str, str] = field(default_factory=dict)
    """Rules of the job that fit nothing, in words, with what is close: a tag was renamed, a folder is
    gone. Those of `not:` begin with ``not: ``."""
    unread: tuple[LeftOut, ...] = ()
    """Those of which nobody can tell whether they are chosen, since what decides it could not be read. With
    one of these the set is not complete: a command that shows it says so, and ends with an error."""


class Census(Protocol):
    """All items behind one entry, at one moment. Nothing but `detailed` asks anybody anything."""

    key: str
    """Of what it is: the vCenter's uuid."""
    everything: Sequence[Item]
    """By path; also those that no job can take."""
    unworkable: Mapping[str, str]
    """Id → why no job can take it: a template, inaccessible."""

    def select(self, where: Where) -> Items:
        """Pure."""

    def detailed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The same items with their disks, read in pages."""

    def answers(self, item: Item) -> dict[object, Any]:
        """What a look at that item would ask and need not ask again, for a context with `answers`; empty
        for one that `detailed` was not asked for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an entry has of one item from earlier runs."""

    item: str
    """Its id."""
    name: str
    """What it was called last."""
    job: str
    """The name of the job that made the newest of it."""
    count: int
    """How many restore points."""
    newest: datetime


class Ahead(Protocol):
    """What an entry knows of many items after one look, see `Section.ahead`."""

    def kept(self, but: Container[str], made_by: str) -> Iterator[Kept]:
        """Of all items but those with these ids, what jobs made whose names begin so."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one child takes of one limit while it works."""

    resource: str
    """The same for every runner, whatever a job calls it: ``vcenter <uuid> disks``."""
    amount: int
    """At most `limit`: an item that needs more takes all of it, and its parts take turns."""
    limit: int
    what: str
    """In words, for who waits: ``disks read in vCenter prod at once``."""
    divided: bool = False
    """Whether the item needs more than `limit`, or may."""
    writes: bool = False
    """Bytes that the child is expected to write count here, which are not known yet: `amount` is 0."""
    bytes: bool = False
    """Whether `amount` and `limit` are bytes; else they are counted."""

    @classmethod
    def share(cls, resource: str, wanted: int | None, limit: int, what: str) -> Claim:
        """Of `limit`, for one that could use `wanted` at once (None: how many is unknown)."""
        amount = limit if wanted is None else min(wanted, limit)
        return cls(resource, amount, limit, what, divided=wanted is None or wanted > limit)


UNCOUNTED = 1 << 62
"""The `limit` of a claim on what is measured: see `Room`."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is measured of a resource, beside what is claimed of it."""

    resource: str
    """As in `Claim.resource`."""
    measure: Callable[[Collection[str]], float]
    """How much of it all that are admitted may take together; negative: none may begin. It is told whose
    children work now (`Request.id`). Raises SendenseError: what could not be measured is no room."""
    every: float = MINUTE
    """Seconds for which a measurement holds."""
