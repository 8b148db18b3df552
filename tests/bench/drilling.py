"""The small Linux of the tests, booted as a drill boots it until it shows its login prompt: with BIOS and with EFI, without
KVM, and with it where this machine runs guests so. What is printed is the guest's time from its start, QEMU's CPU seconds,
and its memory beside the guest's."""

from __future__ import annotations

import os
import statistics
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runner.base.units import GiB, KiB, MiB, human_bytes
from runner.hosts.local import LocalHost
from steps.boot import accelerator
from steps.boot.request import BootRequest
from steps.boot.start import start
from steps.drill.drilling import BESIDES
from steps.values.drill import Accelerator, Expectation, MachineLimits
from steps.values.machine import Firmware, Machine, MachineDisk
from steps.watch.watch import watch
from tests.bench.measure import peak_memory
from tests.guests import small_linux
from tests.hub import Hub, hub_on

ROUNDS = 5
MEMORY = 256 * MiB

UUID = str(uuid.uuid4())
"""By which its QEMU is known here."""

LOGIN = Expectation(serial="login:")


@dataclass(frozen=True)
class Boot:
    seconds: float
    cpu: float
    besides: int
    """Bytes of QEMU's memory that are not the guest's."""


def main() -> None:
    disk = small_linux.disk()
    with tempfile.TemporaryDirectory() as scratch, hub_on(LocalHost("local"), f"{scratch}/r", Path(scratch)) as hub:
        here = LocalHost("local")
        chosen = accelerator.choose(hub.context(), here, "auto")
        ways: list[Accelerator] = ["tcg", "kvm"] if chosen.accelerator == "kvm" else ["tcg"]
        kinds: list[tuple[Firmware, Accelerator]] = [(firmware, way) for way in ways for firmware in ("bios", "efi")]
        found: dict[tuple[Firmware, Accelerator], list[Boot]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind in kinds:
                found[kind].append(booted(hub, str(disk), *kind))
    if chosen.accelerator != "kvm":
        print(f"drills with KVM: not measured, {chosen.why}")
    for (firmware, way), boots in found.items():
        name = f"a drill of a small Linux with {firmware.upper()} and {way.upper()}, {human_bytes(MEMORY)} of memory"
        print(f"{name}: {told(boots)}", flush=True)


def told(boots: Sequence[Boot]) -> str:
    besides = max(boot.besides for boot in boots)
    return (
        f"login after {spread([boot.seconds for boot in boots])} s; CPU seconds of QEMU "
        f"{spread([boot.cpu for boot in boots])} (min / median / max of {len(boots)}); memory of QEMU beside the guest's "
        f"{human_bytes(besides)}, of {human_bytes(BESIDES)} that are counted for it"
    )


def spread(numbers: Sequence[float]) -> str:
    return f"{min(numbers):.1f} / {statistics.median(numbers):.1f} / {max(numbers):.1f}"


def machine(firmware: Firmware) -> Machine:
    return Machine(
        name="small-linux",
        uuid=UUID,
        guest="debian12_64Guest",
        firmware=firmware,
        memory=MEMORY,
        cpus=1,
        disks=(
            MachineDisk(
                key=2000,
                label="Hard disk 1",
                capacity=small_linux.SIZE,
                controller="pvscsi" if firmware == "bios" else "ich9-ahci",
                bus=0,
                unit=0,
                boot=0,
            ),
        ),
        cards=(),
    )


def booted(hub: Hub, disk: str, firmware: Firmware, way: Accelerator) -> Boot:
    ctx = hub.context()
    limits = MachineLimits(memory=MEMORY, overlay=GiB)
    asked = BootRequest(machine=machine(firmware), disks={2000: disk}, expect=(LOGIN,), limits=limits, accelerator=way)
    with ExitStack() as stack:
        running = stack.enter_context(start(ctx, LocalHost("local"), asked))
        seen = watch(ctx, running, asked)
        assert seen.verdict == "passed", seen.why
        (pid,) = machines()
        return Boot(seen.seconds, used(pid), peak_memory(str(pid)) - of_the_guest(pid))


def machines() -> list[int]:
    """QEMUs with our machine."""
    return [pid for pid in (int(entry.name) for entry in Path("/proc").glob("[0-9]*")) if is_machine(pid)]


def is_machine(pid: int) -> bool:
    try:
        program, *words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return program.endswith(b"qemu-system-x86_64") and any(UUID.encode() in word for word in words)


def of_the_guest(pid: int) -> int:
    """Bytes that it has touched: of the one mapping that is as large as its memory (proc(5), smaps)."""
    lines = iter(Path(f"/proc/{pid}/smaps").read_text().splitlines())
    for line in lines:
        if line.split() == ["Size:", str(MEMORY // KiB), "kB"]:
            return next(int(other.split()[1]) * KiB for other in lines if other.startswith("Rss:"))
    raise RuntimeError("the guest's memory is not one mapping")


def used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
