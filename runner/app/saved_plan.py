"""A plan in a file, for somebody to approve: what was decided, by which files, for what. A run is held to it
by a fresh plan made just before; the file itself is never executed.

What differs each hour is not in it: how much is to be copied, which point of its chain an incremental is
backed by. Nor is any secret: job files refer to them.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from runner import __version__
from runner.app.inspection import plan_job
from runner.app.options import Options
from runner.app.records import account
from runner.app.set_plan import plan_set
from runner.base.errors import UsageError
from runner.base.model import Model
from runner.engine.checkpoint import now
from runner.engine.plan import Plan
from runner.engine.set_plan import SetPlan
from runner.hosts import files
from runner.job.model import Job
from runner.job.writer import settings
from runner.step.decision import Decision, together

SCHEMA_VERSION = 1

TOLD = 40
"""Differences that are told one by one."""

LARGEST = 256 << 20
"""Bytes: a plan of 100,000 VMs has 100 MB."""


class Decided(Model):
    """Of one job, or of one child of a set."""

    id: str
    """The item's; empty for a job that is no set."""
    name: str
    resumes: str | None
    """The unfinished run that is resumed."""
    state: str = ""
    """Why nothing could be decided: ``running``, ``unknown``."""
    nodes: tuple[str, ...]
    """Those that run."""
    decided: tuple[Decision, ...]


class SavedPlan(Model):
    schema_version: int = SCHEMA_VERSION
    made: datetime
    by: str
    """``anna@backup1``"""
    version: str
    """Of this program."""
    job: str
    set: bool
    noun: str = ""
    """What an item of a set is: ``VM``."""
    only: tuple[str, ...] = ()
    """Which of a set's items it was asked for; empty for all."""
    settings: dict[str, str]
    """Of the job written out, a line each."""
    digests: dict[str, str]
    """SHA-256 of each file that the job was read from, by its path from the job file's directory, and of its
    template."""
    jobs: tuple[Decided, ...]


class Drifted(UsageError):
    """`differences`: between a saved plan and how it would be planned now, a sentence each."""

    def __init__(self, file: Path, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        lines = [f"  {line}" for line in self.differences[:TOLD]]
        if len(self.differences) > TOLD:
            lines.append(f"  … and {len(self.differences) - TOLD} more")
        said = "\n".join(lines)
        super().__init__(
            f"{file} is not what would be done now, so nothing was begun; look at a new plan:\n{said}"
        )


def of_job(job: Job, plan: Plan) -> SavedPlan:
    decided = together(one for node in plan.nodes for one in node.decided)
    nodes = tuple(node.id for node in plan.nodes if node.action == "run")
    state = "running" if plan.holder is not None else ""
    return _saved(
        job,
        "",
        (),
        (
            Decided(
                id="",
                name=plan.job,
                resumes=plan.resumes,
                state=state,
                nodes=nodes,
                decided=tuple(decided.values()),
            ),
        ),
    )


def of_set(job: Job, plan: SetPlan, only: Sequence[str]) -> SavedPlan:
    """`plan` was made with all that a saved plan holds."""
    states = ("running", "unknown")
    rows = (
        Decided(
            id=row.id,
            name=row.name,
            resumes=row.resumes,
            state=row.what if row.what in states else "",
            nodes=row.nodes,
            decided=row.decided,
        )
        for row in plan.rows
    )
    return _saved(job, plan.noun, only, tuple(rows))


def decide(job: Job, options: Options, only: Sequence[str] = ()) -> SavedPlan:
    """A fresh one. Raises what keeps it from being made."""
    if job.select is None:
        return of_job(job, plan_job(job, options, offline=False))
    found = plan_set(job, options, only, settled=True)
    return of_set(job, found, only)


def save(plan: SavedPlan, path: Path) -> None:
    """0600, and whole or not at all. Raises UsageError where it cannot be written."""
    without = (one.model_copy(update={"decided": tuple(map(_bare, one.decided))}) for one in plan.jobs)
    text = plan.model_copy(update={"jobs": tuple(without)}).model_dump_json(indent=1)
    try:
        files.write(str(path), f"{text}\n".encode(), mode=0o600)
    except OSError as error:
        raise UsageError(f"the plan cannot be written to {path}: {error.strerror}") from error


def read(path: Path) -> SavedPlan:
    """Raises UsageError for what is no plan, or one of another version of this program."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
    except OSError as error:
        raise UsageError(f"the plan {path} cannot be read: {error.strerror}") from error
    try:
        plan = SavedPlan.model_validate_json(content)
    except ValidationError as error:
        raise UsageError(
            f"{path} is no plan of this version of sendense, {__version__}: make one with `sendense plan JOB "
            f"--out {path}`"
        ) from error
    if plan.schema_version != SCHEMA_VERSION:
        raise UsageError(f"{path} was made by another version of sendense, {plan.version}: make a new plan")
    return plan


def require_same(path: Path, saved: SavedPlan, job: Job, options: Options) -> None:
    """By a fresh plan, made now. Raises Drifted."""
    if differences := drift(saved, decide(job, options, saved.only)):
        raise Drifted(path, differences)


def drift(saved: SavedPlan, fresh: SavedPlan) -> tuple[str, ...]:
    """A sentence for each difference, without a full stop; none where the run would be the one that was
    planned. A VM that was renamed is the same one, and so is a chain with a newer point."""
    return (*_of_files(saved, fresh), *_of_items(saved, fresh), *_of_decisions(saved, fresh))


def _of_files(saved: SavedPlan, fresh: SavedPlan) -> Iterator[str]:
    if (saved.job, saved.set) != (fresh.job, fresh.set):
        kinds = {True: "the set", False: "the job"}
        yield f"it is a plan of {kinds[saved.set]} {saved.job}, and this is {kinds[fresh.set]} {fresh.job}"
        return
    # By the same files they differ in what --set gave, and in the directory that these were checked out to.
    begin = "vars." if saved.digests == fresh.digests else ""
    yield from _changed("", *(_beginning(one.settings, begin) for one in (saved, fresh)))
    for name in {**saved.digests, **fresh.digests}:
        was, now_ = saved.digests.get(name), fresh.digests.get(name)
        if was is None:
            yield f"{name} is read now, and was not for the plan"
        elif now_ is None:
            yield f"{name} was read for the plan, and is not now"
        elif was != now_:
            yield f"{name} has changed since the plan was made"


def _beginning(settings_: Mapping[str, str], begin: str) -> dict[str, str]:
    return {name: text for name, text in settings_.items() if name.startswith(begin)}


def _of_items(saved: SavedPlan, fresh: SavedPlan) -> Iterator[str]:
    before, after = ({one.id: one for one in plan.jobs} for plan in (saved, fresh))
    if saved.job != fresh.job:
        return
    yield from (
        f"{saved.noun} {one.name} is no longer selected" for id_, one in before.items() if id_ not in after
    )
    yield from (
        f"{fresh.noun} {one.name} is selected now, and was not"
        for id_, one in after.items()
        if id_ not in before
    )


def _of_decisions(saved: SavedPlan, fresh: SavedPlan) -> Iterator[str]:
    before = {one.id: one for one in saved.jobs}
    for one in fresh.jobs:
        if (known := before.get(one.id)) is not None and saved.job == fresh.job:
            whose = f"{fresh.noun} {one.name}: " if fresh.set else ""
            yield from (f"{whose}{line}" for line in _of_one(known, one))


def _of_one(before: Decided, after: Decided) -> list[str]:
    if before.state != after.state:
        words = {"": "decided", "running": "running", "unknown": "not known"}
        return [f"it is {words[after.state]} now, and was {words[before.state]}"]
    if before.resumes != after.resumes:
        was, is_now = (
            f"run {run} is resumed" if run else "a new run begins" for run in (before.resumes, after.resumes)
        )
        return [f"{is_now}, and when it was planned: {was}"]
    old, new = together(before.decided), together(after.decided)
    lines = [f"{subject} is gone" for subject in old if subject not in new]
    lines += [f"{subject} was added" for subject in new if subject not in old]
    for subject in old.keys() & new.keys():
        lines += _of_subject(old[subject], new[subject])
    if not lines and before.nodes != after.nodes:
        lines = [f"{node} would run now" for node in after.nodes if node not in before.nodes]
        lines += [f"{node} would not run now" for node in before.nodes if node not in after.nodes]
    return sorted(lines)


def _of_subject(old: Decision, new: Decision) -> Iterator[str]:
    if old.choice != new.choice:
        why = f": {new.why}" if new.why else ""
        is_now, was = new.choice or "undecided", old.choice or "undecided"
        yield f"{new.subject} would be {is_now} now, and was {was}{why}"
        names = old.facts.keys() & new.facts.keys()
    else:
        names = old.facts.keys() | new.facts.keys()
    facts = ({name: one.facts[name] for name in sorted(names) if name in one.facts} for one in (old, new))
    yield from _changed(f"{new.subject}: ", *facts)


def _changed(begin: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield f"{begin}{name} is {new.get(name, 'not there')} now, and was {old.get(name, 'not there')}"


def _saved(job: Job, noun: str, only: Sequence[str], jobs: tuple[Decided, ...]) -> SavedPlan:
    start = Path(job.file).parent
    digests = {
        name if name.startswith("template ") else os.path.relpath(name, start): digest
        for name, digest in job.digests.items()
    }
    return SavedPlan(
        made=now(),
        by=account(),
        version=__version__,
        job=job.name,
        set=job.select is not None,
        noun=noun,
        only=tuple(only),
        settings=settings(job),
        digests=digests,
        jobs=jobs,
    )


def _bare(one: Decision) -> Decision:
    return one.model_copy(update={"why": ""})
