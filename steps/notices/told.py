"""What was told of a job, so that each trouble and its end are told once and not every night again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from runner.base.model import Model

NAME = "notices.json"
"""Beside the records of the job's runs."""

SCHEMA_VERSION: Literal[1] = 1

Kind = Literal["failed", "too-old", "drill", "brake"]
KINDS: tuple[Kind, ...] = ("failed", "too-old", "drill", "brake")


@dataclass(frozen=True)
class Standing:
    """How one subject of a job stands after a run: a VM of a set, or the job itself."""

    subject: str
    """Of a VM of a set its item's id; empty: the job itself."""
    name: str
    """For people."""
    failed: str | None = None
    """Why its run failed; empty: it did not; None: it was not run to an end, which says nothing."""
    too_old: str | None = None
    """How old its newest good point is against the rpo; empty: it is young enough; None: it is unknown, or
    there is no rpo."""
    drill: str | None = None
    """What its newest drill came to; empty: it passed; None: that is unknown, or there was none."""
    drill_failed: bool = False
    """Whether it failed: else it is undecided."""
    braked: str | None = None
    """Why retention deletes nothing of it as long as its brake is on; empty: it is off; None: that is
    unknown."""
    braked_since: str = ""
    """The point that it came on with."""

    def says(self, kind: Kind) -> str | None:
        return {"failed": self.failed, "too-old": self.too_old, "drill": self.drill, "brake": self.braked}[
            kind
        ]


class Open(Model):
    """Trouble that was told, and whose end was not yet."""

    name: str
    failed: datetime | None = None
    """When it was told first."""
    too_old: datetime | None = None
    drill: datetime | None = None
    drill_failed: bool = False
    """Whether it was told that it failed, and not only that it is undecided."""
    brake: datetime | None = None
    braked_since: str = ""
    """The point that it had come on with."""

    def since(self, kind: Kind) -> datetime | None:
        return {"failed": self.failed, "too-old": self.too_old, "drill": self.drill, "brake": self.brake}[
            kind
        ]


class Told(Model):
    """notices.json"""

    schema_version: Literal[1] = SCHEMA_VERSION
    open: dict[str, Open] = {}
    """By subject."""


@dataclass(frozen=True)
class Line:
    """What is to be told of one subject."""

    name: str
    text: str
    kind: Kind
    since: datetime | None = None
    """Of an end: when its beginning was told."""

    @property
    def is_end(self) -> bool:
        return self.since is not None


def news(
    before: Told, now: Sequence[Standing], at: datetime, *, complete: bool = True
) -> tuple[list[Line], Told]:
    """What is to be told, and what has been told once it was. `complete`: a subject that `now` does not have
    is no longer there, and is forgotten without a word."""
    lines: list[Line] = []
    named = {one.subject for one in now}
    still = {} if complete else {key: one for key, one in before.open.items() if key not in named}
    for one in now:
        was = before.open.get(one.subject, Open(name=one.name))
        if one.drill_failed and not was.drill_failed:
            was = was.model_copy(update={"drill": None})  # that it was undecided is another story
        # Where its record cannot be read it is on, and not known since when.
        if one.braked_since and one.braked_since != was.braked_since:
            was = was.model_copy(update={"brake": None})  # released since, and on again
        since = {kind: _settle(one, kind, was.since(kind), at, lines) for kind in KINDS}
        if any(since.values()):
            still[one.subject] = Open(
                name=one.name,
                failed=since["failed"],
                too_old=since["too-old"],
                drill=since["drill"],
                drill_failed=since["drill"] is not None and (one.drill_failed or was.drill_failed),
                brake=since["brake"],
                braked_since="" if since["brake"] is None else one.braked_since or was.braked_since,
            )
    return lines, Told(open=still)


def _settle(
    one: Standing, kind: Kind, since: datetime | None, at: datetime, lines: list[Line]
) -> datetime | None:
    """Since when that trouble stands, as it was told."""
    text = one.says(kind)
    if text is None:
        return since
    if text:
        if since is None:
            lines.append(Line(one.name, text, kind))
        return since or at
    if since is not None:
        lines.append(Line(one.name, "", kind, since))
    return None


def counts(lines: Iterable[Line]) -> Mapping[tuple[Kind, bool], int]:
    """By kind, and whether it ended."""
    found: dict[tuple[Kind, bool], int] = {}
    for line in lines:
        found[(line.kind, line.is_end)] = found.get((line.kind, line.is_end), 0) + 1
    return found
