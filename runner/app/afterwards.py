"""What happens once a job's run, or all children of a set, have ended, whatever came of it. Packages bring it
by the entry points `sendense.afterwards`; none is loaded for a job that asks for nothing of the kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.base.plugins import installed, load
from runner.events.outcomes import JobOutcome
from runner.hosts.host import Host
from runner.job.model import Job
from runner.step.context import Context

INSTALLED = "sendense.afterwards"
"""The group of entry points: each names an `Afterwards`."""

NOTICES = "notices"
"""What a warning is about, in words, where it is no node."""


@dataclass(frozen=True)
class Ended:
    """How a job ended, or one child of a set."""

    outcome: JobOutcome
    error: str = ""
    """Why it is not done, in a sentence."""
    item: str = ""
    """Of a child, its item's id."""
    name: str = ""
    """Of a child, its item's name."""


@dataclass(frozen=True)
class After:
    """`ctx` is good while the function works; what it has to say, it warns of."""

    job: Job
    """As it was read: of a set, the set."""
    ended: Sequence[Ended]
    """Of a set its children, and one without an item where the set itself failed; else one."""
    ctx: Context
    host: Host
    directory: str
    """The one on `host` with the job's records; it may not be there yet."""
    look: str
    """The command line that tells more."""


Afterwards = Callable[[After], None]
"""Raises SendenseError for what it could not do, which changes nothing of what came of the run."""


def afterwards(after: After) -> None:
    """At the end of each run of a job and of each set. Raises nothing but bugs."""
    if after.job.notify is None:
        return
    for entry in installed(INSTALLED).values():
        try:
            load(entry)(after)
        except SendenseError as error:
            after.ctx.warn(f"{entry.name}: {error.message}")
