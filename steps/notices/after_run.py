"""At a run's or a set's end: what is new is told, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from runner.app.afterwards import After, Ended
from runner.base.errors import SendenseError
from steps.coverage.of_job import protections
from steps.coverage.protection import NewestDrill, Protection
from steps.coverage.view import span
from steps.notices.record import Record
from steps.notices.sending import Delivery, send
from steps.notices.told import Standing, news
from steps.notices.wording import notice

SILENT = ("interrupted", "locked", "not-reached", "unfinished")
"""Ends that say nothing of a VM: somebody stopped it, or another run works on it. How old its newest good
point is, is told all the same."""
DRILL = "drill-new-point"
"""The step of a backup that drills what it made: its failure is a warning of the run, and told here by what
is recorded with the VM's points."""
BACKUP = "publish"
"""The step of a job that makes points, which may put a VM's brake on."""


def after_run(after: After) -> None:
    """Raises SendenseError where nobody could be told, or where that cannot be remembered."""
    notify = after.job.notify
    assert notify is not None
    now = datetime.now(UTC)
    record = Record(after.places, after.ctx.warn)
    before = record.read()
    found = list(standings(after, now))
    # A set that could not select says nothing of its VMs, not even which they are.
    complete = after.job.select is None or any(one.item for one in after.ended)
    lines, then = news(before, found, now, complete=complete)
    if lines:
        of = sum(1 for one in after.ended if one.item) or None
        delivered = send(notice(after.job.name, lines, of=of, look=after.look), notify.to)
        _warn(after, delivered)
        # What one of them took was told: that one must not hear the same each night.
        if all(one.why_not for one in delivered):
            return
    if then != before:
        record.write(then)


def standings(after: After, now: datetime) -> Iterator[Standing]:
    rpo, uses = after.job.rpo, {spec.uses for spec in after.job.steps}
    drills = DRILL in uses
    known = _protections(after) if rpo is not None or uses & {DRILL, BACKUP} else {}
    for one in after.ended:
        found = known.get(one.item)
        drill = found.drill if drills and found is not None else None
        yield Standing(
            one.item,
            one.name or after.job.name,
            _failure(one),
            too_old=None if rpo is None or one.item not in known else _age(found, rpo, now),
            drill=None if drill is None or found is None else _drill(drill, unread=bool(found.drills_unread)),
            drill_failed=drill is not None and drill.verdict == "failed",
            braked=None if found is None else found.braked,
            braked_since="" if found is None else found.braked_since,
        )


def _failure(one: Ended) -> str | None:
    if one.outcome in SILENT:
        return None
    return "" if one.outcome == "done" else one.error or one.outcome


def _protections(after: After) -> Mapping[str, Protection | None]:
    """By subject, as `protections`. Of a repository that cannot be read nothing is known, and that is warned
    of."""
    try:
        return protections(after.ctx, after.job, [one.item for one in after.ended])
    except SendenseError as error:
        after.ctx.warn(f"what restore points there are is unknown: {error.message}")
        return {}


def _drill(newest: NewestDrill, *, unread: bool) -> str | None:
    """`unread`: there is another record, which may be newer: a failure is one all the same."""
    if newest.verdict == "passed":
        return None if unread else ""
    what = "does not boot" if newest.verdict == "failed" else "is not known to boot"
    return f"{newest.point} {what}: {newest.why}"


def _age(one: Protection | None, rpo: float, now: datetime) -> str:
    if one is None or one.newest_good is None:
        return f"there is no good restore point, and its rpo is {span(rpo)}"
    age = (now - one.newest_good.moment).total_seconds()
    return "" if age <= rpo else f"its newest good point is {span(age)} old, and its rpo is {span(rpo)}"


def _warn(after: After, delivered: list[Delivery]) -> None:
    for one in delivered:
        if one.why_not:
            after.ctx.warn(f"the notice to {one.to} was not sent: {one.why_not}")
