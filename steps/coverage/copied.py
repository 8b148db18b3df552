"""Whether a VM has the copies that it should: those that its backup makes (`copies:`), and those that a job
of their own makes, perhaps on a host that knows no vCenter. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner.base.units import DAY
from steps.coverage.protection import GoodPoint, Protection
from steps.values.copy_rule import CopyRule

BEHIND = 2 * DAY
"""Seconds by which copies may be older than their originals where no `rpo` says: as of `copies:` that are
made after each backup."""


@dataclass(frozen=True)
class Copied:
    """A job copies the points of one repository into another one."""

    job: str
    rpo: float | None
    """Seconds: how far copies may be behind; None: BEHIND."""
    source: str
    """The name under which that repository was read."""
    to: str
    """As `source`."""
    vms: tuple[str, ...] = ()
    """What the job calls them; none: all that have points there."""

    def is_for(self, one: Protection) -> bool:
        """`one` is of either repository."""
        if one.repository not in (self.source, self.to):
            return False
        names = {one.name, one.inventory_path, one.instance_uuid.lower()}
        return not self.vms or any(vm.strip("/") in names or vm.lower() in names for vm in self.vms)

    def overdue(self, own: Sequence[Protection], at: datetime) -> str:
        """Why the copy of that VM is, in words; empty where it is not. One that was never copied has the time
        from its first point on."""
        originals = [one for one in own if one.repository == self.source and one.newest_good is not None]
        if not originals:
            return ""
        allowed = timedelta(seconds=BEHIND if self.rpo is None else self.rpo)
        newest, copied = max(map(_moment, originals)), _newest(own, self.to)
        since = min((one.oldest or newest for one in originals), default=newest)
        if copied is None:
            return _none(self.to) if at - since > allowed else ""
        return _behind(self.to, newest - copied) if newest - copied > allowed else ""


def overdue(
    own: Sequence[Protection],
    rules: Iterable[tuple[CopyRule, str]],
    jobs: Iterable[Copied],
    unread: Container[str],
    at: datetime,
) -> Iterator[str]:
    """Which copies are, of a VM with a good point, in words. `rules`: of its backups, each with the name
    under which that repository was read; `jobs`: those that copy it. Nothing is said of a repository that is
    `unread`."""
    newest = max(_moment(one) for one in own if one.newest_good is not None)
    for rule, place in rules:
        copied = _newest(own, place)
        if place in unread or not rule.is_overdue(copied, newest):
            continue
        yield _none(place) if copied is None else _behind(place, newest - copied)
    for job in jobs:
        if job.source not in unread and job.to not in unread and (why := job.overdue(own, at)):
            yield why


def _newest(own: Iterable[Protection], place: str) -> datetime | None:
    there = (one for one in own if one.repository == place and one.newest_good is not None)
    return max(map(_moment, there), default=None)


def _moment(one: Protection) -> datetime:
    good: GoodPoint | None = one.newest_good
    assert good is not None
    return good.moment


def _none(place: str) -> str:
    return f"copy overdue: there is none in {place}"


def _behind(place: str, behind: timedelta) -> str:
    days = behind.total_seconds() / DAY
    return f"copy overdue: the newest in {place} is {days:.0f} d older than its newest good point"
