"""Which items a set selects now: its section's census is asked once. Changes nothing."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.app.options import Options
from runner.app.records import new_run_id
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import SendenseError, UsageError
from runner.base.suggestion import did_you_mean
from runner.base.units import counted
from runner.job.model import Job, Selection
from runner.step.context import Run
from runner.step.items import Census, Item, Items
from runner.step.setting import Setting


class NotEnough(SendenseError):
    """Fewer are selected than the job says at least."""

    fix_first = True


class Incomplete(SendenseError):
    """Of some it cannot be told whether they are selected."""

    fix_first = True


@dataclass(frozen=True)
class Selected:
    """`items.chosen` are those that the rules select, whatever was named on the command line; `wanted` are
    those that are to be worked on, in the order of their paths."""

    job: Job
    selection: Selection
    noun: str
    """What one of them is, in words: ``VM``."""
    census: Census
    items: Items
    wanted: tuple[Item, ...]

    @property
    def source(self) -> str:
        """``vcenters.prod``"""
        return f"{self.selection.section}.{self.selection.entry}"

    @property
    def error(self) -> SendenseError | None:
        """Why the selection is not to be relied on."""
        unread, chosen = self.items.unread, len(self.items.chosen)
        if unread:
            first = unread[0]
            more = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
            return Incomplete(
                f"{self.job.name}: whether {first.item.path} is selected cannot be told{more}: {first.why}; "
                f"`sendense select {self.job.file}` names all"
            )
        if chosen < self.selection.at_least:
            return NotEnough(self._not_enough(chosen))
        return None

    def _not_enough(self, chosen: int) -> str:
        told = counted(chosen, self.noun) if chosen else f"no {self.noun}"
        unfit = [
            f"; the rule '{rule}' fits nothing{why and f': {why}'}" for rule, why in self.items.unfit.items()
        ]
        return (
            f"{self.job.name} selects {told} of {self.source}, and at least {self.selection.at_least} are "
            f"expected{''.join(unfit)}; if that is right now, write `at-least` in select"
        )


def require_set(job: Job) -> Selection:
    """Raises UsageError for a job that is none."""
    if job.select is None:
        raise UsageError(f"{job.file}: {job.name} is one job and no set: it has no `select`")
    return job.select


def in_words(selection: Selection, noun: str) -> Setting:
    """What is selected, as a plan's head has it."""
    where, source = selection.where, f"{selection.section}.{selection.entry}"
    which = " or ".join(map(str, where.any)) if where.any else f"every {noun}"
    but = f"; not {', not '.join(map(str, where.none))}" if where.none else ""
    return Setting(name="set", text=f"{which} of {source}{but}; at least {selection.at_least}")


def select(path: Path | Job, options: Options, only: Sequence[str] = ()) -> Selected:
    """Opens what it needs. Raises as `selected`, but for what is wrong with the selection itself: see
    `Selected.error`."""
    with open_workspace(path, options, threading.Event(), ()) as workspace:
        return selected(workspace, only)


def selected(workspace: Workspace, only: Sequence[str] = ()) -> Selected:
    """`only`: names, paths, ids or patterns of names of those that are wanted. Raises UsageError for one that
    names nothing that is selected, and what kept the census from being taken: what could not be read is never
    taken for absent. `Selected.error` is to be looked at."""
    job, world = workspace.job, workspace.world
    selection = require_set(job)
    if world.run is None:
        world.run = Run(new_run_id(), job.name, job.digest, None)
    section = world.section(selection.section, selection.entry)
    census = section.census(world.unheard("select"), selection.entry, [selection.where])
    items = census.select(selection.where)
    return Selected(job, selection, section.noun, census, items, wanted(items, only))


def wanted(items: Items, only: Sequence[str]) -> tuple[Item, ...]:
    """Those of `items` that `only` names; all without any. Raises UsageError."""
    if not only:
        return items.chosen
    found: dict[str, Item] = {}
    for name in only:
        found.update((item.id, item) for item in _named(items, name))
    return tuple(item for item in items.chosen if item.id in found)


def _named(items: Items, name: str) -> list[Item]:
    exact = [item for item in items.chosen if name in (item.id, item.name, item.path)]
    if len(exact) > 1:
        paths = ", ".join(item.path for item in exact)
        raise UsageError(
            f"--only {name}: {len(exact)} are called so: give the path of the one you mean: {paths}"
        )
    if exact:
        return exact
    if "*" in name or "?" in name:
        pattern = name.lower()
        if like := [item for item in items.chosen if fnmatch.fnmatchcase(item.name.lower(), pattern)]:
            return like
    for one in (*items.left_out, *items.unread):
        if name in (one.item.id, one.item.name, one.item.path):
            raise UsageError(f"--only {name}: the set leaves it out: {one.why}")
    hint = did_you_mean(name, _names(items.chosen)) or "; `sendense select JOB` lists what it selects"
    raise UsageError(f"--only {name}: the set selects none that is called so{hint}")


def _names(items: Iterable[Item]) -> list[str]:
    return list(dict.fromkeys(item.name for item in items))


def with_details(found: Selected) -> Selected:
    """With the disks of those that are wanted."""
    return replace(found, wanted=found.census.detailed(found.wanted))
