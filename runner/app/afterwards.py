"""What happens once a job's run, or all children of a set, have ended, whatever came of it. Packages bring it
by the entry points `sendense.afterwards`; none is loaded for a job that asks for nothing of the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.app.records import new_run_id
from runner.app.workspace import Workspace
from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.plugins import installed, load
from runner.events.outcomes import JobOutcome
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.job.model import Job
from runner.step.context import Context, Run

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
    """Of a set one for each item that it selects (`not-reached`: it was not run), and one without an item for
    the set itself, alone where it could not even select; of any other job one."""
    ctx: Context
    places: tuple[tuple[Host, str], ...]
    """Directories for what is to be remembered of the job, which may not be there yet: that of its records,
    and where that cannot be reached, one on this machine."""
    look: str
    """The command line that tells more."""


Afterwards = Callable[[After], None]
"""Raises SendenseError for what it could not do, which changes nothing of what came of the run."""


def afterwards(workspace: Workspace, ended: Sequence[Ended]) -> None:
    """At the end of each run of a job that is no set's child, and of each set: while its workspace is open.
    Raises nothing but bugs; what could not be done is warned of."""
    job, world = workspace.job, workspace.world
    if job.notify is None or job.child_of is not None:
        return
    if world.run is None:
        world.run = Run(new_run_id(), job.name, job.digest, None, execution=world.execution)
    look = workspace.options.command("status", job.file)
    # As what cleans up: also once the run was told to stop, and then for a while only.
    after = After(job, ended, world.context(NOTICES, cleanup=True), _places(workspace), look)
    for name, entry in installed(INSTALLED).items():
        try:
            load(entry)(after)
        except SendenseError as error:
            after.ctx.warn(f"{name}: {error.message}")


def _places(workspace: Workspace) -> tuple[tuple[Host, str], ...]:
    """Not one that is not ready: nothing may be made where a disk is not mounted."""
    state, here = workspace.state, str(workspace.local / Path(workspace.state.directory).name)
    own = (state.host, state.directory)
    try:
        state.require_place()
    except SendenseError:
        return ((LocalHost(), here),)
    return (own,) if state.host.local and state.directory == here else (own, (LocalHost(), here))


@contextmanager
def refusals(workspace: Workspace) -> Iterator[None]:
    """What keeps a job from beginning ends it too. Raises it again."""
    try:
        yield
    except SendenseError as error:
        afterwards(workspace, [Ended(_outcome(error), error.message)])
        raise


def _outcome(error: SendenseError) -> JobOutcome:
    if isinstance(error, LockedError):
        return "locked"
    return "interrupted" if isinstance(error, Interrupted) else "not-begun"
