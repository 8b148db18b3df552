"""Machines with EFI, in QEMU with the host's own OVMF: what boots thanks to an entry, and what the firmware refuses."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.boot.request import BootRequest
from steps.efi import ovmf
from steps.saved_vm import nvram
from steps.values.drill import Expectation, MachineLimits
from steps.values.machine import Firmware, Machine, MachineDisk
from steps.watch.boot import boot
from steps.watch.seen import Seen
from tests.guests import efi_disks, signed_loaders
from tests.guests.debian_packages import NotToBeHad
from tests.hub import Hub
from tests.steps.saved_vm.nvram_files import vmware

HERE = LocalHost("local")
STARTED = "an application was started"

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-system-x86_64") or ovmf.choice(ovmf.builds(HERE), "efi") is None,
    reason="qemu-system-x86 or ovmf is not installed",
)


def booted(hub: Hub, disk: Path, firmware: Firmware = "efi", named: tuple[str, ...] = ()) -> Seen:
    one = MachineDisk(
        key=2000, label="Hard disk 1", capacity=disk.stat().st_size, controller="ich9-ahci", bus=0, unit=0, boot=0
    )
    machine = Machine(
        name="vm1",
        uuid=str(uuid.uuid4()),
        guest="debian12_64Guest",
        firmware=firmware,
        memory=256 * MiB,
        cpus=2,
        disks=(one,),
        cards=(),
        loaders=named,
    )
    request = BootRequest(machine, {2000: str(disk)}, (Expectation(serial=STARTED),), MachineLimits(), "tcg")
    return boot(hub.context(), HERE, request)


def disk_with(tmp_path: Path, loader: str) -> Path:
    return efi_disks.disk(tmp_path / "disk.raw", {loader: efi_disks.application(f"{STARTED}\r\n")})


def test_a_loader_that_the_nvram_names_boots_from_a_place_of_its_own(hub: Hub, tmp_path: Path) -> None:
    named = nvram.loaders(vmware(r"\EFI\own\loader.efi"))
    seen = booted(hub, disk_with(tmp_path, "EFI/own/loader.efi"), named=named)
    assert (seen.verdict, seen.firmware) == ("passed", "EFI (OVMF)")


@pytest.mark.torture
def test_a_loader_that_nothing_names_leads_to_the_firmwares_shell(hub: Hub, tmp_path: Path) -> None:
    seen = booted(hub, disk_with(tmp_path, "EFI/own/loader.efi"))
    assert (seen.verdict, STARTED.encode() in seen.serial) == ("failed", False)
    assert "shell" in seen.why


def test_with_secure_boot_a_loader_that_nobody_signed_is_refused_and_that_is_said(hub: Hub, tmp_path: Path) -> None:
    seen = booted(hub, disk_with(tmp_path, "EFI/debian/shimx64.efi"), "efi-secure")
    assert (seen.verdict, STARTED.encode() in seen.serial) == ("undecided", False)
    assert seen.firmware == "EFI (OVMF), secure boot"
    assert "secure boot" in seen.why and r"\EFI\debian\shimx64.efi" in seen.why


def test_with_secure_boot_what_debian_and_microsoft_signed_starts(hub: Hub, tmp_path: Path) -> None:
    try:
        files = signed_loaders.files(f"echo '{STARTED}'; halt")
    except NotToBeHad as error:
        pytest.skip(str(error))
    seen = booted(hub, efi_disks.disk(tmp_path / "disk.raw", files), "efi-secure")
    assert (seen.verdict, seen.firmware) == ("passed", "EFI (OVMF), secure boot")
