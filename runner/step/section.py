"""What an entry of a section of the job file can tell (`repositories: {main: …}`), and what lost runs left
behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from runner.base.model import JobModel
from runner.events.check_results import Observation
from runner.hosts.state_place import StatePlace
from runner.step.context import Context
from runner.step.items import Ahead, Census, Claim, Item, Room, Where
from runner.step.tools import Tool


@dataclass(frozen=True)
class Orphan:
    """Something that a run left and no records tell of."""

    what: str
    """In words: ``snapshot sendense-… of VM pgtest1``."""
    run: str
    """The id of the run that left it."""
    stays: str | None
    """Why it is not released; None if it may be."""
    release: Callable[[], None]
    """Raises LockedError if a run took its lock meanwhile, and what else keeps it from being released."""
    copied: bool = False
    """It holds data that was copied: released only with a run that is abandoned by its id."""


Kept = Callable[[str, str | None], str | None]


@dataclass(frozen=True)
class Surroundings:
    """All places where runs of a job may have left something."""

    sections: Mapping[str, Mapping[str, Any]]
    """The job's entries, by section and name."""
    hosts: Iterable[str]
    """The job's names of them."""
    kept: Kept
    """``kept(run, job)``: why what that run of that job (None: it is not told) left stays, though nobody
    works on it; None if no record tells of the run."""


@dataclass(frozen=True)
class Use:
    """A step of a job, as far as its file alone tells."""

    step: str
    """Its id."""
    uses: str
    """Its kind."""
    told: Mapping[str, Any]
    """As `Known.told`."""


@dataclass(frozen=True)
class Remark:
    """What is no mistake in a job file, and yet will not do what it seems to say."""

    step: str
    """The id of the step that it is about."""
    field: str
    """Of its `In`, by its name in Python."""
    text: str
    """In words, without a full stop."""


class Section(JobModel):
    """The base of an entry of a section of the job file (`repositories: {main: …}`)."""

    tools: ClassVar[tuple[Tool, ...]] = ()
    """What commands on such an entry need of the machine they run on, for a doctor that knows of no job."""

    Rule: ClassVar[type[JobModel] | None] = None
    """One rule of `select:` for what this entry lists; None: it lists nothing. Keys of one rule hold
    together, rules of a list each by itself."""

    noun: ClassVar[str] = "item"
    """What one of those that it lists is."""

    def census(self, ctx: Context, name: str, wheres: Sequence[Where]) -> Census:
        """All items behind the entry `name`, by one pass; `wheres` are all that will be asked of it, so that
        what only their rules need is looked up too. Raises SendenseError: what could not be read is never
        taken for absent."""
        raise NotImplementedError(f"{type(self).__name__} lists nothing")

    def ahead(self, ctx: Context, name: str) -> Ahead | None:
        """Before a look at many items: reads at once what it will ask of the entry `name`, and puts it into
        `ctx.answers`. None if there is nothing to be read. Raises SendenseError."""
        return None

    def newest(self, ctx: Context, name: str) -> Mapping[str, datetime]:
        """Of every item that the entry `name` keeps something of, by its id in lower case: when the newest of
        it that can be relied on was made. By one read. Raises SendenseError."""
        return {}

    def claims(self, ctx: Context, name: str, item: Item) -> tuple[Claim, ...]:
        """What a child job that works on `item` and names the entry `name` takes of this entry's limits;
        `item` may be of another section's entry: a repository counts its disks."""
        return ()

    def causes(self, name: str, item: Item) -> tuple[str, ...]:
        """What can break of the entry that the job calls `name`, and of what `item` stands on behind it, as
        `SendenseError.shared` says it: who names none of that goes on. Asks nobody."""
        return ()

    @property
    def limited(self) -> str:
        """The field by which runs on this entry wait for each other, as it is spelled; empty if none is
        set."""
        return ""

    def rooms(self, ctx: Context, name: str, items: Sequence[Item]) -> tuple[Room, ...]:
        """How to measure what the claims of those items on the entry `name` name, where it is not
        counted."""
        return ()

    @classmethod
    def orphans(cls, ctx: Context, surroundings: Surroundings) -> Iterator[Orphan]:
        """What runs whose records are lost left: asked once of each installed section, whether the job has
        entries of it or not, since what is left in one place may be told apart only by another. Changes
        nothing but by `Orphan.release`."""
        return iter(())

    @property
    def remarkable(self) -> bool:
        """Whether `remarks` may say anything, whatever the steps are: asked each time that a job is read."""
        return False

    def remarks(self, name: str, uses: Sequence[Use]) -> Iterator[Remark]:
        """What is to be said of how a job's steps, `uses`, use the entry `name`, by its file alone. None of
        it keeps a run from beginning."""
        return iter(())

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        """For `doctor`: what is there behind the entry `name`. Changes nothing."""
        return ()

    def writes(self) -> StatePlace | None:
        """The directory that runs of jobs which name this entry write into, for who says what they may; None
        if there is none."""
        return None

    def state_place(self) -> StatePlace | None:
        """Where records of runs lie if a job says ``state: {in: <section>.<entry>}``; None if it has no place
        for them."""
        return None
