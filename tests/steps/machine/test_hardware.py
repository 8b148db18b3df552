"""QEMU itself accepts the hardware, and has each disk and card where it was decided to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from runner.base.units import MiB
from steps.machine.hardware import hardware
from steps.values.machine import Firmware
from tests.steps.machine.machines import Command, asked, controller, decided, needs_qemu
from tests.steps.machine.test_decision import in_slot
from tests.steps.new_vm.vms import card, disk, pvscsi, saved

EVERY_CONTROLLER = (
    pvscsi(),
    controller("VirtualLsiLogicSASController", 1001, 1),
    controller("VirtualLsiLogicController", 1002, 2),
    controller("VirtualAHCIController", 15000),
    controller("VirtualNVMEController", 31000),
)
EVERY_DISK = (
    *(disk(2000 + unit, unit=unit) for unit in (0, 1, 15)),
    *(disk(2016 + unit, 1001, unit) for unit in (0, 9)),
    *(disk(2032 + unit, 1002, unit) for unit in (0, 15)),
    disk(3000, 200),
    disk(3003, 201, 1),
    *(disk(16000 + unit, 15000, unit) for unit in (0, 29)),
    *(disk(32000 + unit, 31000, unit) for unit in (0, 1)),
)
EVERY_CARD = tuple(
    in_slot(slot, card(4000 + place, kind=kind, mac=f"00:50:56:00:00:{place:02x}"))
    for place, (kind, slot) in enumerate(
        [("VirtualE1000", 33), ("VirtualPCNet32", 34), ("VirtualE1000e", 160), *[("VirtualVmxnet3", 192)] * 7]
    )
)
MODELS = ["e1000", "pcnet", "e1000e", *["vmxnet3"] * 7]


def drives(found: list[Any]) -> dict[str, str]:
    """Node → device."""
    return {one["inserted"]["node-name"]: one["qdev"] for one in found}


QUERY_BLOCK: Command = ("query-block", {})
LIST: Command = ("qom-list", {"path": "/machine/peripheral"})


ACPI_HOTPLUG: Command = (
    "qom-get",
    {"path": "/machine/acpi-device", "property": "acpi-pci-hotplug-with-bridge-support"},
)


def get(device: str, name: str) -> Command:
    return "qom-get", {"path": f"/machine/peripheral/{device}", "property": name}


def kinds(found: list[Any]) -> dict[str, str]:
    """Name → QEMU's name of what it is."""
    return {one["name"]: one["type"].removeprefix("child<").removesuffix(">") for one in found}


@needs_qemu
@pytest.mark.parametrize("firmware", ["bios", "efi", "efi-secure"])
def test_every_device_is_there_with_each_firmware(firmware: Firmware, tmp_path: Path) -> None:
    flash = tmp_path / "flash"
    flash.write_bytes(bytes(2 * MiB))
    secure = vim.vm.BootOptions(efiSecureBootEnabled=firmware == "efi-secure")
    config = {"firmware": "bios" if firmware == "bios" else "efi", "bootOptions": secure}
    machine = decided(saved(*EVERY_CONTROLLER, *EVERY_DISK, *EVERY_CARD, **config))
    assert machine.firmware == firmware
    used = None if firmware == "bios" else flash
    block, named = asked(machine, QUERY_BLOCK, LIST, agent=True, flash=used)
    assert drives(block).items() >= {f"disk-{one.key}": f"drive-{one.key}" for one in machine.disks}.items()
    there = kinds(named)
    assert there["video"] == "VGA"
    assert there["agent-bus"] == "virtio-serial-pci"
    for one in machine.disks:
        assert one.controller == "piix3-ide" or there[f"{one.controller}-{one.bus}"] == one.controller
    assert [there[f"card-{place}"] for place in range(10)] == MODELS


@needs_qemu
def test_cards_are_in_the_slots_that_they_had() -> None:
    """Linux names them after these (`ens192`): seen with Debian's kernel 6.1 and udev 252."""
    machine = decided(saved(pvscsi(), disk(), *EVERY_CARD))
    ports = [get(f"port-{place}", "slot") for place in range(10)]
    buses = [get(f"card-{place}", "parent_bus") for place in range(10)]
    (hotplug, *found) = asked(machine, ACPI_HOTPLUG, *ports, *buses)
    assert hotplug is False  # with it, the guest takes the slots' names from ACPI
    assert found[:10] == [33, 34, 160, *[192] * 7]
    assert found[10:] == [f"/machine/peripheral/port-{place}/port-{place}" for place in range(10)]


@needs_qemu
def test_seven_equal_disks_are_not_swapped() -> None:
    machine = decided(saved(pvscsi(), *(disk(2000 + unit, unit=unit) for unit in range(7))))
    (found,) = asked(machine, QUERY_BLOCK)
    assert drives(found) == {f"disk-{2000 + unit}": f"drive-{2000 + unit}" for unit in range(7)}
    line = [one for one in hardware(machine, "tcg", agent=False) if one.startswith("scsi-hd,")]
    for unit, words in enumerate(line):
        assert f",scsi-id={unit}," in words
        assert words.endswith(
            f",id=drive-{2000 + unit},drive=disk-{2000 + unit}" + (",bootindex=0" if unit == 0 else "")
        )
    addresses = {word for words in line for word in words.split(",") if word.startswith("wwn=")}
    assert len(addresses) == 7


@pytest.mark.parametrize(("guest", "tells"), [("windows9Server64Guest", True), ("debian12_64Guest", False)])
def test_windows_is_told_of_its_hypervisor_with_kvm_alone(guest: str, tells: bool) -> None:
    machine = decided(saved(guestId=guest))
    assert ("hv-crash" in " ".join(hardware(machine, "kvm", agent=False))) is tells
    assert "hv-" not in " ".join(hardware(machine, "tcg", agent=False))
