"""What a guest needs to boot, and what a key seals: NVRAM, boot order, virtual TPM, encryption."""

from __future__ import annotations

from collections.abc import Container, Sequence

from steps.new_vm.options import NewVmOptions
from steps.saved_vm.configuration import Json, Saved, number, part, parts, text
from steps.saved_vm.kinds import TPM
from steps.vsphere.vm_spec import Boot, Change, NewDevice, NewDisk

TPM_LOST = (
    "the guest finds no TPM: BitLocker asks for its recovery key, and what else was sealed with it is lost"
)

PLAIN = "its copies in the repository are plain text, and so is the new VM: encrypt it again in vSphere"

ENCRYPTED_NVRAM = "it is encrypted with the old VM's key: the firmware begins with a new one"

NO_NVRAM = (
    "the restore point has none: the firmware begins with a new one, and the guest may not boot by itself"
)


def boot_order(
    saved: Saved, made: Sequence[NewDevice], new_disks: Sequence[NewDisk]
) -> tuple[tuple[Boot, ...], tuple[Change, ...]]:
    there = {*(one.key for one in made), *(one.key for one in new_disks)}
    order: list[Boot] = []
    words: list[str] = []
    lost: list[str] = []
    for entry in parts(part(saved.json, "bootOptions"), "bootOrder"):
        found = _boot(entry, there)
        device = saved.device(number(entry, "deviceKey"))
        kind = text(entry, "_type").removeprefix("Bootable").removesuffix("Device")
        (words if found is not None else lost).append(kind if device is None else device.label)
        order += [] if found is None else [found]
    if not order and not lost:
        return (), ()
    change = Change(
        what="boot order",
        was=", ".join((*words, *lost)),
        becomes=", ".join(words),
        why=f"{', '.join(lost)} is not restored" if lost else "",
        kind="changed" if lost else "kept",
        warn=bool(lost),
    )
    return tuple(order), (change,)


def _boot(entry: Json, there: Container[int]) -> Boot | None:
    """None of a device that is not restored."""
    key = number(entry, "deviceKey")
    match text(entry, "_type"):
        case "BootableDiskDevice" if key in there:
            return "disk", key
        case "BootableEthernetDevice" if key in there:
            return "ethernet", key
        case "BootableCdromDevice":
            return "cdrom", None
        case "BootableFloppyDevice":
            return "floppy", None
        case _:
            return None


def nvram(saved: Saved, *, is_there: bool) -> tuple[bool, tuple[Change, ...]]:
    efi = saved.firmware == "efi"
    if is_there and saved.encrypted:
        lost = Change(what="NVRAM", was="saved", becomes="", why=ENCRYPTED_NVRAM, kind="left out", warn=efi)
        return False, (lost,)
    if is_there:
        return True, (Change(what="NVRAM", was="saved", becomes="restored before power-on", kind="kept"),)
    if not efi:
        return False, ()
    return False, (
        Change(what="NVRAM", was="not saved", becomes="", why=NO_NVRAM, kind="left out", warn=True),
    )


def _sealed_with(saved: Saved) -> list[str]:
    """What of it takes a key."""
    found = [device.label for device in saved.devices if device.type == TPM]
    if saved.encrypted or any(disk.base.get("keyId") is not None for disk in saved.disks):
        found.append("encryption")
    return found


def refuse_sealed(saved: Saved, options: NewVmOptions, problems: list[str]) -> None:
    sealed = _sealed_with(saved)
    if not sealed or options.tpm == "omit":
        return
    lost = TPM_LOST if any(one.type == TPM for one in saved.devices) else PLAIN
    problems.append(
        f"the VM had {' and '.join(sealed)}, whose keys are in no backup: `--tpm omit` restores it without, "
        f"in plain text; {lost}"
    )


def sealed(saved: Saved) -> tuple[Change, ...]:
    changes = [
        Change(what=device.label, was="virtual TPM", becomes="", why=TPM_LOST, kind="left out", warn=True)
        for device in saved.devices
        if device.type == TPM
    ]
    if saved.encrypted:
        changes.append(
            Change(
                what="encryption", was="encrypted", becomes="plain text", why=PLAIN, kind="changed", warn=True
            )
        )
    return tuple(changes)
