"""What became of witnessed points: whether a repository holds what was witnessed of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from runner.base.model import Model
from steps.repository import layout
from steps.repository.history import Entry as Point
from steps.repository.vm_directory import VmDirectory
from steps.trail import witness
from steps.trail.entry import Entry
from steps.trail.reading import Trail
from steps.trail.witness import Witnessed

State = Literal["same", "changed", "gone", "deleted", "unread", "not witnessed", "older"]

SAID: Mapping[State, str] = {
    "same": "as it was witnessed",
    "changed": "not what was witnessed: its manifest says something else of it",
    "gone": "gone, and the log does not say who deleted it",
    "unread": "there, and cannot be read",
    "not witnessed": "not in the witness file, though it was published after the first that is; a run that "
    "still works writes there at its end",
    "older": "published before the first that was witnessed",
}
"""What is said of a point; of a deleted one the log says more."""

ALARMS: frozenset[State] = frozenset({"changed", "gone", "unread", "not witnessed"})


_ADDS = ("publish", "copy")
_REMOVES = ("prune", "unpublish")


class Finding(Model):
    vm: str
    """The name of the VM's directory"""
    point: str
    state: State
    why: str
    """In words"""

    @property
    def alarms(self) -> bool:
        return self.state in ALARMS


def compare(
    repository: str, vms: Mapping[str, VmDirectory], witnessed: Sequence[Witnessed], trail: Trail
) -> Iterator[Finding]:
    """Of the repository with the uuid `repository`, by VM and point. What was witnessed of a point in another
    one holds for the point of that name here, whatever its manifest says of where it was copied from."""
    there = {(vm.name, entry.point): entry for vm in vms.values() for entry in vm.entries}
    unread = {(vm.name, point) for vm in vms.values() for point in vm.unread_points}
    unread |= {(one.vm, one.point) for one in witnessed if _all_in_doubt(vms.get(one.vm))}
    deleted = {
        (entry.vm, point): entry for entry in trail.entries if _removes(entry) for point in entry.points
    }
    lines: dict[tuple[str, str], list[Witnessed]] = {}
    for one in witnessed:
        key = (one.vm, one.point)
        if one.repository == repository or key in there:
            lines.setdefault(key, []).append(one)
    first = min((one.published for found in lines.values() for one in found), default=None)
    later = _after_the_first(vms.values(), lines)
    for key in sorted(lines.keys() | there.keys()):
        vm, point = key
        if key not in lines:
            since = key in later or (first is not None and there[key].manifest.published >= first)
            state: State = "not witnessed" if since else "older"
        else:
            state = _state(there.get(key), lines[key], unread=key in unread, deleted=key in deleted)
        why = _deleted(deleted[key]) if state == "deleted" else SAID[state]
        yield Finding(vm=vm, point=point, state=state, why=why)


def has_none(repository: str, vms: Iterable[VmDirectory], witnessed: Sequence[Witnessed]) -> bool:
    """Whether no line is of that repository, nor of an original of what are copies here: then it is not
    known what is gone from it."""
    if any(one.repository == repository for one in witnessed):
        return False
    lines = {(one.vm, one.point) for one in witnessed}
    there = [entry.manifest for vm in vms for entry in vm.entries if (vm.name, entry.point) in lines]
    return not there or any(made.copied is None for made in there)


def of_log(repository: str, witnessed: Iterable[Witnessed], trail: Trail) -> list[str]:
    """What is wrong with the log, by its own chain and by what was witnessed of it; in sentences without a
    full stop."""
    heads = {
        one.log.seq: one.log for one in witnessed if one.repository == repository and one.log is not None
    }
    lacks = [(seq, why) for seq in sorted(heads) if (why := trail.lacks(heads[seq])) is not None]
    # Of thousands of witnessed entries the first that differs, and the last that is past the end, say it all.
    within = [why for seq, why in lacks if seq <= trail.head.seq]
    beyond = [why for seq, why in lacks if seq > trail.head.seq]
    return list(dict.fromkeys([*trail.problems, *within[:1], *beyond[-1:]]))


def _state(there: Point | None, lines: Sequence[Witnessed], *, unread: bool, deleted: bool) -> State:
    if there is not None:
        found = witness.digest(there.manifest)
        return "same" if all(one.digest == found for one in lines) else "changed"
    return "unread" if unread else "deleted" if deleted else "gone"


def _all_in_doubt(vm: VmDirectory | None) -> bool:
    return vm is not None and any(one.point is None for one in vm.unread)


def _removes(entry: Entry) -> bool:
    return entry.act in _REMOVES


def _deleted(by: Entry) -> str:
    text = f" ({by.text})" if by.text else ""
    return f"deleted by {by.account} on {by.host} at {by.at:%Y-%m-%d %H:%M} UTC{text}"


def of_points(vms: Collection[VmDirectory], trail: Trail) -> list[str]:
    """What the log does not know of the points that are there: of one that is gone, who deleted it; of one
    that is newer than the first whose making it knows, or made since there are logs, who made it. Sentences
    without a full stop."""
    made: dict[tuple[str, str], str] = {}
    added = {(entry.vm, point) for entry in trail.entries if entry.act in _ADDS for point in entry.points}
    for entry in trail.entries:
        state = "there" if entry.act in _ADDS else "gone" if _removes(entry) else ""
        made.update(((entry.vm, point), state) for point in entry.points if state)
    there: dict[tuple[str, str], Point | None] = {}
    for vm in vms:
        there.update(((vm.name, point), None) for point in vm.unread_points if layout.is_point(point))
        there.update(((vm.name, point.point), point) for point in vm.entries)
        if _all_in_doubt(vm):
            there.update((key, there.get(key)) for key in made if key[0] == vm.name)
    # Not what is only known as deleted: that may be from before there was a log.
    first = min((point for _, point in added), default=None)
    later = _after_the_first(vms, added)
    found = [
        f"{vm}/{point} is gone, and the log does not say who deleted it"
        for (vm, point), state in sorted(made.items())
        if state == "there" and (vm, point) not in there
    ]
    return found + [
        f"{vm}/{point} is there, and the log does not say who made it"
        for vm, point in sorted(there.keys() - made.keys())
        if (vm, point) in later or _is_since_logs(there[vm, point]) or (first is not None and point > first)
    ]


def _after_the_first(vms: Iterable[VmDirectory], known: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Points from the first of their VM on that is `known`. A forged one may give itself any name and date;
    to be taken for the newest, and be restored or built on, it must come after the others."""
    found: set[tuple[str, str]] = set()
    for vm in vms:
        keys = [(vm.name, entry.point) for entry in vm.entries]
        found.update(keys[next((at for at, key in enumerate(keys) if key in known), len(keys)) :])
    return found


def _is_since_logs(point: Point | None) -> bool:
    # What makes a log also says the digests of a VM's saved files.
    return point is not None and bool(point.manifest.saved)
