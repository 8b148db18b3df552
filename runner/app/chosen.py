"""What a set's job works on tonight: asked of the entry that lists it, by a login that ends here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from runner.app.inspection import named_by
from runner.app.options import Options
from runner.app.records import new_record, new_run_id
from runner.app.workspace import open_workspace
from runner.base.errors import SendenseError
from runner.base.units import counted
from runner.events.events import Event
from runner.job.children import child
from runner.job.model import Job
from runner.step.context import Context
from runner.step.items import Census, Claim, Item, Items


@dataclass(frozen=True)
class ChosenItems:
    """`items` with their disks; `claims`: what the child of each takes of which limit, by its id."""

    census: Census
    items: Items
    claims: Mapping[str, tuple[Claim, ...]]


def choose(
    job: Job, options: Options, stop: threading.Event, listeners: Sequence[Callable[[Event], None]]
) -> ChosenItems:
    """Raises SendenseError, also for fewer than the set's `at-least`."""
    select = job.select
    assert select is not None, "only a set selects"
    with open_workspace(job, options, stop, listeners) as workspace:
        workspace.run(new_record(job, new_run_id()))
        ctx = workspace.world.unheard("select")
        section = workspace.world.section(select.section, select.entry)
        census = section.census(ctx, select.entry, [select.where])
        found = census.select(select.where)
        if len(found.chosen) < select.at_least:
            raise SendenseError(
                f"{job.file}: select finds {counted(len(found.chosen), 'item')} in "
                f"{select.section}.{select.entry}, and at-least says {select.at_least}: nothing was run"
            )
        items = replace(found, chosen=census.detailed(found.chosen))
        return ChosenItems(census, items, _claims(ctx, job, items.chosen))


def _claims(ctx: Context, job: Job, chosen: Sequence[Item]) -> dict[str, tuple[Claim, ...]]:
    if not chosen:
        return {}
    # What differs between children stands in no name of an entry.
    _, named = named_by(child(job, chosen[0]))
    entries = [(ctx.section(section, name), name) for section, name in named]
    return {
        item.id: tuple(claim for entry, name in entries for claim in entry.claims(ctx, name, item))
        for item in chosen
    }
