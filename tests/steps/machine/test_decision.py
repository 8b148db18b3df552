"""What becomes of a saved VM's devices in QEMU: as they were wherever that can be, and every deviation told."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from runner.base.units import GiB, MiB
from steps.saved_vm.configuration import Saved
from steps.values.drill import MachineLimits
from steps.values.machine import Machine
from tests.steps.machine.machines import ROOMY, changes, controller, decided
from tests.steps.new_vm.vms import about, card, device, disk, pvscsi, saved


def hung(machine: Machine) -> dict[int, tuple[str, int, int]]:
    return {one.key: (one.controller, one.bus, one.unit) for one in machine.disks}


def boots(machine: Machine) -> list[int]:
    ranked = [one for one in machine.disks if one.boot is not None]
    return [one.key for one in sorted(ranked, key=lambda one: one.boot or 0)]


def booted_by(*keys: int) -> Any:
    order = [vim.vm.BootOptions.BootableDiskDevice(deviceKey=key) for key in keys]
    return vim.vm.BootOptions(bootOrder=order)


def in_slot(number: int, of: Any) -> Any:
    of.slotInfo = device.VirtualDevice.PciBusSlotInfo(pciSlotNumber=number)
    return of


def test_a_vm_within_the_limits_is_as_it_was() -> None:
    machine = decided(saved(pvscsi(), disk(), in_slot(192, card()), annotation="tell nobody"))
    assert (machine.name, machine.firmware, machine.memory, machine.cpus) == ("web", "bios", 8192 * MiB, 4)
    assert machine.uuid == "42130000-0000-0000-0000-000000000001"
    assert hung(machine) == {2000: ("pvscsi", 0, 0)}
    assert [(one.model, one.mac, one.slot) for one in machine.cards] == [("vmxnet3", "00:50:56:9a:10:01", 192)]
    assert list(changes(machine)) == ["Video card"]
    assert "tell nobody" not in machine.model_dump_json()


def test_memory_and_processors_go_up_to_the_limits_and_that_is_told() -> None:
    machine = decided(saved(), limits=MachineLimits(memory=2 * GiB, cpus=2))
    assert (machine.memory, machine.cpus) == (2 * GiB, 2)
    assert changes(machine)["memory"].sentence == (
        "memory (8.0 GiB) becomes 2.0 GiB: more is not allowed here: `limits.memory`"
    )
    assert changes(machine)["number of CPUs"].becomes == "2"


CONTROLLERS = [
    ("ParaVirtualSCSIController", "debian12_64Guest", "pvscsi"),
    ("VirtualLsiLogicSASController", "windows2019srv_64Guest", "mptsas1068"),
    ("VirtualLsiLogicController", "debian12_64Guest", "lsi53c895a"),
    ("VirtualLsiLogicController", "other5xLinux64Guest", "lsi53c895a"),
    ("VirtualLsiLogicController", "centos64Guest", "lsi53c895a"),
    ("VirtualLsiLogicController", "rhel7_64Guest", "ich9-ahci"),
    ("VirtualLsiLogicController", "centos9_64Guest", "ich9-ahci"),
    ("VirtualLsiLogicController", "winNetStandardGuest", "ich9-ahci"),
    ("VirtualBusLogicController", "debian4Guest", "ich9-ahci"),
    ("VirtualAHCIController", "debian12_64Guest", "ich9-ahci"),
    ("VirtualNVMEController", "debian12_64Guest", "nvme"),
]


@pytest.mark.parametrize(("kind", "guest", "becomes"), CONTROLLERS, ids=lambda one: str(one))
def test_each_controller_becomes_what_comes_closest(kind: str, guest: str, becomes: str) -> None:
    machine = decided(saved(controller(kind, 1000), disk(), guestId=guest))
    assert hung(machine) == {2000: (becomes, 0, 0)}
    same = kind not in ("VirtualLsiLogicController", "VirtualBusLogicController")
    assert ("Hard disk 1" in changes(machine)) is not same


@pytest.mark.parametrize(
    ("kind", "units", "there"),
    [
        ("ParaVirtualSCSIController", (0, 15, 63), [("pvscsi", 0, 0), ("pvscsi", 0, 15), ("pvscsi", 0, 63)]),
        (
            "VirtualLsiLogicSASController",
            (6, 8, 15),
            [("mptsas1068", 0, 6), ("mptsas1068", 1, 1), ("mptsas1068", 2, 1)],
        ),
        ("VirtualAHCIController", (0, 5, 29), [("ich9-ahci", 0, 0), ("ich9-ahci", 0, 5), ("ich9-ahci", 1, 5)]),
    ],
    ids=("pvscsi", "LSI SAS", "SATA"),
)
def test_disks_that_one_controller_does_not_take_get_another(
    kind: str, units: tuple[int, ...], there: list[tuple[str, int, int]]
) -> None:
    machine = decided(saved(controller(kind, 1000), *(disk(2000 + unit, unit=unit) for unit in units)))
    assert list(hung(machine).values()) == there
    moved = [one for one in changes(machine).values() if "there is one more of it" in one.why]
    assert len(moved) == sum(bus > 0 for _, bus, _ in there)


def test_no_two_disks_are_in_one_place() -> None:
    """QEMU starts no such machine: several kinds of controllers become SATA, and a configuration may be wrong."""
    odd = (
        disk(2000, 1000),
        disk(2001, 1000),
        disk(2002, 77),
        disk(2003, 77),
        disk(3000, 200),
        disk(3001, 200),
        disk(3002, 200),
        disk(3003, 200, 7),
    )
    machine = decided(saved(controller("VirtualBusLogicController", 1000), *odd, firmware="efi"))
    assert len(set(hung(machine).values())) == len(odd)
    assert len(set(hung(decided(saved(pvscsi(), *odd))).values())) == len(odd)


def test_a_disk_stays_on_its_channel_of_ide() -> None:
    assert hung(decided(saved(disk(3002, 201, 1)))) == {3002: ("piix3-ide", 1, 1)}


def test_several_controllers_of_a_kind_keep_their_order() -> None:
    machine = decided(saved(pvscsi(1001, 3), pvscsi(1000, 1), disk(2000, 1000), disk(2016, 1001)))
    assert hung(machine) == {2000: ("pvscsi", 0, 0), 2016: ("pvscsi", 1, 0)}


def test_with_efi_the_disk_that_boots_moves_to_sata_and_the_others_stay() -> None:
    machine = decided(saved(pvscsi(), disk(), disk(2001, unit=1), firmware="efi", bootOptions=booted_by(2001)))
    assert hung(machine) == {2000: ("pvscsi", 0, 0), 2001: ("ich9-ahci", 0, 0)}
    assert boots(machine) == [2001]
    assert changes(machine)["Hard disk 2"].sentence == (
        "Hard disk 2 (PVSCSI 0:1) becomes SATA 0:0: QEMU's EFI firmware reads no disks on PVSCSI"
    )


def test_a_disk_on_another_kind_of_controller_makes_a_failure_doubtful() -> None:
    moved = decided(saved(pvscsi(), disk(), disk(2001, unit=1), firmware="efi"))
    assert [(one.kind, one.why) for one in moved.doubts] == [
        (
            "driver",
            "Hard disk 1 is on SATA here (PVSCSI 0:0 in its VM), whose driver the guest may lack: restore it into "
            "vCenter to know",
        )
    ]
    bus_logic = decided(saved(controller("VirtualBusLogicController", 1000), disk(2000, 1000)))
    assert [one.kind for one in bus_logic.doubts] == ["driver"]
    many = [disk(2000 + unit, 1000, unit) for unit in range(7)] + [disk(2008, 1000, 8)]
    assert not decided(saved(controller("VirtualLsiLogicSASController", 1000), *many)).doubts, "the same kind"


def test_less_memory_than_it_had_makes_a_failure_doubtful() -> None:
    (doubt,) = decided(saved(pvscsi(), disk()), limits=MachineLimits(memory=2 * GiB)).doubts
    assert doubt.kind == "memory"
    assert doubt.why == "it has 2.0 GiB of memory here (8.0 GiB in its VM): raise `limits.memory`"


def test_with_efi_a_disk_on_nvme_stays() -> None:
    machine = decided(saved(controller("VirtualNVMEController", 31000), disk(32000, 31000), firmware="efi"))
    assert hung(machine) == {32000: ("nvme", 0, 0)}


def test_with_a_bios_a_second_disk_on_nvme_boots_from_a_controller_of_its_own() -> None:
    two = (disk(32000, 31000), disk(32001, 31000, unit=1))
    machine = decided(saved(controller("VirtualNVMEController", 31000), *two, bootOptions=booted_by(32001)))
    assert hung(machine) == {32000: ("nvme", 0, 0), 32001: ("nvme", 1, 0)}


def test_secure_boot_is_kept() -> None:
    options = vim.vm.BootOptions(efiSecureBootEnabled=True)
    assert decided(saved(firmware="efi", bootOptions=options)).firmware == "efi-secure"


ORDERS = [
    ("as saved", booted_by(2001, 2000), None, [2001, 2000]),
    ("by the advanced setting", None, "scsi0:1,scsi0:0", [2001, 2000]),
    ("the first disk", None, None, [2000]),
    ("the first disk where the order names none that is there", booted_by(2009), "scsi9:9", [2000]),
]


@pytest.mark.parametrize(("options", "setting", "order"), [one[1:] for one in ORDERS], ids=[one[0] for one in ORDERS])
def test_the_firmware_tries(options: Any, setting: str | None, order: list[int]) -> None:
    extra = [] if setting is None else [vim.option.OptionValue(key="bios.hddOrder", value=setting)]
    config = {} if options is None else {"bootOptions": options}
    assert boots(decided(saved(pvscsi(), disk(), disk(2001, unit=1), extraConfig=extra, **config))) == order


def test_a_network_boot_is_left_out_of_the_order() -> None:
    ethernet = vim.vm.BootOptions.BootableEthernetDevice(deviceKey=4000)
    first = vim.vm.BootOptions.BootableDiskDevice(deviceKey=2000)
    machine = decided(saved(bootOptions=vim.vm.BootOptions(bootOrder=[ethernet, first])))
    told = changes(machine)["boot order"]
    assert (told.was, told.becomes) == ("Network adapter 1, Hard disk 1", "Hard disk 1")


def test_cards_stand_in_the_order_in_which_the_guest_found_them() -> None:
    """By bridge, its function and the slot, not by key: 1184 is the second function of bridge 5, 192 is bridge 6."""
    cards = [
        in_slot(192, card(4000, mac="00:50:56:00:00:03")),
        in_slot(1184, card(4001, mac="00:50:56:00:00:02")),
        in_slot(33, card(4002, kind="VirtualE1000", mac="00:50:56:00:00:01")),
    ]
    machine = decided(saved(pvscsi(), disk(), *cards))
    assert [(one.mac[-1], one.model, one.slot) for one in machine.cards] == [
        ("1", "e1000", 33),
        ("2", "vmxnet3", 1184),
        ("3", "vmxnet3", 192),
    ]


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("VirtualVmxnet3", "vmxnet3"),
        ("VirtualVmxnet3Vrdma", "vmxnet3"),
        ("VirtualVmxnet2", "e1000"),
        ("VirtualVmxnet", "e1000"),
        ("VirtualE1000", "e1000"),
        ("VirtualE1000e", "e1000e"),
        ("VirtualPCNet32", "pcnet"),
    ],
)
def test_a_card_is_of_the_kind_that_it_was_or_of_one_that_every_guest_knows(kind: str, model: str) -> None:
    machine = decided(saved(pvscsi(), disk(), card(kind=kind)))
    assert [one.model for one in machine.cards] == [model]
    assert ("Network adapter 1" in changes(machine)) is (
        kind in ("VirtualVmxnet3Vrdma", "VirtualVmxnet2", "VirtualVmxnet")
    )


@pytest.mark.parametrize(
    ("board", "config", "devices"),
    [
        ("q35", {}, (pvscsi(), disk(), in_slot(192, card()))),
        ("pc", {}, (disk(3000, 200), in_slot(192, card()))),
        ("pc", {"guestId": "winXPProGuest"}, (pvscsi(), disk(), in_slot(33, card()))),
        ("pc", {}, (pvscsi(), disk(), card())),
        ("q35", {"firmware": "efi"}, (disk(3000, 200), card())),
    ],
    ids=("slots", "IDE", "an old guest", "no slots", "EFI"),
)
def test_the_board_has_slots_where_the_guest_knew_them(board: str, config: dict[str, Any], devices: Any) -> None:
    machine = decided(saved(*devices, **config))
    assert machine.board == board
    lost = any(one.slotInfo is not None for one in devices) and board == "pc"
    assert ("PCI slot of Network adapter 1" in changes(machine)) is lost


def test_what_a_machine_goes_without_is_named() -> None:
    others = (
        device.VirtualTPM(key=11000, controllerKey=100, deviceInfo=about("Virtual TPM")),
        device.VirtualCdrom(key=16500, controllerKey=15000, deviceInfo=about("CD/DVD drive 1")),
        device.VirtualPCIPassthrough(key=13000, controllerKey=100, deviceInfo=about("PCI device 0")),
        device.VirtualUSB(key=8000, controllerKey=7000, deviceInfo=about("USB 1")),
        device.VirtualSerialPort(key=9000, controllerKey=400, deviceInfo=about("Serial port 1")),
        device.VirtualSerialPort(key=9001, controllerKey=400, deviceInfo=about("Serial port 2")),
    )
    told = changes(decided(saved(pvscsi(), disk(), *others)))
    left_out = {one.what for one in told.values() if one.kind == "left out"}
    assert left_out == {"Virtual TPM", "CD/DVD drive 1", "PCI device 0", "USB 1", "Serial port 2"}
    assert "BitLocker asks for its recovery key" in told["Virtual TPM"].why
    assert told["Serial port 1"].kind == "changed"
    assert all(one.why for one in told.values())


def test_a_disk_that_the_point_lacks_is_named() -> None:
    machine = decided(saved(pvscsi(), disk(), disk(2001, unit=1)), without=[2001])
    assert hung(machine) == {2000: ("pvscsi", 0, 0)}
    assert changes(machine)["Hard disk 2"].kind == "left out"


@pytest.mark.parametrize("guest", ["windows2019srv_64Guest", "winNetEnterpriseGuest"])
def test_windows_finds_local_time_in_its_clock(guest: str) -> None:
    assert decided(saved(guestId=guest)).local_time
    assert not decided(saved()).local_time


def test_an_encrypted_vm_is_booted_in_plain_text_and_that_is_told() -> None:
    key = vim.encryption.CryptoKeyId(keyId="k", providerId=vim.encryption.KeyProviderId(id="p"))
    assert changes(decided(saved(keyId=key)))["encryption"].becomes == "plain text"


@pytest.mark.parametrize(
    "damaged",
    [
        {"hardware": {}},
        {"hardware": {"device": [{"_type": "VirtualDisk", "key": 2000, "unitNumber": -5}, "x", 7]}, "uuid": "-x"},
        {
            "hardware": {"memoryMB": -1, "numCPU": "many"},
            "bootOptions": {"bootOrder": [{"_type": 7, "deviceKey": "x"}]},
        },
        {
            "hardware": {
                "device": [{"_type": "VirtualVmxnet3", "macAddress": "a,id=b", "slotInfo": {"pciSlotNumber": 1e9}}]
            }
        },
    ],
    ids=("empty", "odd devices", "odd numbers", "a hostile card"),
)
def test_any_configuration_gives_a_machine(damaged: Any) -> None:
    machine = decided(Saved(damaged), limits=ROOMY)
    assert machine.memory == ROOMY.memory
    assert machine.uuid == ""
    assert all("," not in one.mac for one in machine.cards)
