"""Real guests in a real QEMU, for what watches them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from runner.base.units import MiB
from runner.events.events import Event
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.context import Context, Run
from steps.boot.request import BootRequest
from steps.boot.running import Running
from steps.boot.start import start
from steps.values.drill import Expectation, MachineLimits
from steps.values.machine import Machine, MachineCard, MachineDisk
from steps.watch.seen import Seen
from steps.watch.watch import watch
from tests.guests.boot_sectors import Deed, disk, sector

KEY = 2000


def machine(*disks: MachineDisk, memory: int = 64 * MiB, cards: int = 0) -> Machine:
    return Machine(
        name="pgtest1",
        uuid="",
        guest="",
        firmware="bios",
        memory=memory,
        cpus=1,
        disks=disks,
        cards=tuple(
            MachineCard(key=4000 + place, label="Network adapter", model="vmxnet3", mac=f"00:50:56:00:00:{place:02x}")
            for place in range(cards)
        ),
    )


def boot_disk(capacity: int) -> MachineDisk:
    return MachineDisk(key=KEY, label="Hard disk 1", capacity=capacity, controller="pvscsi", bus=0, unit=0, boot=0)


def request(of: str | Path | None, *expect: Expectation, overlay: int = 64 * MiB, **more: Any) -> BootRequest:
    """Of a machine with one disk: the raw file or the export `of`; without it, one with none."""
    size = Path(of).stat().st_size if isinstance(of, Path) else 8 * MiB
    return BootRequest(
        machine=machine(*(() if of is None else (boot_disk(size),)), **more),
        disks={} if of is None else {KEY: str(of)},
        expect=expect,
        limits=MachineLimits(overlay=overlay),
        accelerator="tcg",
    )


@contextmanager
def context(scratch: Path, heard: list[Event] | None = None, stop: threading.Event | None = None) -> Iterator[Context]:
    def nothing(*_: object) -> Any:
        raise AssertionError("not asked for by what is tested")

    known: dict[object, Any] = {}
    with ExitStack() as closing:

        def shared(key: object, factory: Any) -> Any:
            if key not in known:
                known[key] = closing.enter_context(factory())
            return known[key]

        yield Context(
            run=Run("20261130T170000Z-3f9a0c1e", "test", "digest", None),
            node="drill",
            emit=(heard if heard is not None else []).append,
            host=nothing,
            section=nothing,
            shared=shared,
            scratch=scratch,
            stop=stop or threading.Event(),
            unwind=tuple,
        )


@contextmanager
def waiting(scratch: Path, what: BootRequest, host: Host | None = None) -> Iterator[tuple[Context, Running]]:
    """The guest, not yet let go."""
    with context(scratch) as ctx, start(ctx, host or LocalHost("here"), what) as running:
        yield ctx, running


def watched(scratch: Path, what: BootRequest) -> Seen:
    with waiting(scratch, what) as (ctx, running):
        return watch(ctx, running, what)


def seen(scratch: Path, deed: Deed, text: str, *expect: Expectation, **more: Any) -> Seen:
    """What comes of a boot sector."""
    return watched(scratch, request(disk(scratch / "disk.raw", sector(deed, text)), *expect, **more))
