"""What a change of job files changes, as values: settings, and nodes of the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from runner.base.model import Model


class Change(Model):
    """Of one setting or node. `before` and `after` are texts; None where it is not there."""

    name: str
    before: str | None
    after: str | None
    warning: str = ""
    """What it may do that cannot be undone, in a sentence."""


class Difference(Model):
    """`about`: of what a plan begins with; `settings`: of the job written out; `nodes`: of the plan that is
    made without looking. Of a job that is new or deleted, only the first is told."""

    against: str
    """The git reference, file or directory, as it was given."""
    state: Literal["same", "changed", "new", "deleted"]
    about: tuple[Change, ...] = ()
    settings: tuple[Change, ...] = ()
    nodes: tuple[Change, ...] = ()


def changes(
    old: Mapping[str, str], new: Mapping[str, str], warnings: Mapping[str, str] | None = None
) -> tuple[Change, ...]:
    """Texts by name, in the order of the new ones; what is gone comes last."""
    names = dict.fromkeys((*new, *old))
    return tuple(
        Change(name=name, before=old.get(name), after=new.get(name), warning=(warnings or {}).get(name, ""))
        for name in names
        if old.get(name) != new.get(name)
    )
