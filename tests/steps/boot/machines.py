"""Machines that are started as drills start them, and what there is of them on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.boot.request import BootRequest
from steps.boot.running import Running
from steps.values.drill import Expectation, MachineLimits
from steps.values.machine import DiskController, Machine, MachineCard, MachineDisk

needs_qemu = pytest.mark.skipif(
    not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed: no machine can be booted"
)

CAPACITY = 128 * MiB
OVERLAY = 64 * MiB
"""The least that limits allow."""


def machine(disks: int = 1, cards: int = 1, controller: DiskController = "pvscsi", memory: int = 64 * MiB) -> Machine:
    return Machine(
        name="pgtest1",
        uuid="42130000-0000-0000-0000-000000000001",
        guest="debian12_64Guest",
        firmware="bios",
        memory=memory,
        cpus=1,
        disks=tuple(
            MachineDisk(
                key=2000 + number,
                label=f"Hard disk {number + 1}",
                capacity=CAPACITY,
                controller=controller,
                bus=0,
                unit=number,
                boot=0 if number == 0 else None,
            )
            for number in range(disks)
        ),
        cards=tuple(
            MachineCard(
                key=4000 + number,
                label=f"Network adapter {number + 1}",
                model="e1000",
                mac=f"00:50:56:aa:bb:{number:02x}",
            )
            for number in range(cards)
        ),
    )


def request(of: Machine, disks: Mapping[int, str], *expect: Expectation, address: str | None = None) -> BootRequest:
    limits = MachineLimits(overlay=OVERLAY)
    return BootRequest(of, disks, expect, limits, accelerator="tcg", guest_address=address)


def one_disk(path: Path, *expect: Expectation) -> BootRequest:
    return request(machine(), {2000: str(path)}, *expect)


def pids(running: Running) -> list[int]:
    """Of QEMU, and of the shells that hold it: they are started on this machine, whichever host it is."""
    return processes(running.directory)


def processes(word: str) -> list[int]:
    """Those with that word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def qemu(running: Running) -> int:
    (found,) = (pid for pid in pids(running) if _program(pid) == "qemu-system-x86_64")
    return found


def _program(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name
    return ""


def opened(pid: int) -> dict[str, Path]:
    """What a process has open → where to look at it; of an unlinked file too."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found[str(descriptor.readlink())] = descriptor
    return found
