"""QEMU itself accepts the hardware, and has each disk where it was decided to be."""

from __future__ import annotations

from typing import Any

from tests.steps.machine.machines import asked, decided, needs_qemu
from tests.steps.new_vm.vms import disk, pvscsi, saved

pytestmark = needs_qemu


def places(found: list[Any]) -> dict[str, str]:
    """Node → device."""
    return {one["inserted"]["node-name"]: one["qdev"] for one in found}


def test_seven_equal_disks_are_not_swapped() -> None:
    machine = decided(saved(pvscsi(), *(disk(2000 + unit, unit=unit) for unit in range(7))))
    (found,) = asked(machine, "query-block")
    assert places(found) == {f"disk-{2000 + unit}": f"drive-{2000 + unit}" for unit in range(7)}
