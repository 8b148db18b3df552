"""A saved VM as a machine of QEMU, decided as a whole: pure, on what was saved and what it may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from runner.base.units import MiB, human_bytes
from steps.machine import board, boot_order, cards, devices, disks
from steps.machine.controllers import NAMES
from steps.machine.disks import DiskToBoot
from steps.saved_vm.configuration import Saved, number, part, text
from steps.values.drill import MachineLimits
from steps.values.machine import Doubt, Firmware, Machine, MachineDisk
from steps.vsphere.names import unescape
from steps.vsphere.vm_spec import Change

OTHER_NVRAM = "QEMU's firmware does not read VMware's file"

OTHER_KEYS = "the one in VMware's file is not read: what is signed with a key of the VM's own does not start"

_UNKNOWN = "it is not in the saved configuration"

PLAIN = "its copies in the repository are plain text"


def decide(
    saved: Saved, stored: Sequence[DiskToBoot], limits: MachineLimits | None, loaders: Sequence[str] = ()
) -> Machine:
    r"""`stored`: the disks that it is to have, in any order; `limits`: None lets it be as large as it was;
    `loaders`: boot loaders that the saved NVRAM names (``\EFI\debian\shimx64.efi``)."""
    firmware = _firmware(saved)
    order, of_order = boot_order.decide(saved, {disk.key: disk.label for disk in stored})
    new_disks, of_disks = disks.decide(saved, stored, order, firmware)
    plugged_into = board.decide(saved, firmware, new_disks)
    adapters, of_adapters = cards.decide(saved, plugged_into)
    memory, of_memory = _memory(saved, limits)
    cpus, of_cpus = _cpus(saved, limits)
    guest = text(saved.json, "guestId")
    return Machine(
        name=unescape(text(saved.json, "name")),
        uuid=_uuid(saved),
        guest=guest,
        firmware=firmware,
        memory=memory,
        cpus=cpus,
        disks=new_disks,
        cards=adapters,
        board=plugged_into,
        local_time=guest.startswith("win"),
        loaders=tuple(loaders),
        changes=(
            *of_memory,
            *of_cpus,
            *_nvram(firmware, loaders),
            *of_order,
            *of_disks,
            *of_adapters,
            *_encryption(saved),
            *devices.left_out(saved),
        ),
        doubts=(*_of_drivers(new_disks), *_of_memory(of_memory)),
    )


def _of_drivers(new_disks: Sequence[MachineDisk]) -> Iterator[Doubt]:
    """An initramfs made for one machine, and a Windows, have the driver of their own controller alone."""
    for disk in new_disks:
        if disk.instead_of:
            moved = f"{disk.label} is on {NAMES[disk.controller]} here ({disk.instead_of} in its VM)"
            why = f"{moved}, whose driver the guest may lack: restore it into vCenter to know"
            yield Doubt(kind="driver", why=why)


def _of_memory(changes: Sequence[Change]) -> Iterator[Doubt]:
    """A database that keeps most of its memory in huge pages leaves the rest of a smaller machine none."""
    for change in changes:
        had = f" ({change.was} in its VM)" if change.was else ""
        why = f"it has {change.becomes} of memory here{had}: raise `limits.memory`"
        yield Doubt(kind="memory", why=why)


def _uuid(saved: Saved) -> str:
    """Empty for what is none."""
    try:
        return str(UUID(text(saved.json, "uuid")))
    except ValueError:
        return ""


def _firmware(saved: Saved) -> Firmware:
    if saved.firmware != "efi":
        return "bios"
    secure = part(saved.json, "bootOptions").get("efiSecureBootEnabled") is True
    return "efi-secure" if secure else "efi"


def _memory(saved: Saved, limits: MachineLimits | None) -> tuple[int, tuple[Change, ...]]:
    """Whole MiB, as QEMU counts it."""
    had = (number(part(saved.json, "hardware"), "memoryMB") or 0) * MiB
    most = max(MiB, (limits or MachineLimits()).memory // MiB * MiB)
    if had > 0 and (limits is None or had <= most):
        return had, ()
    was, why = (human_bytes(had), "more is not allowed here: `limits.memory`") if had > 0 else ("", _UNKNOWN)
    return most, (
        Change(what="memory", was=was, becomes=human_bytes(most), why=why, kind="changed", warn=True),
    )


def _cpus(saved: Saved, limits: MachineLimits | None) -> tuple[int, tuple[Change, ...]]:
    had = number(part(saved.json, "hardware"), "numCPU") or 0
    most = (limits or MachineLimits()).cpus
    if had > 0 and (limits is None or had <= most):
        return had, ()
    was, why = (str(had), "more are not allowed here: `limits.cpus`") if had > 0 else ("", _UNKNOWN)
    return most, (Change(what="number of CPUs", was=was, becomes=str(most), why=why, kind="changed"),)


def _nvram(firmware: Firmware, loaders: Sequence[str]) -> tuple[Change, ...]:
    if firmware == "bios":
        return ()
    entries = f"boot entries for {', '.join(loaders) or 'usual boot loaders'}"
    new = Change(
        what="NVRAM", was="VMware's", becomes=f"a new one, with {entries}", why=OTHER_NVRAM, kind="changed"
    )
    if firmware == "efi":
        return (new,)
    keys = Change(
        what="secure boot's key database",
        was="the VM's",
        becomes="Microsoft's",
        why=OTHER_KEYS,
        kind="changed",
    )
    return (new, keys)


def _encryption(saved: Saved) -> tuple[Change, ...]:
    if not saved.encrypted and all(disk.base.get("keyId") is None for disk in saved.disks):
        return ()
    return (Change(what="encryption", was="encrypted", becomes="plain text", why=PLAIN, kind="changed"),)
