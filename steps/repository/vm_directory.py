"""A VM's directory in a repository: its points with all that is known of them, what could not be read, and
who the VM is. All else that is asked of a VM's points is a function on this."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from runner.base.errors import StateError
from runner.base.model import Model
from steps.repository import layout
from steps.repository.chains import Chains
from steps.repository.history import Entry
from steps.repository.identities import Adoption, DiskIdentity, Identity
from steps.repository.manifest import LAST_SEQUENCE, Manifest


class Unread(Model):
    """What is there, or may be, and could not be read."""

    path: str
    """Absolute."""
    why: str
    """In words."""
    point: str | None
    """The point or unfinished point that it is in; None: all of the VM's directory is in doubt."""

    @property
    def sentence(self) -> str:
        """Without a full stop."""
        return f"{self.path} cannot be read ({self.why})"

    @property
    def of_locks(self) -> bool:
        """It says only which points are locked: nothing may be deleted, and all points are known."""
        return posixpath.basename(self.path) == layout.LOCKED


@dataclass
class VmDirectory:
    path: str
    """Absolute."""
    adopted: tuple[Adoption, ...] = ()
    """Of other vCenters, oldest first."""
    entries: tuple[Entry, ...] = ()
    """Its points, oldest first."""
    unread: list[Unread] = field(default_factory=list)
    """In order of their paths."""
    unfinished: list[str] = field(default_factory=list)
    """Paths of `.partial` directories."""
    leftovers: bool = False
    """Of a prune that was killed."""
    locked: dict[str, datetime] = field(default_factory=dict)
    """Names of points that nobody but root of the host can change or delete, and until when: what they stand
    on is among them, at least as long."""
    stored: dict[str, int] = field(default_factory=dict)
    """What files that hold something take on disk, by path, bytes."""

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    @property
    def newest(self) -> Entry | None:
        """Of the points that can be read."""
        return self.entries[-1] if self.entries else None

    @property
    def uuid(self) -> str:
        """That in the directory's name, under which it is found whatever the VM was adopted as."""
        return layout.uuid_of_vm_directory(self.name) or ""

    @property
    def uuids(self) -> frozenset[str]:
        """Instance uuids of its VM: that in the directory's name, and those under which it was adopted."""
        return frozenset({self.uuid, *(one.new.instance_uuid.lower() for one in self.adopted)} - {""})

    @property
    def vm_name(self) -> str:
        """As its newest point has it."""
        return layout.slug_of(self.path) if self.newest is None else self.newest.manifest.vm.name

    @property
    def known(self) -> Identity | None:
        """What its VM is called in vSphere as far as is known here: as it was adopted last, else as in its
        newest point."""
        if self.adopted:
            return self.adopted[-1].new
        return None if self.newest is None else identity_of(self.newest.manifest)

    @cached_property
    def chains(self) -> Chains:
        return Chains(self.entries, self.stored, self.unread_points)

    @property
    def unread_points(self) -> frozenset[str]:
        """Names."""
        return frozenset(one.point for one in self.unread if one.point is not None)

    def next_sequence(self) -> int:
        """One more than any point has; room is left for those that cannot be read. The caller holds the VM's
        lock. Raises StateError where somebody made a point after which there is none."""
        known = (entry.manifest.sequence or 0 for entry in self.entries)
        found = max(known, default=0) + len(self.unread_points) + 1
        if found > LAST_SEQUENCE:
            raise StateError(
                f"{self.path} has a restore point with the sequence {found - 1}, which no run made: find it "
                "with `sendense verify --witness` and move it out; `sendense help attacked`"
            )
        return found

    def stored_in(self, point: str) -> int:
        """What the disks of the point with that path take."""
        return self._stored_in.get(point, 0)

    @cached_property
    def _stored_in(self) -> Counter[str]:
        found = Counter[str]()
        for path, size in self.stored.items():
            found[path.rpartition("/")[0]] += size
        return found


def identity_of(made: Manifest) -> Identity:
    return Identity(
        vcenter_uuid=made.vm.vcenter_uuid,
        instance_uuid=made.vm.instance_uuid,
        bios_uuid=made.vm.bios_uuid,
        name=made.vm.name,
        inventory_path=made.vm.inventory_path,
        disks=tuple(DiskIdentity(key=disk.key, backing_uuid=disk.backing_uuid) for disk in made.disks),
    )
