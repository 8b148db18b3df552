"""Which restore points another repository has no copy of. Only those that are newer than the newest copy
there are missing: what the retention there deleted does not come again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from runner.base.errors import UsageError
from runner.base.model import Model
from steps.copies import size
from steps.repository.history import Entry
from steps.repository.manifest import Manifest
from steps.repository.vm_directory import VmDirectory
from steps.values.copy_form import CopyForm


class VmCopies(Model):
    name: str
    """The name of the VM's directory, in both repositories"""
    vm: str
    """The VM's name"""
    points: tuple[str, ...]
    """Names of those that are to be copied, the oldest first"""
    least: int = 0
    """Bytes that the copies take in any case, as far as the manifests tell"""
    most: int = 0
    """The most that they may take"""


class NotOnlyCopiesError(UsageError):
    def __init__(self, repository: str, path: str) -> None:
        super().__init__(
            f"repository {repository} has {path}, which is no copy: one that backups write into takes no "
            "copies; make another one with `sendense init`"
        )


class NotGoodError(UsageError):
    def __init__(self, vm: str, point: str, why: str) -> None:
        super().__init__(f"{vm}/{point} is not copied, since it is not good: {why}")


def refuse_others(repository: str, vms: Iterable[VmDirectory]) -> None:
    """Raises NotOnlyCopiesError where any of these, in the repository that is to have copies, has an
    original."""
    for vm in vms:
        for entry in vm.entries:
            if entry.manifest.copied is None:
                raise NotOnlyCopiesError(repository, entry.path)


def of_vm(vm: VmDirectory, there: VmDirectory, form: CopyForm) -> tuple[VmCopies, tuple[str, ...]]:
    """What is missing of `vm`, and of newer ones that are not good a sentence each, without a full stop.

    A copy that is newer than all points is no measure: else one that somebody added, with a high number,
    would end all copying."""
    last = None if vm.newest is None else _place(vm.newest.manifest)
    places = {one.point: _place(one.manifest) for one in there.entries}
    strange = [
        point
        for point, place in places.items()
        if last is not None and place > last and point not in vm.unread_points
    ]
    newest = max((place for place in places.values() if last is not None and place <= last), default=None)
    newer = [entry for entry in vm.entries if newest is None or _place(entry.manifest) > newest]
    newer = [entry for entry in newer if entry.point not in there.unread_points]
    good = [entry for entry in newer if vm.chains.good(entry)]
    left = tuple(
        f"{vm.vm_name}/{entry.point} is not copied, since it is not good: {why}"
        for entry in newer
        if (why := vm.chains.why_not_good(entry)) is not None
    )
    return _copies(vm, there, good, form), (
        *left,
        *(
            f"{vm.vm_name}/{point} is a copy of a point that is newer than all there are: somebody deleted "
            "that, or it was forged; see `sendense verify --witness`"
            for point in strange
        ),
        *(one.sentence for one in there.unread),
    )


def of_point(vm: VmDirectory, there: VmDirectory, point: str, form: CopyForm) -> VmCopies:
    """The one that somebody named, if it is not there yet. Raises NotGoodError."""
    entry = vm.chains.by_name.get(point)
    why = "it cannot be read" if entry is None else vm.chains.why_not_good(entry)
    if entry is None or why is not None:
        raise NotGoodError(vm.vm_name, point, why or "")
    missing = () if point in {*there.chains.by_name, *there.unread_points} else (entry,)
    return _copies(vm, there, missing, form)


def _copies(vm: VmDirectory, there: VmDirectory, points: Sequence[Entry], form: CopyForm) -> VmCopies:
    bounds = size.of_points(vm, there, points, form)
    names = tuple(entry.point for entry in points)
    return VmCopies(name=vm.name, vm=vm.vm_name, points=names, least=bounds.least, most=bounds.most)


def older(there: VmDirectory, made: Manifest) -> list[Entry]:
    """The good copies of older points than the one with that manifest, the newest first: what its own may
    stand on."""
    found = [one for one in there.entries if _place(one.manifest) < _place(made) and there.chains.good(one)]
    return sorted(found, key=lambda one: _place(one.manifest), reverse=True)


def _place(made: Manifest) -> tuple[int, datetime]:
    """As its VM's points are ordered, in whichever repository a copy of it is."""
    return made.sequence or 0, made.published
