"""VMs of vCenters that the site does not name, judged by the jobs that copy their points: on a second host,
which knows no vCenter. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from steps.coverage import copied
from steps.coverage.copied import Copied
from steps.coverage.document import State, VmCoverage
from steps.coverage.of_vm import NamedVm, age, coverage, newer, why_none
from steps.coverage.protection import Protection


class Elsewhere:
    def __init__(self, jobs: Sequence[Copied], unread: Mapping[str, str], at: datetime) -> None:
        self._jobs = jobs
        self._unread = unread
        self._at = at
        self._judged: set[int] = set()

    def judged(self, protections: Iterable[Protection]) -> Iterator[VmCoverage]:
        vms: dict[tuple[str, str], list[Protection]] = {}
        for one in protections:
            vms.setdefault((one.vcenter_uuid.lower(), one.instance_uuid.lower()), []).append(one)
        for own in vms.values():
            if jobs := [job for job in self._jobs if any(map(job.is_for, own))]:
                self._judged.update(map(id, own))
                yield self._vm(own, jobs)

    def has_judged(self, one: Protection) -> bool:
        return id(one) in self._judged

    def _vm(self, own: Sequence[Protection], jobs: Sequence[Copied]) -> VmCoverage:
        rpo = min((one.rpo for one in jobs if one.rpo is not None), default=None)
        state, why = self._state(own, jobs, rpo)
        newest = max(own, key=lambda one: one.when_published)
        names = tuple(one.job for one in jobs)
        named = NamedVm(newest.name, newest.inventory_path, newest.instance_uuid, "", names, rpo)
        return coverage(named, own, state, why, self._at)

    def _state(
        self, own: Sequence[Protection], jobs: Sequence[Copied], rpo: float | None
    ) -> tuple[State, str]:
        for name in (place for job in jobs for place in (job.source, job.to)):
            if name in self._unread:
                return "unknown", f"repository {name} could not be read"
        if (old := age(own, self._at)) is None:
            return "no-point", why_none(own)
        if rpo is not None and old > rpo:
            return "too-old", "too old" + (newer(own) or f": there is no newer one in {jobs[0].source}")
        overdue = next(copied.overdue(own, (), jobs, self._unread, self._at), "")
        return ("no-copy", overdue) if overdue else ("good", "")
