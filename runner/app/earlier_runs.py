"""What is to be said of a job's earlier runs, and done about them, before another one begins."""

from __future__ import annotations

from dataclasses import dataclass

from runner.app.release import abandon, abandon_unread, foreign
from runner.app.workspace import Workspace
from runner.base.errors import StateError, UsageError
from runner.engine.checkpoint import RunRecord
from runner.engine.job_state import Runs
from runner.engine.schedule import AT_END
from runner.engine.unread import UnreadRun
from runner.job.graph import step_references

EARLIER = "earlier runs"
"""What a warning is about, in words, where it is no node."""


@dataclass(frozen=True)
class Earlier:
    """`resumed`: the unfinished run that is resumed; `discarded`: those that are abandoned, since nobody
    wants to or can resume them; `said`: sentences; `answers`: the run that the same order began, and that is
    done."""

    resumed: RunRecord | None
    discarded: tuple[RunRecord | UnreadRun, ...]
    said: tuple[str, ...]
    answers: RunRecord | None = None

    @property
    def discarded_ids(self) -> frozenset[str]:
        return frozenset(one.run if isinstance(one, UnreadRun) else one.id for one in self.discarded)


def earlier(workspace: Workspace, *, fresh: bool) -> Earlier:
    """By looking. Raises UsageError for an unfinished run that made something and was begun with other
    variables, StateError where its records are damaged."""
    runs = workspace.state.runs()
    resumed: RunRecord | None = None
    discarded: list[RunRecord | UnreadRun] = [one for one in runs.unread if one.is_to_be_discarded]
    said = [_discards(one.run, one.sentence) for one in runs.unread if one.is_to_be_discarded]
    said += [_passed_over(workspace, one) for one in runs.unread if not one.is_to_be_discarded]
    if (found := runs.unfinished) is not None:
        if why := _foreign(workspace, found, fresh=fresh):
            discarded.append(found)
            said.append(_discards(found.id, why))
        elif not fresh and _is_over(workspace, found):
            discarded.append(found)
            said.append(
                f"run {found.id} was cut short when its work was done and what it held was released: "
                "that stands, and the job starts over"
            )
        elif fresh or not _is_to_be_resumed(workspace, found):
            discarded.append(found)
        else:
            resumed = found
    return Earlier(resumed, tuple(discarded), tuple(said), _answering(workspace, runs))


def _answering(workspace: Workspace, runs: Runs) -> RunRecord | None:
    placed = workspace.options.placed
    if placed is None or not placed.order:
        return None
    return next(
        (run for run in runs.known if run.order == placed.order and run.phase == "finished"),
        None,
    )


def _foreign(workspace: Workspace, record: RunRecord, *, fresh: bool) -> str | None:
    try:
        return foreign(workspace, record)
    except StateError as error:
        if fresh:
            return None
        raise what_releases(workspace, record, error) from error


def discard(workspace: Workspace, found: Earlier) -> None:
    """Raises what could not be released."""
    for one in found.discarded:
        if isinstance(one, UnreadRun):
            abandon_unread(workspace, one)
        else:
            abandon(workspace, one)


def of_unread(workspace: Workspace, runs: Runs) -> list[str]:
    """A sentence for each run that cannot be read, for commands that leave it as it is."""
    return [
        of_foreign(workspace, one.run, one.sentence)
        if one.is_to_be_discarded
        else _passed_over(workspace, one)
        for one in runs.unread
    ]


def what_releases(workspace: Workspace, record: RunRecord, error: StateError) -> StateError:
    """`error`, of a run with a record that is damaged, with what can be done all the same."""
    run = record.id
    return StateError(
        f"{error}; `{_abandon(workspace, run)}` releases what that run holds, which has {run} in its name, "
        "and the job starts over"
    )


def of_foreign(workspace: Workspace, run: str, why: str) -> str:
    return (
        f"run {run} was started by another version of sendense and cannot be resumed ({why}): the next run "
        f"discards it, or `{_abandon(workspace, run)}` does"
    )


def _abandon(workspace: Workspace, run: str) -> str:
    return f"{workspace.options.command('sweep', workspace.job.file)} --abandon {run}"


def _passed_over(workspace: Workspace, one: UnreadRun) -> str:
    if one.unfinished is False:
        return f"run {one.run} has finished and is ignored: {one.sentence}"
    return (
        f"run {one.run} is ignored: {one.sentence}; if it is unfinished, what it holds has {one.run} in "
        f"its name, and `{_abandon(workspace, one.run)}` releases it"
    )


def _discards(run: str, why: str) -> str:
    return (
        f"the unfinished run {run} was started by another version of sendense and cannot be resumed "
        f"({why}): it is discarded, all it holds is released, and the job starts over"
    )


def _is_over(workspace: Workspace, record: RunRecord) -> bool:
    """Whether it was killed in a step that comes after its cleanup, such as a drill: resuming it would cost
    the job's next run: a backup, for the sake of a look at the last one. A run whose cleanup failed is not
    over: it still holds something."""
    if record.phase != "unwinding":
        return False
    at_end = {spec.id: spec for spec in workspace.job.steps if spec.when == AT_END}
    known = workspace.state.open(record.id).nodes().values()
    done = {node.step_id for node in known if node.state == "done"}
    begun = [at_end[node.step_id] for node in known if node.step_id in at_end]
    befores = [at_end.keys() & {*spec.needs, *step_references(spec)} for spec in begun]
    return any(before and before <= done for before in befores)


def _is_to_be_resumed(workspace: Workspace, record: RunRecord) -> bool:
    """False if nothing is lost by starting over: it was started with other variables and has changed
    nothing."""
    named = {*record.given, *workspace.job.given}
    differing = sorted(name for name in named if record.vars.get(name) != workspace.job.vars.get(name))
    if not differing:
        return True
    if not workspace.recorded(record).has_acted():
        return False
    raise UsageError(
        f"run {record.id} of {record.job} is unfinished and was started with other vars "
        f"({', '.join(differing)}); use the same vars to resume it, or --fresh to discard it"
    )
