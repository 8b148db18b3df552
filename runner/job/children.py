"""One child of a set: the job that it is for one item. No file is read for it."""

from __future__ import annotations

from dataclasses import replace

from runner.base.slug import slug
from runner.job.model import ChildOf, Job
from runner.job.selection import EACH, variable_of
from runner.step.items import Item


def any_child(job: Job) -> Job:
    """A child of the set that stands for all of them, under the set's own name: for what asks nobody. A job
    that is no set stands for itself."""
    if job.select is None:
        return job
    return replace(child(job, Item(EACH, EACH, EACH)), name=job.name)


def child(job: Job, item: Item) -> Job:
    """`job` is a set."""
    assert job.select is not None, "only a set has children"
    given = {variable_of(job.select.section): job.select.entry, job.select.variable: item.id}
    return replace(
        job,
        name=f"{job.name}/{slug(item.name)}-{item.id}",
        vars={**job.vars, **given},
        select=None,
        child_of=ChildOf(job.name, item.id),
        given=job.given | given.keys(),
    )
