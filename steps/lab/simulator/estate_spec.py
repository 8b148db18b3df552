"""VMs that are made by number: an estate of thousands, which nobody could write."""

from __future__ import annotations

import random
from functools import cached_property

from pydantic import Field

from runner.base.model import JobModel
from runner.base.units import GiB, MiB
from steps.lab.simulator.machine_spec import ControllerSpec, DiskSpec, MachineSpec, Name, Size

KINDS = ("app", "cache", "db", "file", "mail", "web")

OFF = 0.05
"""Share of the VMs that are off."""


class EstateSpec(JobModel):
    """A datacenter whose VMs are the same for the same numbers. Nothing of one is stored before somebody
    touches it: takes a snapshot, reads a disk."""

    vms: int = Field(ge=1)
    seed: int = 0
    name: Name = "Estate"
    """Of the datacenter."""
    clusters: int = Field(default=2, ge=1)
    hosts: int = Field(default=16, ge=1)
    """In all clusters together."""
    datastores: int = Field(default=8, ge=1)
    folders: int = Field(default=12, ge=1)
    disks: int = Field(default=3, ge=1, le=6)
    """At most, of one VM."""
    size: Size = 2 * GiB
    """Of the largest disk."""
    tags: dict[str, float] = {"backup/gold": 0.1, "backup/silver": 0.3}
    """What share of the VMs has each tag."""
    templates: int = Field(default=0, ge=0)
    """How many of the VMs are templates: the first ones."""

    @cached_property
    def host_names(self) -> tuple[str, ...]:
        return tuple(f"esx{number:02}.estate.example" for number in range(1, self.hosts + 1))

    def hosts_of(self, cluster: int) -> tuple[str, ...]:
        return self.host_names[cluster :: self.clusters]

    def store(self, number: int) -> str:
        return f"estate{number + 1:02}"

    def machine(self, index: int) -> MachineSpec:
        """The VM of that number, from 0 on."""
        drawn = random.Random(f"{self.seed}/{index}")
        kind = drawn.choice(KINDS)
        host = drawn.randrange(self.hosts)
        sizes = [self._size(drawn, number) for number in range(drawn.randint(1, self.disks))]
        return MachineSpec(
            name=f"{kind}-{index:05}",
            folder=f"{kind}/team{drawn.randrange(self.folders) + 1:02}",
            datastore=self.store(drawn.randrange(self.datastores)),
            host=self.host_names[host],
            powered_on=drawn.random() >= OFF,
            template=index < self.templates,
            change_tracking=True,
            tags=tuple(tag for tag, share in self.tags.items() if drawn.random() < share),
            controllers=(ControllerSpec(key=1000, kind="pvscsi"),),
            disks=tuple(
                DiskSpec(key=2000 + number, controller=1000, unit=number, size=size)
                for number, size in enumerate(sizes)
            ),
        )

    def _size(self, drawn: random.Random, number: int) -> int:
        """The first disk is the system's; bytes in whole MiB."""
        largest = max(1, self.size // MiB)
        return max(1, largest // 4 if number == 0 else drawn.randint(1, largest)) * MiB
