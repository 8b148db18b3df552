"""What QEMU tells of a machine, and what it comes to."""

from __future__ import annotations

import pytest

from runner.base.units import GiB
from steps.boot.running import MonitorEvent
from steps.watch.disk_counters import DiskCounters, parsed
from steps.watch.machine_events import MachineEvents


def told(*events: tuple[str, dict[str, object]]) -> tuple[str, str] | None:
    of = MachineEvents(8 * GiB, {"disk-2000": "Hard disk 1"})
    found = of.add(MonitorEvent(name, data) for name, data in events)  # type: ignore[arg-type]
    return None if found is None else (found.verdict, found.why)


RESET = ("RESET", {"guest": True, "reason": "guest-reset"})
CASES = {
    "nothing": ((), None),
    "three restarts": ((RESET,) * 3, None),
    "four restarts": ((RESET,) * 4, ("failed", "the guest restarted for the 4th time")),
    "resets of QEMU's own": ((("RESET", {"guest": False, "reason": "host-qmp-system-reset"}),) * 9, None),
    "power-off": (
        (("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}),),
        ("failed", "the guest powered itself off"),
    ),
    "QEMU is ended": ((("SHUTDOWN", {"guest": False, "reason": "host-signal"}),), None),
    "Linux panics": (
        (("GUEST_PANICKED", {"action": "pause"}),),
        ("failed", "the guest's kernel panicked, as it told QEMU"),
    ),
    "Windows stops": (
        (("GUEST_PANICKED", {"action": "pause", "info": {"type": "hyper-v", "arg1": 0x7B, "arg2": 1}}),),
        ("failed", "Windows stopped with bug check 0x7b, as it told QEMU"),
    ),
    "the first counts": ((("STOP", {}), RESET, ("GUEST_PANICKED", {}), ("SHUTDOWN", {"reason": "guest-shutdown"})), ("failed", "the guest's kernel panicked, as it told QEMU")),
    "full": (
        (("BLOCK_IO_ERROR", {"node-name": "disk-2000", "operation": "write", "nospace": True, "reason": "No space"}),),
        ("undecided", "the guest wrote more to Hard disk 1 than `overlay` allows (8.0 GiB for all disks): raise it"),
    ),
    "not to be read": (
        (("BLOCK_IO_ERROR", {"node-name": "disk-2000", "operation": "read", "nospace": False, "reason": "Input/output\nerror"}),),
        ("undecided", "Hard disk 1 could not be read: Input/output error"),
    ),
    "not to be written": (
        (("BLOCK_IO_ERROR", {"operation": "write"}),),
        ("undecided", "a disk could not be written: QEMU does not say why"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "found"), CASES.values(), ids=CASES)
def test_what_decides_is_told(events, found):
    assert told(*events) == found


def test_what_failed_beneath_a_guest_that_was_not_stopped_is_told():
    events = MachineEvents(8 * GiB, {"disk-2000": "Hard disk 1"})
    assert events.failed([DiskCounters("disk-2000", 1, 0, 0)]) == ""
    assert events.failed([DiskCounters("disk-2000", 0, 1, 0)]) == "1 read of Hard disk 1 failed beneath it"
    assert "`overlay` (8.0 GiB) is to be raised" in events.failed([DiskCounters("disk-2000", 0, 0, 2)])


def test_counters_are_those_of_the_disks():
    answer = [
        {"node-name": "disk-2000", "stats": {"wr_bytes": 5, "failed_rd_operations": 1, "failed_wr_operations": 2}},
        {"node-name": "firmware-vars", "stats": {"wr_bytes": 7}},
        {"device": "floppy"},
        "noise",
    ]
    assert parsed(answer) == (DiskCounters("disk-2000", 5, 1, 2),)
    assert parsed(None) == ()


@pytest.mark.parametrize(("code", "doubts"), [(0x7B, ("driver", "disk")), (0x50, ())])
def test_a_windows_that_does_not_find_its_disk_may_lack_the_driver(code, doubts):
    event = MonitorEvent("GUEST_PANICKED", {"info": {"arg1": code}})
    found = MachineEvents(8 * GiB, {}).add([event])
    assert found is not None and found.doubts == doubts
