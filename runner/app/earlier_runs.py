"""What is to be said of a job's earlier runs, and done about them, before another one begins."""

from __future__ import annotations

from dataclasses import dataclass

from runner.app.release import foreign, give_up, give_up_unread
from runner.app.workspace import Desk
from runner.base.errors import StateError, UsageError
from runner.engine.checkpoint import RunRecord, Runs
from runner.engine.unread import UnreadRun

EARLIER = "earlier runs"
"""What a warning is about, in words, where it is no node."""


@dataclass(frozen=True)
class Earlier:
    """`resumed`: the unfinished run that is resumed; `discarded`: those that are given up, since nobody wants
    to or can resume them; `said`: sentences."""

    resumed: RunRecord | None
    discarded: tuple[RunRecord | UnreadRun, ...]
    said: tuple[str, ...]

    @property
    def discarded_ids(self) -> frozenset[str]:
        return frozenset(one.run if isinstance(one, UnreadRun) else one.id for one in self.discarded)


def earlier(desk: Desk, *, fresh: bool) -> Earlier:
    """By looking. Raises UsageError for an unfinished run that made something and was begun with other
    variables, StateError where its records are damaged."""
    runs = desk.state.runs()
    resumed: RunRecord | None = None
    discarded: list[RunRecord | UnreadRun] = [one for one in runs.unread if one.is_to_be_discarded]
    said = [_discards(one.run, one.sentence) for one in runs.unread if one.is_to_be_discarded]
    said += [_passed_over(desk, one) for one in runs.unread if not one.is_to_be_discarded]
    if (found := runs.unfinished) is not None:
        if why := _foreign(desk, found, fresh=fresh):
            discarded.append(found)
            said.append(_discards(found.id, why))
        elif fresh or not _is_to_be_resumed(desk, found):
            discarded.append(found)
        else:
            resumed = found
    return Earlier(resumed, tuple(discarded), tuple(said))


def _foreign(desk: Desk, record: RunRecord, *, fresh: bool) -> str | None:
    try:
        return foreign(desk, record)
    except StateError as error:
        if fresh:
            return None
        raise what_releases(desk, record, error) from error


def discard(desk: Desk, found: Earlier) -> None:
    """Raises what a run cannot let go of."""
    for one in found.discarded:
        if isinstance(one, UnreadRun):
            give_up_unread(desk, one)
        else:
            give_up(desk, one)


def of_unread(desk: Desk, runs: Runs) -> list[str]:
    """Of each run that cannot be read: for who leaves it as it is."""
    return [
        of_foreign(desk, one.run, one.sentence) if one.is_to_be_discarded else _passed_over(desk, one)
        for one in runs.unread
    ]


def what_releases(desk: Desk, record: RunRecord, error: StateError) -> StateError:
    """`error`, of a run with a record that is damaged, with what can be done all the same."""
    run = record.id
    return StateError(
        f"{error}; `{_abandon(desk, run)}` releases what that run holds, which has {run} in its name, and "
        "the job starts over"
    )


def of_foreign(desk: Desk, run: str, why: str) -> str:
    return (
        f"run {run} was begun by another version of sendense and cannot be resumed ({why}): the next run "
        f"discards it, and so does `{_abandon(desk, run)}`"
    )


def _abandon(desk: Desk, run: str) -> str:
    return f"{desk.options.command('sweep', desk.job.file)} --abandon {run}"


def _passed_over(desk: Desk, one: UnreadRun) -> str:
    if one.unfinished is False:
        return f"run {one.run}, which has ended, is passed over: {one.sentence}"
    return (
        f"run {one.run} is passed over: {one.sentence}; if it is unfinished, what it holds has {one.run} in "
        f"its name, and `{_abandon(desk, one.run)}` releases it"
    )


def _discards(run: str, why: str) -> str:
    return (
        f"the unfinished run {run} was begun by another version of sendense and cannot be resumed ({why}): "
        "it is discarded, with all that it holds, and the job starts over"
    )


def _is_to_be_resumed(desk: Desk, record: RunRecord) -> bool:
    """False if nothing is lost by starting over: it was begun with other variables and has only looked."""
    named = {*record.given, *desk.job.given}
    differing = sorted(name for name in named if record.vars.get(name) != desk.job.vars.get(name))
    if not differing:
        return True
    if not desk.has_acted(record):
        return False
    raise UsageError(
        f"run {record.id} of {record.job} is unfinished and was begun with other vars "
        f"({', '.join(differing)}); run with the same vars to resume it, or with --fresh to discard it"
    )
