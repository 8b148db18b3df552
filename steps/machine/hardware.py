"""QEMU's arguments for a machine's hardware. Every controller and every address is written out, and nothing
is left to QEMU's defaults: a guest's devices are the same whichever version starts it."""

from __future__ import annotations

from collections.abc import Iterator

from runner.base.units import MiB
from steps.machine.controllers import UNITS
from steps.values.drill import Accelerator
from steps.values.machine import DiskController, Machine, MachineDisk

_VIDEO, _AGENT, _CONTROLLERS, _CARDS = 2, 3, 4, 12
"""Slots of the root bus; eight controllers share one, as its functions. Slots 0 and 1 hold the PC itself,
and on q35 so does slot 31."""

_HYPERV = (
    "hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-synic,hv-stimer,hv-time,hv-frequencies,"
    "hv-crash"
)
"""What Windows expects of a hypervisor; with the last one a stop screen is told with its parameters (QEMU,
docs/system/i386/hyperv.rst)."""

_ON_ERROR = "rerror=stop,werror=stop"
"""The machine stops, and QEMU says why: a guest that is told makes its own failure of it. NVMe of QEMU has no
such setting: there the guest is told."""


def hardware(machine: Machine, accelerator: Accelerator, agent: bool) -> tuple[str, ...]:
    """It refers to, and does not define: block nodes ``disk-<key>``, ``firmware-code``, ``firmware-vars``;
    network back ends ``net-<place>``, from 0; character devices ``serial``, ``firmware-log`` (BIOS alone) and
    ``agent``. For use after ``-nodefaults -no-user-config``."""
    return (
        *_board(machine),
        *("-cpu", _cpu(machine, accelerator)),
        *("-smp", f"cpus={machine.cpus},sockets=1,cores={machine.cpus},threads=1"),
        *("-m", f"size={machine.memory // MiB}M"),
        *("-rtc", f"base={'localtime' if machine.local_time else 'utc'},clock=host"),
        *(("-uuid", machine.uuid) if machine.uuid else ()),
        *("-boot", "strict=on"),
        *_devices(_fixed(machine, agent)),
        *_devices(_disks(machine)),
        *_devices(_cards(machine)),
    )


def _devices(devices: Iterator[str]) -> Iterator[str]:
    for device in devices:
        yield from ("-device", device)


def _board(machine: Machine) -> Iterator[str]:
    secure = machine.firmware == "efi-secure"
    words = [machine.board, "vmport=off", "usb=off", f"smm={'on' if secure else 'off'}"]
    if machine.firmware != "bios":
        words += ["pflash0=firmware-code", "pflash1=firmware-vars"]
    yield from ("-machine", ",".join(words))
    if machine.board == "q35":  # else Linux takes the names of slots from ACPI, where all of them are 0
        yield from ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")
    if secure:  # else the guest writes to the variables, or sleeps (S3), past the firmware (OVMF's README)
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
        yield from ("-global", "ICH9-LPC.disable_s3=1")


def _cpu(machine: Machine, accelerator: Accelerator) -> str:
    if accelerator == "kvm":
        return f"host,{_HYPERV}" if machine.local_time else "host"
    # Older models are no cheaper: Linux guards an Intel of that age against Meltdown, and each system call
    # then empties TCG's address cache (boot and a hundred commands: Nehalem 20 CPU seconds, with nopti 11,
    # this one 12.5; QEMU 7.2). And what was built for x86-64-v3, such as RHEL 10, starts on this one alone.
    return "max"


def _fixed(machine: Machine, agent: bool) -> Iterator[str]:
    yield f"VGA,id=video,addr={_VIDEO:#x}"
    yield "isa-serial,id=serial,chardev=serial,index=0"
    yield "pvpanic"
    if machine.firmware == "bios":
        yield "isa-debugcon,iobase=0x402,chardev=firmware-log"
    if agent:
        yield f"virtio-serial-pci,id=agent-bus,addr={_AGENT:#x}"
        yield "virtserialport,bus=agent-bus.0,chardev=agent,name=org.qemu.guest_agent.0"


def _disks(machine: Machine) -> Iterator[str]:
    for place, (kind, bus) in enumerate(_controllers(machine)):
        slot, function = divmod(place, 8)
        at = f"addr={_CONTROLLERS + slot:#x}.{function}" + (",multifunction=on" if function == 0 else "")
        serial = f",serial=nvme{bus}" if kind == "nvme" else ""
        yield f"{kind},id={kind}-{bus},{at}{serial}"
    for disk in machine.disks:
        boot = "" if disk.boot is None else f",bootindex={disk.boot}"
        yield f"{_attached(disk)},id=drive-{disk.key},drive=disk-{disk.key}{boot}"


def _controllers(machine: Machine) -> tuple[tuple[DiskController, int], ...]:
    """The board's own IDE controller is not among them."""
    kinds = list(UNITS)
    found = {(disk.controller, disk.bus) for disk in machine.disks if disk.controller != "piix3-ide"}
    return tuple(sorted(found, key=lambda one: (kinds.index(one[0]), one[1])))


def _attached(disk: MachineDisk) -> str:
    bus = f"{disk.controller}-{disk.bus}"
    match disk.controller:
        case "pvscsi" | "mptsas1068" | "lsi53c895a":
            return f"scsi-hd,bus={bus}.0,channel=0,scsi-id={disk.unit},lun=0,wwn={_wwn(disk):#x},{_ON_ERROR}"
        case "ich9-ahci":
            return f"ide-hd,bus={bus}.{disk.unit},{_ON_ERROR}"
        case "piix3-ide":
            return f"ide-hd,bus=ide.{disk.bus},unit={disk.unit},{_ON_ERROR}"
        case "nvme":
            return f"nvme-ns,bus={bus},nsid={disk.unit + 1}"


def _wwn(disk: MachineDisk) -> int:
    """A name of VMware's kind. On a SAS controller it is the disk's address too: without one that is 0, and
    Linux finds no disk there (mptsas of Linux 6.1, tried)."""
    return 0x5000C29000000000 + (disk.key & 0xFFFFFFFF)


def _cards(machine: Machine) -> Iterator[str]:
    for place, card in enumerate(machine.cards):
        at = f"addr={_CARDS + place:#x}"
        if machine.board == "q35":
            slot, function = divmod(place, 8)
            port = f"addr={_CARDS + slot:#x}.{function}" + (",multifunction=on" if function == 0 else "")
            number = place if card.slot is None else card.slot
            yield f"pcie-root-port,id=port-{place},chassis={place + 1},slot={number},{port}"
            at = f"bus=port-{place},addr=0x0"
        # Without its ROM no card is booted from, and no package of ROMs is needed.
        yield f"{card.model},id=card-{place},netdev=net-{place},mac={card.mac},{at},romfile="
