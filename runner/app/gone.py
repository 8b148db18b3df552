"""Items that a set chose before and does not choose now: each is named, and what an unfinished run of it
holds is released.

Of one that is not there any more nothing can be resumed: its snapshot is released at once. One that is there
and is no longer selected may be selected again: its snapshot is released when its `hold` is over. Data that
was copied stays until somebody discards the run: it is named with the command that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.app.by_records import Remembered, child_records, has_same_source
from runner.app.options import Placed
from runner.app.selecting import Selected
from runner.app.sweep import sweep_job
from runner.app.workspace import Workspace
from runner.base.errors import SendenseError
from runner.sets.set_record import Chosen
from runner.step.items import Census, Item


@dataclass(frozen=True)
class Gone:
    """`why`: in words; `released`: what was, now; `holds`: what an unfinished run of it keeps, each with the
    command that releases it; `error`: what could not be released."""

    item: Item
    why: str
    is_there: bool
    released: tuple[str, ...] = ()
    holds: tuple[tuple[str, str], ...] = ()
    error: SendenseError | None = None
    remembered: Chosen | None = None
    """Of one with an unfinished run: it is named again next time."""


def see_to_gone(workspace: Workspace, chosen: Selected, known: Mapping[str, Chosen]) -> tuple[Gone, ...]:
    """`known`: what the set chose last. Raises what keeps the records from being read."""
    census = chosen.census
    # Of those nobody can tell now whether they are chosen: they are not gone.
    ids = {item.id for item in (*chosen.items.chosen, *(one.item for one in chosen.items.unread))}
    unfinished = {
        item: one
        for item, one in child_records(workspace).items()
        if one.records.unfinished and item not in ids
    }
    there = {item.id: item for item in census.everything}
    found = []
    for key in sorted({*unfinished, *known} - ids, key=lambda key: (_name(key, known, unfinished), key)):
        item = there.get(key) or Item(key, _name(key, known, unfinished), "")
        gone = Gone(item, _why(key, there, census), key in there)
        if key in unfinished:
            row = known.get(key) or Chosen(id=key, name=item.name, path=item.path)
            gone = _released(workspace, unfinished[key], replace(gone, remembered=row))
        found.append(gone)
    return tuple(found)


def _released(workspace: Workspace, one: Remembered, gone: Gone) -> Gone:
    options = replace(workspace.options, placed=Placed(gone.item.id))
    record = one.records.unfinished[-1]
    try:
        job = one.unfinished_job(workspace, record)
        if not has_same_source(workspace.job, job):
            # Nothing that we have seen tells whether it is there.
            gone = replace(
                gone, why=f"its unfinished run, of {record.job_file}, selected it elsewhere", is_there=True
            )
        swept = sweep_job(
            job,
            options,
            [workspace.bus.emit],
            stop=workspace.world.stop,
            over=None if gone.is_there else gone.why,
            run=record.id,
        )
    except SendenseError as error:
        return replace(gone, error=error)
    command = workspace.options.command("sweep", workspace.job.file)
    holds = tuple(
        (hold.what, f"{command} --abandon {run}") for run, holds in swept.holding.items() for hold in holds
    )
    return replace(gone, released=swept.released, holds=holds)


def _why(key: str, there: Mapping[str, Item], census: Census) -> str:
    if key not in there:
        return "it is no longer found"
    unworkable = census.unworkable.get(key)
    return f"it cannot be worked on: {unworkable}" if unworkable else "it is no longer selected"


def _name(key: str, known: Mapping[str, Chosen], unfinished: Mapping[str, Remembered]) -> str:
    return known[key].name if key in known else unfinished[key].records.unfinished[-1].item_name
