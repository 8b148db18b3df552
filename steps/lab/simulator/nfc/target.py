"""One file of a lease: a disk, or a file beside the disks such as NVRAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.lab.simulator.disk import Disk
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.nfc.tally import ALGORITHMS
from steps.lab.simulator.vmodl import vim


@dataclass(frozen=True)
class Moved:
    """What came in or went out, as the host counted it. Bytes."""

    size: int
    algorithm: str
    checksum: str
    capacity: int = 0
    populated: int = 0


@dataclass(eq=False)
class Target:
    key: str
    """``/vm-42/ParaVirtualSCSIController0:0``."""
    import_key: str
    """The same with the VM's name in an import."""
    name: str
    """At the end of its url: ``disk-0.vmdk``."""
    disk: Disk | None = None
    file: Path = field(default_factory=Path)
    """What is not a disk."""
    algorithm: str = ALGORITHMS[0]
    """Of the checksum in the manifest."""
    moved: Moved | None = None
    written: int = 0
    """Bytes of the disk that came in, by the upload that is under way too."""

    @property
    def path(self) -> Path:
        """Here."""
        return self.disk.layers[0].raw.path if self.disk else self.file

    def sizes(self) -> tuple[int, int]:
        """Capacity, and what of it is allocated; bytes."""
        if self.disk is None:
            return 0, 0
        return self.disk.capacity, sum(one.raw.path.stat().st_blocks * 512 for one in self.disk.layers)

    def manifest_entry(self) -> Any:
        """`sha1` is empty where another algorithm was asked for (assumed): a host computes one."""
        assert self.moved is not None
        return vim.HttpNfcLease.ManifestEntry(
            key=self.key,
            sha1=self.moved.checksum if self.moved.algorithm == "sha1" else "",
            checksum=self.moved.checksum,
            checksumType=self.moved.algorithm,
            size=self.moved.size,
            disk=self.disk is not None,
            capacity=self.moved.capacity if self.disk else None,
            populatedSize=self.moved.populated if self.disk else None,
        )


def of(machine: Machine, name: str, *, nvram: bool) -> list[Target]:
    """A VM's disks, and its NVRAM file where `nvram`. `name`: what import keys begin with.

    Keys are the controller's class, bus and unit number (seen: SS#392, harvester's table). The disks come
    last first, since nothing promises an order, and clients that paired by it swapped disks (cloudstack issue
    4547).
    """
    made: list[Target] = []
    for number, disk in enumerate(reversed(machine.disks)):
        place = _place(machine, disk)
        made.append(Target(f"/{machine.moid}/{place}", f"/{name}/{place}", f"disk-{number}.vmdk", disk))
    if nvram:
        file, number = machine.path("nvram"), len(made)
        made.append(Target(f"/{machine.moid}/nvram", f"/{name}/nvram", f"disk-{number}.nvram", file=file))
    return made


def _place(machine: Machine, disk: Disk) -> str:
    controller = machine.devices[disk.spec.controller]
    return f"{controller._wsdlName}{controller.busNumber}:{disk.spec.unit}"
