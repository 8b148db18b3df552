"""Whether most VMs of a set changed far more than they do otherwise, at once: what encrypts them need not
change much of any. Pure: by the log of the repository, which says so of each publication."""

from __future__ import annotations

from collections.abc import Iterable

from steps.repository.manifest import SetNight
from steps.repository.section import BrakeLimits
from steps.trail.publications import Publication

LEAST_VMS = 4
"""With fewer, two of them would be most."""


def name_of(job: str) -> str:
    """Of the set whose child has that name (see `runner.job.children`); empty: it is no child."""
    return job.rpartition("/")[0]


def night(
    name: str, before: Iterable[Publication], vm: str, limits: BrakeLimits, *, unusual: bool
) -> SetNight | None:
    """For a point of `vm` that is to be published. `before`: of the set, oldest first.

    It asks for any moment since the VM's last publication: the first VMs of a night are published before the
    others are known, and learn of it in the next one. What somebody has looked at no longer counts."""
    entries = list(before)
    newest: dict[str, bool] = {}
    since = max((number for number, one in enumerate(entries, 1) if one.vm == vm), default=len(entries))
    for number, one in enumerate(entries):
        if one.said != "released" or one.vm in newest:
            newest[one.vm] = one.said == "unusual"
        # Only who changed much makes it most: a release or a quiet night leaves it so for a while.
        if number >= since and one.said == "unusual" and (found := _most(name, newest, limits)):
            return found
    newest[vm] = unusual
    return _most(name, newest, limits) if unusual else None


def _most(name: str, newest: dict[str, bool], limits: BrakeLimits) -> SetNight | None:
    count = sum(newest.values())
    if len(newest) < LEAST_VMS or count <= limits.set_share * len(newest):
        return None
    return SetNight(set=name, unusual=count, of=len(newest))
