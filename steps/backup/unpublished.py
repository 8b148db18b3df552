"""What `publish` is given: the verified disks of one snapshot, which are to become a restore point."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator

from runner.base.errors import SendenseError
from runner.base.model import JobModel
from steps.repository import layout
from steps.values.snapshot import SnapshotTaken
from steps.values.verified import Verified
from steps.vsphere.inventory import VM, Uncovered


class MixedUpError(SendenseError):
    """The disks are not those of the snapshot, one for one."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"nothing is published: {'; '.join(problems)}")


class Unpublished(JobModel):
    vm: VM
    """Whose restore point it is."""
    snapshot: SnapshotTaken
    """The moment that it holds."""
    disks: tuple[Verified, ...]
    """The verified disks, one for each of the snapshot."""
    uncovered: tuple[Uncovered, ...] = ()
    """Disks that were left out: the manifest says so, since a restore will lack them."""

    @property
    def repository(self) -> str:
        """The job's name of it. Raises MixedUpError."""
        if not self.disks:
            raise MixedUpError(["no disk was given, so there is nothing to restore from"])
        return self.disks[0].image.repository

    @property
    def directory(self) -> str:
        """Absolute path of `<run>.partial`."""
        return self.disks[0].image.directory

    def mixed_up(self) -> Iterator[str]:
        """What is wrong with the pairing of the snapshot's disks and the verified ones, in words."""
        frozen = {disk.key: disk for disk in self.snapshot.disks}
        if (self.snapshot.vcenter, self.snapshot.vm) != (self.vm.vcenter, self.vm.moref):
            yield f"the snapshot is of {self.snapshot.vm}, not of {self.vm.moref} ({self.vm.name})"
        given = Counter(disk.image.key for disk in self.disks)
        yield from (f"disk {key} was not copied and verified" for key in frozen if key not in given)
        yield from (f"disk {key} was given {count} times" for key, count in given.items() if count > 1)
        for copied in (disk.copied for disk in self.disks):
            key, image = copied.key, copied.image
            if (of := frozen.get(key)) is None:
                yield f"disk {key} is not one that the snapshot covers"
            elif (image.disk.backing_uuid, image.capacity) != (of.backing_uuid, of.capacity):
                yield f"{image.path} is not of the snapshot's disk {key}: backing or capacity differ"
            if copied.snapshot != self.snapshot.moref:
                yield f"disk {key} was read from snapshot {copied.snapshot}, not from {self.snapshot.moref}"
            if image.path != posixpath.join(self.directory, layout.image(key)):
                yield f"disk {key} is in {image.path}, not in its place in {self.directory}"
