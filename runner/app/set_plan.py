"""The plan of a set: what a run of each child would do, by the planner of one job, over one world.

select ── census           one pass over the section's entry, the details of those that are selected
ahead                      one read of each entry that the children name (a repository)
records                    one request for the records of all children
for each child ── Planner  with what is known of its item beforehand; its plan is folded into a row
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.app.claims import Limits
from runner.app.inspection import named_by, notes_of
from runner.app.options import Options
from runner.app.records import new_run_id
from runner.app.selecting import Selected, in_words, selected, with_details
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import Interrupted, SendenseError, is_transient
from runner.base.waiting import heeding
from runner.engine.answers import SharedAnswers
from runner.engine.checkpoint import RunRecord
from runner.engine.job_state import slug
from runner.engine.live_observer import LiveObserver
from runner.engine.place_records import JobRecords, all_records
from runner.engine.plan import Plan, Planner
from runner.engine.set_plan import SetPlan, SetRow, Shared, SpaceSum, Vanished, Waiting, row, shared, sums
from runner.engine.standing import Standings
from runner.engine.walk import Visit, Walk
from runner.job.children import child
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.model import Job
from runner.job.nodes import Nodes
from runner.sets.foresight import foreseen
from runner.sets.request import Request
from runner.step.context import Context, Run
from runner.step.items import Ahead, Item
from runner.step.setting import Setting

GIVES_UP = 3
"""Items in a row that could not be looked at for the same passing reason: what all need does not answer, and
each of thousands would wait for it."""


def plan_set(
    path: Path | Job, options: Options, only: Sequence[str] = (), *, settled: bool = False
) -> SetPlan:
    """Changes nothing, takes no lock, leaves nothing behind. `settled`: with all that a saved plan holds.
    Raises what kept the items from being listed."""
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        found = with_details(selected(workspace, only))
        return _SetPlanner(workspace, found, settled=settled).plan()


@dataclass
class _Told:
    """What is gathered over all children."""

    rows: list[SetRow] = field(default_factory=list)
    about: tuple[Setting, ...] = ()
    space: SpaceSum = field(default_factory=SpaceSum)
    warnings: list[tuple[Item, str]] = field(default_factory=list)
    problems: list[tuple[Item, str]] = field(default_factory=list)


class _Silence:
    """Something that all items need and that does not answer, so that each would wait for it."""

    def __init__(self) -> None:
        self.why = ""
        self._items = 0

    @property
    def lasts(self) -> bool:
        return self._items >= GIVES_UP

    def heard(self, visits: Iterable[Visit]) -> Iterator[Visit]:
        """Of one item; its plan is made meanwhile."""
        passing = ""
        for visit in visits:
            for error in (visit.error, visit.standing.error):
                if error is not None and is_transient(error):
                    passing = passing or str(error)
            yield visit
        self._items = self._items + 1 if passing and passing == self.why else int(bool(passing))
        self.why = passing


class _SetPlanner:
    def __init__(self, workspace: Workspace, found: Selected, *, settled: bool) -> None:
        self._workspace = workspace
        self._found = found
        self._settled = settled
        self._job = workspace.job
        self._world = workspace.world
        self._answers = SharedAnswers()
        self._told = _Told()
        self._silence = _Silence()
        # What all children have in common is made once.
        self._graph = StepGraph(self._job.steps, workspace.registry)
        self._identities = self._world.identities()
        self._entries = named_by(self._job)[1]

    def plan(self) -> SetPlan:
        items, problems = self._found.wanted, tuple[Shared, ...]()
        records = self._records()
        ahead: list[Ahead] = []
        try:
            ahead = [*self._ahead()]
        except Interrupted:
            raise
        except SendenseError as error:
            problems = (
                Shared(text=error.message, items=len(items), named=tuple(one.name for one in items[:5])),
            )
            self._told.rows += [self._unseen(item, "nothing was looked at") for item in items]
        else:
            self._look_at_all(records)
        return SetPlan(
            set=self._job.name,
            file=self._job.file,
            source=self._found.source,
            noun=self._found.noun,
            selected=len(self._found.items.chosen),
            rows=tuple(self._told.rows),
            about=(in_words(self._found.selection, self._found.noun), *self._told.about),
            sums=sums(items),
            space=self._told.space.all(self._found.noun),
            waiting=self._waiting(items),
            left_out=len(self._found.items.left_out),
            unfit=self._found.items.unfit,
            vanished=self._vanished(records, ahead),
            warnings=shared(self._told.warnings),
            shared_problems=(*problems, *shared(self._told.problems)),
            notes=notes_of(self._job),
            error=None if self._found.error is None else self._found.error.message,
        )

    def _look_at_all(self, records: Mapping[str, JobRecords]) -> None:
        for item in heeding(self._world.stop, self._found.wanted):
            if self._silence.lasts:
                self._told.rows.append(self._unseen(item, "not looked at, after others could not be"))
                self._told.problems.append((item, self._silence.why))
                continue
            job = child(self._job, item)
            self._told.rows.append(self._row(job, item, records.get(slug(job.key))))

    def _row(self, job: Job, item: Item, records: JobRecords | None) -> SetRow:
        unfinished = None if records is None or self._workspace.options.fresh else records.runs.unfinished
        if records is not None and (holder := records.holder(self._workspace.state.host)) is not None:
            return self._as_is(job, item, "running", holder)
        if unfinished is not None and _same_variables(job, unfinished):
            return self._as_is(job, item, "resumes", f"run {unfinished.id} is unfinished", unfinished.id)
        discarded = frozenset() if records is None else frozenset(one.id for one in records.unfinished)
        try:
            made = self._planned(job, item, discarded)
        except Interrupted:
            raise
        except SendenseError as error:
            self._told.problems.append((item, error.message))
            unseen = self._unseen(item, "it could not be looked at")
            return unseen.model_copy(update={"problems": (error.message,)})
        if not self._told.about:
            self._told.about = tuple(one for one in made.about if item.id not in one.text)
        folded = row(item, job.name, made, settled=self._settled)
        if unfinished is not None:
            begun = f"run {unfinished.id} is unfinished and was started with other vars"
            text = f"{begun}: use --fresh to discard it"
            folded = folded.model_copy(update={"problems": (*folded.problems, text)})
        self._told.space.add(made.space)
        self._told.warnings += [(item, text) for text in folded.warnings]
        self._told.problems += [(item, text) for text in folded.problems]
        return folded

    def _planned(self, job: Job, item: Item, discarded: frozenset[str]) -> Plan:
        answers = self._answers.of_one(self._found.census.answers(item))
        run = self._world.run = Run(new_run_id(), job.name, job.digest, None, discarded=discarded)
        nodes = Nodes(job.steps, self._graph, self._workspace.registry)
        resolver = Resolver(job, nodes, self._identities, run.id)
        observer = LiveObserver(self._world, answers=answers)
        walk = Walk(nodes, resolver, observer, Standings({}, observer), side_by_side=1)
        made = Planner(nodes).plan(self._silence.heard(walk), job.name, job.file, None, offline=False)
        self._answers.after(answers)
        return made

    def _as_is(self, job: Job, item: Item, what: str, why: str, run: str | None = None) -> SetRow:
        """Of a child whose unfinished run decides, which made its plan when it began."""
        return SetRow(
            id=item.id,
            name=item.name,
            path=item.path,
            job=job.name,
            what=what,
            why=why,
            disks=item.disks,
            size=item.size,
            resumes=run,
        )

    def _unseen(self, item: Item, why: str) -> SetRow:
        return self._as_is(child(self._job, item), item, "unknown", why)

    def _context(self) -> Context:
        return self._world.unheard("plan", answers=self._answers.known)

    def _ahead(self) -> Iterator[Ahead]:
        for section, name in self._entries:
            if (found := self._world.section(section, name).ahead(self._context(), name)) is not None:
                yield found

    def _records(self) -> Mapping[str, JobRecords]:
        """Of all children and more, by one request."""
        return all_records(self._workspace.state.host, self._workspace.place)

    def _waiting(self, items: Sequence[Item]) -> tuple[Waiting, ...]:
        """As the queue of a run would have it now, if nobody else held anything."""
        if not items:
            return ()
        priority = 0 if self._job.priority is None else self._job.priority.level
        limits = Limits(child(self._job, items[0]), self._world, self._workspace.options.nodes)
        requests = [Request(item.id, item.name, limits.claims(item), 0.0, priority) for item in items]
        return tuple(Waiting(what=what, items=count) for what, count in foreseen(requests).items())

    def _vanished(self, records: Mapping[str, JobRecords], ahead: Iterable[Ahead]) -> tuple[Vanished, ...]:
        """What this set made of items that it no longer selects."""
        items = self._found.items
        known = (*items.chosen, *(one.item for one in items.unread))
        # vCenter tells a uuid in small letters, whatever those are that it was given.
        chosen = {spelled for item in known for spelled in (item.id, item.id.lower())}
        found: dict[str, Vanished] = {}
        for one in (kept for each in ahead for kept in each.kept(chosen, f"{self._job.name}/")):
            found[one.item] = Vanished(id=one.item, name=one.name, points=one.count, newest=one.newest)
        for record in (job.newest for job in records.values()):
            if record is None or record.set != self._job.name or record.item in chosen:
                continue
            before = found.get(record.item) or Vanished(id=record.item, name=record.item_name)
            run = record.id if record.is_unfinished else None
            found[record.item] = before.model_copy(update={"unfinished": run})
        return tuple(found.values())


def _same_variables(job: Job, record: RunRecord) -> bool:
    """Whether the next run resumes it, as `earlier_runs` has it."""
    return all(record.vars.get(name) == job.vars.get(name) for name in {*record.given, *job.given})
