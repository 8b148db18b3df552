"""SeaBIOS starts the disk that is meant, from each controller that a machine may have."""

from __future__ import annotations

import selectors
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from runner.base.units import MiB
from steps.machine.hardware import hardware
from steps.values.machine import Machine
from tests.guests.boot_sectors import disk as disk_with
from tests.guests.boot_sectors import sector
from tests.steps.machine.machines import QEMU, controller, decided, needs_qemu
from tests.steps.machine.test_decision import in_slot
from tests.steps.new_vm.vms import card, disk, pvscsi, saved

pytestmark = needs_qemu

DEADLINE = 60.0
"""Seconds: half of one, unless the machine is busy."""


def serial(machine: Machine, started: int, directory: Path) -> bytes:
    """What the first disk says that boots: the one of key `started` alone has anything to say."""
    line = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg"]
    line += ["-chardev", "stdio,id=serial,signal=off", "-chardev", "null,id=firmware-log"]
    for one in machine.disks:
        says = "the right disk" if one.key == started else "the wrong disk"
        path = disk_with(directory / f"{one.key}.raw", sector("prints", says))
        line += ["-blockdev", f"driver=raw,node-name=disk-{one.key},file.driver=file,file.filename={path}"]
    for place, _ in enumerate(machine.cards):
        line += ["-netdev", f"hubport,id=net-{place},hubid={place}"]
    process = subprocess.Popen([*line, *hardware(machine, "tcg", agent=False)], stdout=subprocess.PIPE)
    try:
        return _first_words(process)
    finally:
        process.kill()
        process.communicate()


def _first_words(process: subprocess.Popen[bytes]) -> bytes:
    said = b""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"disk" not in said:
            assert selector.select(DEADLINE), "it said nothing"
            more = process.stdout.read1(4096)
            assert more, "QEMU ended"
            said += more
    return said


@pytest.mark.parametrize(
    ("kind", "key", "unit"),
    [
        ("ParaVirtualSCSIController", 1000, 15),
        ("VirtualLsiLogicSASController", 1000, 15),
        ("VirtualLsiLogicController", 1000, 15),
        ("VirtualBusLogicController", 1000, 1),
        ("VirtualAHCIController", 15000, 29),
        ("VirtualNVMEController", 31000, 1),
    ],
)
def test_the_second_disk_of_a_controller_boots(kind: str, key: int, unit: int, tmp_path: Path) -> None:
    order = vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableDiskDevice(deviceKey=2001)])
    two = (disk(2000, key), disk(2001, key, unit))
    machine = small(controller(kind, key), *two, in_slot(192, card()), bootOptions=order)
    assert b"the right disk" in serial(machine, 2001, tmp_path)


def test_a_disk_on_ide_boots_before_one_on_scsi(tmp_path: Path) -> None:
    order = vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableDiskDevice(deviceKey=3003)])
    machine = small(pvscsi(), disk(), disk(3003, 201, 1), in_slot(192, card()), bootOptions=order)
    assert b"the right disk" in serial(machine, 3003, tmp_path)


def small(*devices: Any, **config: Any) -> Machine:
    return decided(saved(*devices, **config)).model_copy(update={"memory": 32 * MiB, "cpus": 1})
