"""Keys of a job file's top level that say when and how its runs begin, and what is told of them: as they are
written. What each does stands in the room that does it."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, Field

from runner.base.model import Duration, JobModel
from runner.hosts.secrets import SecretRef
from runner.job.fleet import Fleet
from runner.job.schedule import Schedule
from runner.step.registry import Registry

RuleT = TypeVar("RuleT")


def _some(rules: tuple[RuleT, ...]) -> tuple[RuleT, ...]:
    # Not by `min_length`, which counts rules with mistakes of their own as absent.
    if not rules:
        raise ValueError("it has no rule")
    return rules


def _somebody(to: tuple[SecretRef, ...]) -> tuple[SecretRef, ...]:
    if not to:
        raise ValueError("it names nobody: write a reference to the URL of a service, such as {env: NAME}")
    return to


def _told(reason: str) -> str:
    if not reason.strip():
        raise ValueError("it is empty")
    return reason


class SelectEntry(JobModel, Generic[RuleT]):
    """``select:`` of a set: the job runs once for each item that it finds."""

    from_: str
    """The entry that lists the items: `vcenters.prod`. Its name is the variable `vcenter` of each run."""
    as_: str = "vm"
    """The variable of each run that has the item's id: of a VM its instance uuid."""
    any: Annotated[tuple[RuleT, ...], AfterValidator(_some)] = ()
    """An item is selected if one of these rules fits it; the keys of one rule hold together. Without any,
    all are."""
    not_: tuple[RuleT, ...] = ()
    """Not those that one of these rules fits."""
    at_least: Annotated[int, Field(ge=0)] = 1
    """Fewer are an error: a tag that was renamed must not mean that there is nothing to do."""


class Priority(JobModel):
    """Who goes first of all that wait for a limit or a free process."""

    level: int = 0
    """A lower one goes first, whatever the ages: of several sets that share their limits."""
    age: Literal["oldest-first", "ignore"] = "oldest-first"
    """`oldest-first`: whose newest good point is oldest, and before them those that have none; `ignore`: in
    the order of their paths."""


class Notify(JobModel):
    """Where failures, recoveries and breached rpo are told."""

    to: Annotated[tuple[SecretRef, ...], AfterValidator(_somebody)]
    """URLs as Apprise has them, as references: there are passwords in them."""


class UnprotectedEntry(JobModel, Generic[RuleT]):
    """What may be in no job, and why."""

    from_: str
    """The entry that lists the items: `vcenters.prod`."""
    any: Annotated[tuple[RuleT, ...], AfterValidator(_some)]
    """Those that one of these rules fits."""
    reason: Annotated[str, AfterValidator(_told)]
    """For people who ask."""


def kinds(registry: Registry) -> dict[str, Any]:
    """Key → what its value is, but for `slots`, which is as `state`. The rules of `select` and `unprotected`
    are those of all sections that list something."""
    rules: Any = None
    for model in registry.sections.values():
        if model.Rule is not None:
            rules = model.Rule if rules is None else rules | model.Rule
    rule = dict[str, Any] if rules is None else rules
    return {
        "select": select_entry(rule),
        "priority": Priority,
        "rpo": Duration,
        "schedule": Schedule,
        "fleet": Fleet,
        "notify": Notify,
        "unprotected": tuple[unprotected_entry(rule), ...],  # type: ignore[misc]
    }


def select_entry(rule: Any) -> Any:
    """`SelectEntry` with rules of that type."""
    return SelectEntry[rule]


def unprotected_entry(rule: Any) -> Any:
    return UnprotectedEntry[rule]
