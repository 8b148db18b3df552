"""A machine as a domain of libvirt, for a KVM host that is to run the VM, not to drill it.

Its disks are files of its own, as a restore writes them: libvirt would write beside a point's images
(``<transient/>``) and give them another owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from runner.base.printable import printable
from runner.base.units import KiB
from steps.values.machine import DiskController, Machine, MachineDisk

_SCSI: Mapping[DiskController, str] = {
    "pvscsi": "vmpvscsi",
    "mptsas1068": "lsisas1068",
    "lsi53c895a": "lsilogic",
}
"""libvirt's names of these (formatdomain, "Controllers")."""

_AHCI_PORTS = 6

_HYPERV: Mapping[str, Mapping[str, str]] = {
    "relaxed": {},
    "vapic": {},
    "spinlocks": {"retries": "8191"},
    "vpindex": {},
    "runtime": {},
    "synic": {},
    "stimer": {},
    "frequencies": {},
}

DISKS_NVME = "libvirt before 11.5 knows no NVMe disks of its own: they are on SATA here"
NO_LINK = (
    "network adapters keep their MAC addresses and are not connected: give each its network, and "
    "<link state='up'/>. Linux may name them otherwise than VMware's slots did (ens192)"
)
NO_ENTRIES = (
    r"the EFI variables are new: a guest whose boot loader is not \EFI\BOOT\BOOTX64.EFI is started once by "
    "hand, from the firmware's menu"
)


def xml(machine: Machine, disks: Mapping[int, str], notes: Sequence[str] = ()) -> str:
    """A document for ``virsh define``. `disks`: absolute paths of their qcow2 files on the KVM host, by key;
    `notes`: sentences for its description, above what was changed."""
    domain = Element("domain", type="kvm")
    _text(domain, "name", _name(machine.name))
    if machine.uuid:
        _text(domain, "uuid", machine.uuid)
    # No comment, which could not hold two hyphens; and `virsh desc` shows it later as well.
    said = "".join(f"    {printable(note)}\n" for note in (*notes, *_notes(machine)))
    _text(domain, "description", f"\n{said}  ")
    _text(domain, "memory", str(machine.memory // KiB), unit="KiB")
    _text(domain, "vcpu", str(machine.cpus))
    _boot(domain, machine)
    _features(domain, machine)
    SubElement(domain, "cpu", mode="host-passthrough")
    SubElement(domain, "clock", offset="localtime" if machine.local_time else "utc")
    # A crash stays on the screen, to be read.
    _text(domain, "on_crash", "preserve")
    _devices(SubElement(domain, "devices"), machine, disks)
    ElementTree.indent(domain)
    return f"{ElementTree.tostring(domain, encoding='unicode')}\n"


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text


def _name(name: str) -> str:
    """libvirt takes no slash and no line break in a name, and none that is empty."""
    return printable(name).replace("/", "-").strip() or "restored"


def _notes(machine: Machine) -> Iterator[str]:
    if any(disk.controller == "nvme" for disk in machine.disks):
        yield DISKS_NVME
    if machine.cards:
        yield NO_LINK
    if machine.firmware != "bios":
        yield NO_ENTRIES
    yield from (change.sentence for change in machine.changes)


def _boot(domain: Element, machine: Machine) -> None:
    """With EFI the host's own firmware is taken, whatever it calls the file."""
    efi = machine.firmware != "bios"
    found = SubElement(domain, "os", {"firmware": "efi"} if efi else {})
    _text(found, "type", "hvm", arch="x86_64", machine=machine.board)
    if not efi:
        return
    secure = machine.firmware == "efi-secure"
    firmware = SubElement(found, "firmware")
    for name in ("secure-boot", "enrolled-keys"):
        SubElement(firmware, "feature", enabled="yes" if secure else "no", name=name)
    if secure:
        SubElement(found, "loader", secure="yes")


def _features(domain: Element, machine: Machine) -> None:
    found = SubElement(domain, "features")
    SubElement(found, "acpi")
    SubElement(found, "apic")
    if machine.local_time:
        hyperv = SubElement(found, "hyperv")
        for name, more in _HYPERV.items():
            SubElement(hyperv, name, {"state": "on", **more})
    if machine.firmware == "efi-secure":
        SubElement(found, "smm", state="on")


def _devices(devices: Element, machine: Machine, disks: Mapping[int, str]) -> None:
    places = _places(machine)
    letters: dict[str, int] = {}
    for disk in machine.disks:
        bus, controller, unit = places[disk.key]
        _disk(devices, disk, disks[disk.key], bus, letters)
        _address(devices[-1], disk, bus, controller, unit)
    for kind, index, model in sorted({*_controllers(machine, places)}):
        made = SubElement(devices, "controller", type=kind, index=str(index))
        if model:
            made.set("model", model)
    for card in machine.cards:
        made = SubElement(devices, "interface", type="user")
        SubElement(made, "mac", address=card.mac)
        SubElement(made, "model", type=card.model)
        SubElement(made, "link", state="down")
    port = SubElement(devices, "serial", type="pty")
    SubElement(port, "target", port="0")
    agent = SubElement(devices, "channel", type="unix")
    SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    screen = SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes")
    SubElement(screen, "listen", type="address", address="127.0.0.1")
    SubElement(SubElement(devices, "video"), "model", type="vga")
    SubElement(devices, "memballoon", model="none")
    if machine.board == "pc":
        SubElement(devices, "panic", model="isa")


def _places(machine: Machine) -> dict[int, tuple[str, int, int]]:
    """Key → bus in libvirt's words, its controller and the unit there: SCSI controllers are counted together,
    whatever their models."""
    kinds = list(_SCSI)
    used = {(kinds.index(one.controller), one.bus) for one in machine.disks if one.controller in _SCSI}
    scsi = [(kinds[kind], bus) for kind, bus in sorted(used)]
    sata = sorted((one.controller, one.bus, one.unit, one.key) for one in machine.disks if _is_sata(one))
    found: dict[int, tuple[str, int, int]] = {}
    for disk in machine.disks:
        if disk.controller in _SCSI:
            found[disk.key] = "scsi", scsi.index((disk.controller, disk.bus)), disk.unit
        elif disk.controller == "piix3-ide":
            found[disk.key] = "ide", disk.bus, disk.unit
    for place, (*_, key) in enumerate(sata):
        found[key] = "sata", *divmod(place, _AHCI_PORTS)
    return found


def _is_sata(disk: MachineDisk) -> bool:
    return disk.controller in ("ich9-ahci", "nvme")


def _controllers(
    machine: Machine, places: Mapping[int, tuple[str, int, int]]
) -> Iterator[tuple[str, int, str]]:
    for disk in machine.disks:
        bus, controller, _ = places[disk.key]
        if bus != "ide":
            yield bus, controller, _SCSI.get(disk.controller, "")


def _disk(devices: Element, disk: MachineDisk, path: str, bus: str, letters: dict[str, int]) -> None:
    made = SubElement(devices, "disk", type="file", device="disk")
    SubElement(made, "driver", name="qemu", type="qcow2")
    SubElement(made, "source", file=path)
    prefix = "hd" if bus == "ide" else "sd"
    place = letters[prefix] = letters.get(prefix, -1) + 1
    SubElement(made, "target", dev=f"{prefix}{_letters(place)}", bus=bus)
    if disk.boot is not None:
        SubElement(made, "boot", order=str(disk.boot + 1))


def _letters(place: int) -> str:
    """a, b, … z, aa, ab …"""
    found = ""
    while place >= 0:
        found = chr(ord("a") + place % 26) + found
        place = place // 26 - 1
    return found


def _address(made: Element, disk: MachineDisk, bus: str, controller: int, unit: int) -> None:
    """libvirt counts what is on a controller of LSI Logic by units, on other SCSI ones by targets, and IDE's
    two channels as buses of one controller."""
    place = {"controller": str(controller), "bus": "0", "target": "0", "unit": str(unit)}
    if bus == "ide":
        place |= {"controller": "0", "bus": str(controller)}
    elif bus == "scsi" and disk.controller != "lsi53c895a":
        place |= {"target": str(unit), "unit": "0"}
    if disk.controller == "mptsas1068":
        SubElement(made, "wwn").text = f"{0x5000C29000000000 + (disk.key & 0xFFFFFFFF):016x}"
    SubElement(made, "address", {"type": "drive", **place})
