"""Each VM of each vCenter judged: backed up or not, and how old its newest good restore point is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runner.job.model import Excuse
from runner.step.items import Census, Item
from steps.coverage import copied
from steps.coverage.copied import Copied
from steps.coverage.document import Coverage, Gone, State, VmCoverage
from steps.coverage.elsewhere import Elsewhere
from steps.coverage.of_vm import NamedVm, age, coverage, newer, why_none
from steps.coverage.protection import Protection, Protections
from steps.values.copy_rule import CopyRule

TEMPLATE = "template"
"""Why no job can take one, as a census says it."""


NAMED = 5
"""VMs in a note."""


@dataclass(frozen=True)
class Taking:
    """One job takes one VM."""

    job: str
    rpo: float | None
    repositories: tuple[str, ...]
    """The names under which they were read."""
    copies: tuple[tuple[CopyRule, str], ...] = ()
    """When it copies, and the name under which that repository was read."""


@dataclass
class VCenterSeen:
    """One vCenter with what jobs take of it."""

    name: str
    census: Census
    taken: dict[str, list[Taking]] = field(default_factory=dict)
    """By the item's id."""
    unsure: dict[str, str] = field(default_factory=dict)
    """By the item's id: why nobody can tell whether a job takes it."""


@dataclass(frozen=True)
class Seen:
    """All that was looked at."""

    vcenters: Sequence[VCenterSeen]
    protections: Protections
    unread: tuple[str, ...] = ()
    """What could not be read, in sentences: then nothing is called covered as a whole."""
    vcenters_unread: bool = False
    """Whether a vCenter is among them: it is unknown then which VMs are gone."""
    jobs_unread: bool = False
    """Whether a job file is: it is unknown then what is in no job."""
    notes: tuple[str, ...] = ()
    copied: tuple[Copied, ...] = ()
    """Jobs that only copy."""


def judge(seen: Seen, excuses: Sequence[Excuse], site: str, at: datetime) -> Coverage:
    by_uuid = seen.protections.by_uuid()
    found: list[VmCoverage] = []
    excused = _Excused(excuses)
    matched: set[int] = set()
    for vcenter in seen.vcenters:
        why = excused.why(vcenter)
        judged = _Judge(vcenter, seen.protections.unread, seen.jobs_unread, at, seen.copied)
        for item in vcenter.census.everything:
            own = [one for one in by_uuid.get(item.id.lower(), ()) if one.is_of(vcenter.census.key, item.id)]
            matched.update(map(id, own))
            found.append(judged.vm(item, own, why.get(item.id)))
    known = {vcenter.census.key.lower() for vcenter in seen.vcenters}
    left = [one for one in seen.protections.all if id(one) not in matched]
    if not seen.vcenters_unread:
        elsewhere = Elsewhere(seen.copied, seen.protections.unread, at)
        found += elsewhere.judged(one for one in left if one.vcenter_uuid.lower() not in known)
        left = [one for one in left if not elsewhere.has_judged(one)]
    return Coverage(
        site=site,
        at=at,
        vms=tuple(sorted(found, key=lambda one: one.rank)),
        gone=tuple(_gone(one, known, unsure=seen.vcenters_unread) for one in _newest_first(left)),
        unread=seen.unread,
        notes=tuple(dict.fromkeys((*seen.notes, *_twice(found), *_not_passed(found), *excused.notes()))),
        free=dict(seen.protections.free),
    )


def _twice(found: Sequence[VmCoverage]) -> Iterator[str]:
    """VMs that several jobs back up: each costs a snapshot and a copy."""
    several: dict[tuple[str, ...], list[str]] = {}
    for one in found:
        if len(one.jobs) > 1:
            several.setdefault(one.jobs, []).append(one.vm)
    for jobs, vms in several.items():
        yield f"in {len(jobs)} jobs at once, {' and '.join(jobs)}: {_named(vms)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


class _Excused:
    """What `unprotected:` says of all vCenters, and what is odd about it."""

    def __init__(self, excuses: Sequence[Excuse]) -> None:
        self._excuses = excuses
        self._asked: set[int] = set()
        """Indices of those that are about a vCenter that was looked at."""
        self._used: set[int] = set()
        self._both: dict[int, list[str]] = {}
        """By index: paths of VMs that a job takes all the same."""

    def why(self, vcenter: VCenterSeen) -> dict[str, str]:
        """Why which VMs need no job, by id."""
        found: dict[str, str] = {}
        for index, excuse in enumerate(self._excuses):
            if excuse.entry != vcenter.name:
                continue
            self._asked.add(index)
            for item in excused_by(vcenter, excuse):
                self._used.add(index)
                found.setdefault(item.id, excuse.reason)
                if item.id in vcenter.taken:
                    self._both.setdefault(index, []).append(item.path)
        return found

    def notes(self) -> Iterator[str]:
        for index, excuse in enumerate(self._excuses):
            rules = "; ".join(map(str, excuse.where.any))
            if both := self._both.get(index):
                yield f"unprotected: {rules} excuses what is backed up all the same: {_named(both)}"
            if index in self._asked - self._used:
                yield f"unprotected: {rules} fits no VM: correct it, or take it out"


def excused_by(vcenter: VCenterSeen, excuse: Excuse) -> Iterator[Item]:
    """Also those that no job can take; none of another vCenter."""
    if excuse.entry == vcenter.name:
        items = vcenter.census.select(excuse.where)
        yield from items.chosen
        yield from (one.item for one in items.left_out if not one.by_rule)


@dataclass(frozen=True)
class _Judge:
    """Of the VMs of one vCenter."""

    vcenter: VCenterSeen
    unread: Mapping[str, str]
    jobs_unread: bool
    at: datetime
    copied: Sequence[Copied] = ()

    def vm(self, item: Item, own: Sequence[Protection], excuse: str | None) -> VmCoverage:
        taken = self.vcenter.taken.get(item.id, [])
        rpo = min((one.rpo for one in taken if one.rpo is not None), default=None)
        state, why = self._state(item, own, taken, age(own, self.at), rpo, excuse)
        named = NamedVm(
            item.name, item.path, item.id, self.vcenter.name, tuple(one.job for one in taken), rpo
        )
        return coverage(named, own, state, why, self.at)

    def _state(
        self,
        item: Item,
        own: Sequence[Protection],
        taken: Sequence[Taking],
        age: float | None,
        rpo: float | None,
        excuse: str | None,
    ) -> tuple[State, str]:
        if not taken and excuse is not None:
            return "excused", excuse
        if (why := self.vcenter.census.unworkable.get(item.id)) is not None:
            if why == TEMPLATE:
                return "template", "a template is not backed up"
            return "unworkable", f"cannot be backed up: {why}"
        if not taken and item.id in self.vcenter.unsure:
            return "unknown", self.vcenter.unsure[item.id]
        if not taken and self.jobs_unread:
            return "unknown", "in no job that could be read" + _kept(own)
        if not taken:
            return "uncovered", "in no job" + _kept(own)
        if age is not None and (rpo is None or age <= rpo):
            rules = (copy for one in taken for copy in one.copies)
            jobs = (job for job in self.copied if any(map(job.is_for, own)))
            overdue = next(copied.overdue(own, rules, jobs, self.unread, self.at), "")
            return ("no-copy", overdue) if overdue else ("good", "")
        # What is there may be in the repository that could not be read.
        if missing := [name for one in taken for name in one.repositories if name in self.unread]:
            return "unknown", f"repository {missing[0]} could not be read"
        if age is None:
            return "no-point", why_none(own)
        return "too-old", "too old" + newer(own)


def _not_passed(found: Sequence[VmCoverage]) -> Iterator[str]:
    """VMs whose newest drill is to be looked at: a VM is covered all the same, and listed with those that
    are."""
    for verdict, said in (
        ("failed", "the newest drill failed"),
        ("undecided", "the newest drill is undecided"),
    ):
        if vms := [one.vm for one in found if one.drilled is not None and one.drilled.verdict == verdict]:
            yield f"{said}: {_named(vms)}"


def _kept(own: Sequence[Protection]) -> str:
    points = sum(one.points for one in own)
    return f", though there {'is a point' if points == 1 else f'are {points} points'} of it" if points else ""


def _newest_first(protections: Iterable[Protection]) -> list[Protection]:
    return sorted(
        protections,
        key=lambda one: (-(one.published.timestamp() if one.published else 0.0), one.directory),
    )


def _gone(one: Protection, known: set[str], *, unsure: bool) -> Gone:
    if one.vcenter_uuid.lower() in known:
        why = "no longer in its vCenter"
    elif unsure or not one.vcenter_uuid:
        why = "not in the vCenters that could be read"
    else:
        why = f"of a vCenter that the site does not name ({one.vcenter_uuid})"
    return Gone(
        vm=one.name,
        path=one.inventory_path,
        id=one.instance_uuid,
        repository=one.repository,
        points=one.points,
        newest=one.published,
        why=why,
    )
