"""What is said of one VM, by its points in all repositories. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from steps.coverage.document import State, VmCoverage, VmDrilled
from steps.coverage.protection import GoodPoint, Protection


@dataclass(frozen=True)
class NamedVm:
    """What is to be said of a VM beside its points."""

    name: str
    path: str
    id: str
    vcenter: str
    jobs: tuple[str, ...]
    rpo: float | None


def coverage(vm: NamedVm, own: Sequence[Protection], state: State, why: str, at: datetime) -> VmCoverage:
    best = _best(own)
    good = None if best is None else _moment(best)
    copy = _newest_copy(own)
    return VmCoverage(
        vm=vm.name,
        path=vm.path,
        id=vm.id,
        vcenter=vm.vcenter,
        state=state,
        why=why,
        jobs=vm.jobs,
        rpo=vm.rpo,
        age=age(own, at),
        newest_good=None if good is None else good.moment,
        point=None if good is None else good.point,
        repository=None if best is None else best.repository,
        copied=None if copy is None else _moment(copy).moment,
        copied_to=None if copy is None else copy.repository,
        verified=max((one.verified for one in own if one.verified is not None), default=None),
        drilled=_drilled(own),
        drill_passed=max(filter(None, (one.drill_passed for one in own)), default=None),
        drill_unknown=any(one.drills_unread for one in own),
        notes=tuple(sentence for one in own for sentence in (*one.unread, *one.drills_unread)),
        read=None if good is None else good.read,
        stored=None if good is None else good.stored,
        seconds=None if good is None else good.seconds,
    )


def _best(own: Sequence[Protection]) -> Protection | None:
    """With its newest good point; of two, not the one with copies."""
    good = (one for one in own if one.newest_good is not None)
    return max(good, key=lambda one: (_moment(one).moment, not one.copies), default=None)


def age(own: Sequence[Protection], at: datetime) -> float | None:
    best = _best(own)
    return None if best is None else max(0.0, (at - _moment(best).moment).total_seconds())


def _newest_copy(own: Sequence[Protection]) -> Protection | None:
    copies = (one for one in own if one.copies and one.newest_good is not None)
    return max(copies, key=lambda one: one.when_good, default=None)


def _drilled(own: Sequence[Protection]) -> VmDrilled | None:
    drills = [(one.repository, one.drill) for one in own if one.drill is not None]
    if not drills:
        return None
    repository, drill = max(drills, key=lambda one: one[1].at)
    return VmDrilled(
        verdict=drill.verdict, why=drill.why, at=drill.at, point=drill.point, repository=repository
    )


def _moment(one: Protection) -> GoodPoint:
    assert one.newest_good is not None
    return one.newest_good


def why_none(own: Sequence[Protection]) -> str:
    if why := next((one.why_not for one in own if one.why_not), ""):
        return f"no good restore point: of its newest, {why}"
    if any(one.unread for one in own):
        return "no good restore point that can be read"
    return "no restore point yet"


def newer(own: Sequence[Protection]) -> str:
    why = next((one.why_not for one in own if one.why_not), "")
    return f", and a newer point is not good: {why}" if why else ""
