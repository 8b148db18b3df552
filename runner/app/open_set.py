"""A set that runs: it is locked, what it chose is remembered, and what its vanished items held is
released."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from runner.app.afterwards import Ended, afterwards, refusals
from runner.app.claims import Limits
from runner.app.gone import Gone, see_to_gone
from runner.app.inspection import named_by
from runner.app.options import Options
from runner.app.records import account, new_record, new_run_id
from runner.app.selecting import Selected, selected, with_details
from runner.app.workspace import open_workspace
from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.units import DAY
from runner.engine.checkpoint import now
from runner.events.events import Event
from runner.events.outcomes import JobOutcome
from runner.job.children import child
from runner.job.model import Job
from runner.sets.breaker import causes_of
from runner.sets.request import Request
from runner.sets.set_record import Chosen, SetFile, SetRecord
from runner.sets.slots import Slots
from runner.step.items import Claim, Item, Room

SAVED_EVERY = 60.0
"""Seconds between two writes of what came of a set's items: its children's own records are always there."""


RESUMED = DAY / 2
"""Seconds since its start in which a set whose `sendense run` was killed is that execution still: its VMs
that are done get no second point. Later it is another night's."""

COMPLETE = ("done", "alarm")
"""Outcomes of a run that is not to be resumed."""


@dataclass(frozen=True)
class Which:
    """Of the items that a set selects: all, or `only` those that are named, or only those whose last run is
    `unfinished` or never began."""

    only: tuple[str, ...] = ()
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One job that is to run, a child of a set or not."""

    key: str
    called: str
    """For people, in a line."""
    file: str
    item: Item | None = None
    only: str = ""
    """What names it, and no other, behind ``--only``."""
    expected: int | None = None
    """Bytes that it may copy, where that can be said."""
    at_most: bool = False
    """`expected` is no more than a bound."""


class OpenSet:
    """A set that runs: it is locked, what it chose is remembered, and what its vanished items held was
    released."""

    def __init__(
        self,
        job: Job,
        options: Options,
        stop: threading.Event,
        listeners: Sequence[Callable[[Event], None]],
    ) -> None:
        assert job.select is not None, "only a set is opened as one"
        self.job = job
        self._options = options
        self._stop = stop
        self._listeners = listeners
        self._stack = ExitStack()
        self.selected: Selected | None = None
        self.gone: tuple[Gone, ...] = ()
        self._claims: Mapping[str, tuple[Claim, ...]] = {}
        self.rooms: tuple[Room, ...] = ()
        self.slots: Slots | None = None
        """Where its limits are shared; None where there are none."""
        self._newest: Mapping[str, datetime] = {}
        """By item, in lower case: when the newest that can be relied on was made."""
        self._are_named = False
        self._causes: dict[str, str] = {}
        """By item: what others may have failed at as well, where it failed at that."""
        self._saved = 0.0

    def __enter__(self) -> OpenSet:
        """Raises LockedError."""
        with ExitStack() as stack:
            job, options = self.job, self._options
            self._workspace = stack.enter_context(open_workspace(job, options, self._stop, self._listeners))
            run = new_run_id()
            with refusals(self._workspace):
                try:
                    stack.enter_context(self._workspace.lock(run))
                except LockedError as error:
                    raise LockedError(f"the set {job.name}", error.holder, error.token) from error
                self._file = SetFile(self._workspace.state.host, self._workspace.state.directory)
                self._earlier = self._file.read()
            self._workspace.run(new_record(job, run))
            self._run = run
            self._record = self._begun(run)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begun(self, run: str) -> SetRecord:
        """The same execution as the one before, where that was cut short: what its orders came to stands."""
        job, known = self.job, self._earlier
        record = SetRecord(id=run, set=job.name, file=job.file, by=account(), started=now())
        if known is None or known.ended is not None or self._options.fresh:
            return record
        if (record.started - known.started).total_seconds() > RESUMED:
            return record
        return record.model_copy(update={"id": known.id, "started": known.started})

    @property
    def id(self) -> str:
        """Of this execution, which may have been begun by another process. Some that are named are asked for
        now, whatever an execution that was cut short did of them."""
        return self._run if self._are_named else self._record.id

    @property
    def noun(self) -> str:
        """What one of its items is: ``VM``."""
        assert self.selected is not None, "it has chosen"
        return self.selected.noun

    def choose(self, which: Which) -> list[Member]:
        """Those that are to run. Raises SendenseError: fewer than `at-least` are an error, and what could not
        be read is never taken for absent."""
        with refusals(self._workspace):
            return self._choose(which)

    def _choose(self, which: Which) -> list[Member]:
        with open_workspace(self.job, self._options, self._stop, self._listeners) as workspace:
            self.selected = found = with_details(self._narrowed(selected(workspace, which.only), which))
            if (error := found.error) is not None and not self._may_run(found):
                raise error
        chosen = found.items.chosen
        is_whole = len(found.wanted) == len(
            chosen
        )  # also where `only` names all of them, as a saved plan does
        self._are_named = bool(which.only) and not is_whole
        known = {} if self._earlier is None else self._earlier.by_id
        if is_whole:
            self.gone = see_to_gone(self._workspace, found, known)
        # All others were told of as gone, once.
        told = {one.item.id for one in self.gone} | {item.id for item in chosen}
        kept = [one.remembered for one in self.gone if one.remembered is not None]
        kept += [row for item, row in known.items() if item not in told]
        rows = [_remembered(item, known.get(item.id)) for item in chosen]
        self._items = {row.id: row for row in (*rows, *kept)}
        self._wanted = tuple(item.id for item in found.wanted)
        for item in found.wanted:
            begins = {"outcome": "", "error": "", "exit_code": None}
            self._items[item.id] = self._items[item.id].model_copy(update=begins)
        self._save()
        names = _only_names(chosen)
        members = [self._member(item, names[item.id], known.get(item.id)) for item in found.wanted]
        if members:
            self._see_limits(members)
        if len(members) > 1 and (self.job.priority is None or self.job.priority.age == "oldest-first"):
            self._newest = self._read_newest()
        return members

    def _read_newest(self) -> Mapping[str, datetime]:
        """What a run said that it made may have been deleted since, or may not be good."""
        world, found = self._workspace.world, dict[str, datetime]()
        ctx = world.unheard("priority")
        for section, name in named_by(self.job)[1]:
            try:
                kept = world.section(section, name).newest(ctx, name)
            except Interrupted:
                raise
            except SendenseError:
                # Who goes first is no reason to begin nothing: the runs read it too, and tell what is wrong.
                continue
            for item, moment in kept.items():
                found[item] = max(moment, found.get(item, moment))
        return found

    def _see_limits(self, members: Sequence[Member]) -> None:
        items = [member.item for member in members if member.item is not None]
        # What differs between children stands in no name of an entry or host.
        self._limits = limits = Limits(child(self.job, items[0]), self._workspace.world, self._options.nodes)
        self._claims = {
            member.item.id: limits.claims(member.item, member.expected)
            for member in members
            if member.item is not None
        }
        self.rooms = limits.rooms(items)
        self.slots = limits.slots(self.id)

    def _narrowed(self, found: Selected, which: Which) -> Selected:
        if not which.unfinished:
            return found
        known = {} if self._earlier is None else self._earlier.by_id
        left = (
            item for item in found.wanted if item.id not in known or known[item.id].outcome not in COMPLETE
        )
        return replace(found, wanted=tuple(left))

    def _may_run(self, found: Selected) -> bool:
        """Some that nobody can tell of are no reason to leave all others without a backup; they are a failure
        of the set."""
        return len(found.items.chosen) >= max(1, found.selection.at_least)

    def _member(self, item: Item, only: str, known: Chosen | None) -> Member:
        copied = None if known is None else known.bytes
        # Without a run that is done the next one is a full, of no more than the disks' size.
        expected = item.size if copied is None else copied
        key = f"{self.job.name}@{item.id}"
        return Member(key, only, self.job.file, item, only, expected, at_most=copied is None)

    def request(self, member: Member, placed: tuple[Claim, ...]) -> Request:
        """`placed`: what it takes of where it runs."""
        assert member.item is not None, "a child has an item"
        priority = self.job.priority
        made = self._newest.get(member.item.id.lower())
        age = float("inf") if made is None else (now() - made).total_seconds()
        level = 0 if priority is None else priority.level
        claims, needs = (*self.claims(member), *placed), self._limits.needs(member.item)
        return Request(member.key, member.called, claims, age, level, job=self.job.name, needs=needs)

    def claims(self, member: Member) -> tuple[Claim, ...]:
        """What it takes of limits."""
        assert member.item is not None, "a child has an item"
        return self._claims[member.item.id]

    def ended(self, item: str, document: dict[str, Any], exit_code: int, error: str) -> None:
        row = self._items[item]
        self._causes[item] = next((f"{cause}: {why}" for cause, why in causes_of(document).items()), "")
        changes: dict[str, Any] = {
            "outcome": document.get("outcome", "failed"),
            "run": document.get("run", ""),
            "exit_code": exit_code,
            "ended": now(),
            # One that had been done before, and only answers, has neither.
            "seconds": document.get("seconds") or row.seconds,
            "error": error or ("" if exit_code == 0 else document.get("summary", "")),
        }
        if exit_code == 0 and (copied := document.get("bytes")) is not None:
            changes["bytes"] = copied
        self._items[item] = row.model_copy(update=changes)
        if time.monotonic() - self._saved > SAVED_EVERY:
            self._save()

    def finish(self) -> None:
        """All have ended that were begun; where some were not, this execution may be resumed. Raises what
        keeps that from being remembered."""
        try:
            is_over = all(self._items[item].outcome not in ("", "interrupted") for item in self._wanted)
            if is_over and self.id == self._record.id:
                self._record = self._record.model_copy(update={"ended": now()})
            self._save()
        finally:
            afterwards(self._workspace, list(self._afterwards()))

    def _afterwards(self) -> Iterator[Ended]:
        found = self.selected
        assert found is not None, "it has chosen"
        ran = {item.id for item in found.wanted}
        for item in found.items.chosen:
            row = self._items[item.id]
            # What it says of one that was not to run now is of an earlier night.
            outcome = (row.outcome if item.id in ran else "") or "not-reached"
            yield Ended(cast(JobOutcome, outcome), self._causes.get(item.id) or row.error, item.id, item.name)
        yield Ended("done") if found.error is None else Ended("failed", str(found.error))

    def _save(self) -> None:
        self._workspace.state.hold()
        self._file.write(self._record.model_copy(update={"items": tuple(self._items.values())}))
        self._saved = time.monotonic()


def _remembered(item: Item, known: Chosen | None) -> Chosen:
    """With what came of it before."""
    new = Chosen(id=item.id, name=item.name, path=item.path, rule=item.rule)
    called = {"name": item.name, "path": item.path, "rule": item.rule}
    return new if known is None else known.model_copy(update=called)


def _only_names(chosen: Sequence[Item]) -> dict[str, str]:
    """By id: the name, where no other item has it, else the path."""
    times = Counter(item.name for item in chosen)
    return {item.id: item.name if times[item.name] == 1 else item.path or item.id for item in chosen}
