"""A machine as a domain of libvirt: by libvirt's own schema, and whatever a VM is called.

Each of the three firmwares was started once with libvirt 9.0 (`virt-qemu-run`), with every kind of disk and card.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from pyVmomi import vim

from steps.machine.libvirt import xml
from steps.values.machine import Firmware, Machine
from tests.steps.machine.machines import decided
from tests.steps.machine.test_hardware import EVERY_CARD, EVERY_CONTROLLER, EVERY_DISK
from tests.steps.new_vm.vms import disk, pvscsi, saved

needs_schema = pytest.mark.skipif(
    shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None,
    reason="libvirt-clients and libxml2-utils, with libvirt's schema, are not installed",
)

HOSTILE = 'web --> <domain>&amp;"../x\x01\n'


def printed(machine: Machine) -> str:
    return xml(machine, {one.key: f"/images/web-{one.key}.qcow2" for one in machine.disks}, ["sendense restore --to x"])


def domain(machine: Machine) -> Element:
    return ElementTree.fromstring(printed(machine))


@needs_schema
@pytest.mark.parametrize("guest", ["debian12_64Guest", "windows2019srv_64Guest"])
@pytest.mark.parametrize("firmware", ["bios", "efi", "efi-secure"])
def test_libvirts_own_schema_accepts_every_device(firmware: Firmware, guest: str, tmp_path: Path) -> None:
    secure = vim.vm.BootOptions(efiSecureBootEnabled=firmware == "efi-secure")
    config = {"firmware": "bios" if firmware == "bios" else "efi", "bootOptions": secure, "guestId": guest}
    file = tmp_path / "domain.xml"
    file.write_text(printed(decided(saved(*EVERY_CONTROLLER, *EVERY_DISK, *EVERY_CARD, name=HOSTILE, **config))))
    done = subprocess.run(["virt-xml-validate", file, "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_vm_is_called_is_a_name_and_nothing_else() -> None:
    found = domain(decided(saved(name=HOSTILE, annotation="tell nobody")))
    assert found.findtext("name") == 'web --> <domain>&amp;"..-x\\x01'
    assert len(found.findall(".//domain")) == 0


def test_its_description_says_what_to_do_and_what_is_otherwise() -> None:
    told = domain(decided(saved(firmware="efi"))).findtext("description") or ""
    assert "sendense restore --to x" in told
    assert "Hard disk 1 (PVSCSI 0:0) becomes SATA 0:0" in told


def test_notes_of_the_vm_are_not_in_it() -> None:
    assert "tell nobody" not in printed(decided(saved(annotation="tell nobody")))


def test_each_disk_is_the_file_of_its_key_where_it_was() -> None:
    found = domain(decided(saved(pvscsi(), *(disk(2000 + unit, unit=unit) for unit in (0, 1, 15)))))
    there = [(one.find("source"), one.find("target"), one.find("address")) for one in found.findall("devices/disk")]
    assert [
        (source.get("file"), target.get("dev"), address.get("controller"), address.get("target"))
        for source, target, address in there
        if source is not None and target is not None and address is not None
    ] == [
        ("/images/web-2000.qcow2", "sda", "0", "0"),
        ("/images/web-2001.qcow2", "sdb", "0", "1"),
        ("/images/web-2015.qcow2", "sdc", "0", "15"),
    ]
    assert [one.get("model") for one in found.findall("devices/controller")] == ["vmpvscsi"]


def test_more_than_26_disks_have_names_of_their_own() -> None:
    found = domain(decided(saved(pvscsi(), *(disk(2000 + unit, unit=unit) for unit in range(30)))))
    names = [one.get("dev") for one in found.findall("devices/disk/target")]
    assert names[25:28] == ["sdz", "sdaa", "sdab"]
    assert len(set(names)) == 30


def test_network_adapters_keep_their_addresses_and_are_not_connected() -> None:
    found = domain(decided(saved()))
    (card,) = found.findall("devices/interface")
    mac, link = card.find("mac"), card.find("link")
    assert mac is not None and mac.get("address") == "00:50:56:9a:10:01"
    assert link is not None and link.get("state") == "down"
