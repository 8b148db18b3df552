"""What a repository has of each VM at this moment, by one read of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from runner.hosts.host import Host
from steps.repository import identities, whole
from steps.repository.history import Entry
from steps.repository.manifest import Manifest
from steps.repository.verification_records import Drill, Verdict
from steps.repository.vm_directory import VmDirectory


@dataclass(frozen=True, slots=True)
class GoodPoint:
    """A restore point that can be relied on: see `Chains.good`."""

    point: str
    moment: datetime
    """See `Manifest.moment`."""
    read: int
    """Bytes that were read at the source for it."""
    stored: int
    """Bytes that its images and digests take on disk."""
    seconds: float
    """From the beginning of its run until it was published."""


@dataclass(frozen=True, slots=True)
class NewestDrill:
    point: str
    at: datetime
    verdict: Verdict
    why: str
    """In a sentence, without a full stop."""


@dataclass(frozen=True, slots=True)
class Protection:
    """One VM's points in one repository."""

    name: str
    """The VM's, as its newest point has it."""
    inventory_path: str
    vcenter_uuid: str
    """Empty where no point of it can be read."""
    instance_uuid: str
    repository: str
    """Its name, for people."""
    directory: str
    """Absolute."""
    points: int
    newest_good: GoodPoint | None
    why_not: str = ""
    """Why its newest point is not good; empty where it is, or where there is none."""
    verified: datetime | None = None
    """When blocks of a point of it were last read at rest, and all matched their digests."""
    drill: NewestDrill | None = None
    """Of any of its points; None: none was ever drilled."""
    drill_passed: datetime | None = None
    """When one of its points last passed a drill."""
    drills_unread: tuple[str, ...] = ()
    """Sentences: why it is unknown whether one of its points was drilled."""
    job: str = ""
    """That made its newest point."""
    asked: str = ""
    """What that job called the VM."""
    published: datetime | None = None
    """When its newest point was."""
    oldest: datetime | None = None
    """The moment of its oldest point."""
    copies: bool = False
    """Whether these are copies of another repository's points."""
    unread: tuple[str, ...] = ()
    """Sentences: what may be a point of it, and cannot be read."""
    braked: str | None = None
    """Why nothing of it is deleted as long as its brake is on; empty: it is off; None: nobody has looked."""
    braked_since: str = ""
    """The point that it came on with."""

    @property
    def when_published(self) -> float:
        """POSIX time; 0 where it is unknown."""
        return 0.0 if self.published is None else self.published.timestamp()

    @property
    def when_good(self) -> float:
        """POSIX time of the newest good point; 0 without one."""
        return 0.0 if self.newest_good is None else self.newest_good.moment.timestamp()

    def is_of(self, vcenter: str, instance: str) -> bool:
        """Whether it is of that VM, by the uuids of both."""
        return identities.is_known(self, _Named(vcenter, instance))


@dataclass(frozen=True, slots=True)
class _Named:
    vcenter_uuid: str
    instance_uuid: str


@dataclass
class Protections:
    """Of all repositories that could be read."""

    all: list[Protection] = field(default_factory=list)
    free: dict[str, int] = field(default_factory=dict)
    """Bytes free, by name of the repository."""
    unread: dict[str, str] = field(default_factory=dict)
    """Why a repository could not be read, by its name."""

    def by_uuid(self) -> Mapping[str, list[Protection]]:
        """By instance uuid in lower case."""
        found: dict[str, list[Protection]] = {}
        for one in self.all:
            found.setdefault(one.instance_uuid.lower(), []).append(one)
        return found


def read(host: Host, root: str, name: str) -> Iterator[Protection]:
    """Of each VM in the repository at `root`, called `name`. Raises NotARepositoryError, UnreadableError,
    CommandError, HostError."""
    for vm in vms(host, root):
        yield of(vm, name)


def vms(host: Host, root: str) -> Iterator[VmDirectory]:
    """Those of which the repository at `root` has something. Raises as `read`."""
    found = whole.take(host, root)
    # One VM's points after the other: as models those of 10,000 VMs take half a gigabyte.
    for vm in map(found.vm, found.directories()):
        if vm.entries or vm.unread:
            yield vm


def of(vm: VmDirectory, repository: str) -> Protection:
    known, newest, good = vm.known, vm.newest, vm.chains.newest_good
    made = None if newest is None else newest.manifest
    return Protection(
        name=vm.vm_name,
        inventory_path="" if known is None else known.inventory_path,
        vcenter_uuid="" if known is None else known.vcenter_uuid,
        instance_uuid=vm.uuid if known is None else known.instance_uuid,
        repository=repository,
        directory=vm.path,
        points=len(vm.entries),
        newest_good=None if good is None else _good(vm, good),
        why_not="" if newest is None else vm.chains.why_not_good(newest) or "",
        verified=_verified(vm.entries),
        drill=_newest_drill(vm.entries),
        drill_passed=max(filter(None, (drill.passed_at for _, drill in _drills(vm.entries))), default=None),
        drills_unread=tuple(
            f"of {entry.point}, {entry.marks.drilled_unread}"
            for entry in vm.entries
            if entry.marks.drilled_unread
        ),
        job="" if made is None else made.job,
        asked="" if made is None else made.vm.asked,
        published=None if made is None else made.published,
        oldest=vm.entries[0].moment if vm.entries else None,
        copies=made is not None and made.copied is not None,
        unread=tuple(one.sentence for one in vm.unread),
    )


def _good(vm: VmDirectory, entry: Entry) -> GoodPoint:
    made = entry.manifest
    return GoodPoint(
        point=entry.point,
        moment=entry.moment,
        read=sum(disk.read or _whole(made, disk.key) for disk in made.disks),
        stored=vm.stored_in(entry.path),
        seconds=max(0.0, (made.published - made.begun).total_seconds()),
    )


def _whole(made: Manifest, key: int) -> int:
    """Of a disk of a point from before it was noted what was read."""
    disk = made.disk(key)
    return 0 if disk is None or disk.parent is not None else disk.data


def _verified(entries: Iterable[Entry]) -> datetime | None:
    marks = (entry.marks.verified for entry in entries)
    read = (one for one in marks if one is not None and one.level != "metadata")
    return max((one.at for one in read if one.passed), default=None)


def _newest_drill(entries: Iterable[Entry]) -> NewestDrill | None:
    found = max(_drills(entries), key=lambda one: one[1].at, default=None)
    if found is None:
        return None
    point, drill = found
    return NewestDrill(point, drill.at, drill.verdict, drill.why)


def _drills(entries: Iterable[Entry]) -> Iterator[tuple[str, Drill]]:
    """With the names of the points."""
    for entry in entries:
        if entry.marks.drilled is not None:
            yield entry.point, entry.marks.drilled
