"""Which VM a job without `select:` backs up: as a run of it decides (`steps.vm.which_vm`), told from a
census and from the points that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.step.items import Census, Item
from steps.coverage.protection import Protection


@dataclass(frozen=True)
class Meant:
    item: Item | None
    why_not: str = ""
    """Why it is none, in a sentence without the job's name."""


@dataclass
class Names:
    """The VMs of one census by all that a job may call one."""

    vcenter: str
    """The job's name of the vCenter."""
    census: Census
    protections: Sequence[Protection] = ()
    """Of this vCenter's VMs."""
    _by_name: dict[str, list[Item]] = field(default_factory=dict)
    _own: dict[str, list[Protection]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in self.census.everything:
            for name in {item.id.lower(), item.path, item.name, *_also(item.facts)}:
                self._by_name.setdefault(name, []).append(item)
        for one in self.protections:
            self._own.setdefault(one.job, []).append(one)

    def meant(self, job: str, wanted: str) -> Meant:
        """By a job of that name that calls its VM `wanted`."""
        found = self._called(wanted)
        known = {item.id.lower(): item for item in self.census.everything} if self._own.get(job) else {}
        before = [one for one in self._own.get(job, ()) if is_meant(one, wanted)]
        # A job continues with the VM that it backed up last, whatever that is called now.
        for one in sorted(before, key=lambda one: one.when_published, reverse=True)[:1]:
            if (item := known.get(one.instance_uuid.lower())) is not None:
                return Meant(item)
        if len(found) > 1:
            backed = {one.instance_uuid.lower() for one in self.protections if is_meant(one, wanted)}
            found = [item for item in found if item.id.lower() in backed] or found
        match found:
            case [item]:
                return Meant(item)
            case []:
                return Meant(None, f"there is no VM {wanted!r} in vCenter {self.vcenter}")
        paths = ", ".join(item.path for item in found)
        return Meant(None, f"{wanted!r} matches {len(found)} VMs in vCenter {self.vcenter}: {paths}")

    def _called(self, wanted: str) -> list[Item]:
        found = self._by_name.get(wanted.strip("/"), [])
        # A uuid is the VM's, whatever another one is called; elsewhere a name may be several VMs'.
        by_id = self._by_name.get(wanted.lower(), [])
        exact = [item for item in by_id if item.id.lower() == wanted.lower()]
        return exact or found or by_id


def _also(facts: Mapping[str, str]) -> Iterable[str]:
    """What else names a VM: its moref, and its BIOS uuid, which clones may share."""
    return (facts[name].lower() for name in ("moref", "bios") if facts.get(name))


def is_meant(one: Protection, wanted: str) -> bool:
    """Whether a job that calls its VM `wanted` meant it when it made the newest point."""
    return one.asked == wanted if one.asked else wanted.strip("/") in (one.name, one.inventory_path)
