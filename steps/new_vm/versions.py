"""The virtual hardware of a restored VM: as it was, or the newest that can be made where that is too new."""

from __future__ import annotations

import re
from collections.abc import Sequence

from steps.saved_vm.configuration import Saved, part, text
from steps.vsphere.vm_spec import Change, NewDevice, NewDisk

_NUMBER = re.compile(r"vmx-(\d+)")


def decide(
    saved: Saved,
    there: Sequence[str],
    disks: Sequence[NewDisk],
    devices: Sequence[NewDevice],
    problems: list[str],
) -> tuple[str, Change]:
    """`there`: versions in which VMs can be made; none where that is not known, and then it stays."""
    was = text(saved.json, "version")
    fits = [one for one in there if number(one) <= number(was)]
    if not there or not number(was) or number(was) in map(number, there):
        return was, Change(what="virtual hardware", was=was, becomes=was, kind="kept")
    if not fits:
        oldest = min(there, key=number)
        why = f"no host there makes one as old as {was}"
        return oldest, Change(
            what="virtual hardware", was=was, becomes=oldest, why=why, kind="changed", warn=True
        )
    becomes = max(fits, key=number)
    for what, least in _wants(saved, disks, devices):
        if number(becomes) < least:
            problems.append(
                f"{what} takes virtual hardware vmx-{least}, and no host there makes newer than {becomes}: "
                "name another host or cluster, or restore its disks as files, with `--to`"
            )
    why = "no host there makes one as new: the guest finds older devices"
    return becomes, Change(
        what="virtual hardware", was=was, becomes=becomes, why=why, kind="changed", warn=True
    )


def _wants(saved: Saved, disks: Sequence[NewDisk], devices: Sequence[NewDevice]) -> list[tuple[str, int]]:
    """What was not there in every version, and since which (VMware, "Hardware Features Available with Virtual
    Machine Compatibility Settings")."""
    types = {device.key: device.type for device in devices}
    found = (
        [("secure boot", 13)] if part(saved.json, "bootOptions").get("efiSecureBootEnabled") is True else []
    )
    if saved.firmware == "efi":
        found.append(("EFI", 8))
    for key, type_ in types.items():
        if type_ == "VirtualNVMEController":
            found.append((f"NVMe controller {key}", 13))
        elif type_ == "VirtualAHCIController":
            found.append((f"SATA controller {key}", 10))
    for disk in disks:
        on = types.get(disk.controller, "")
        if on == "ParaVirtualSCSIController" and disk.unit > 15:
            found.append((f"{disk.label} at unit {disk.unit}", 14))
        elif on == "VirtualNVMEController" and disk.unit > 14:
            found.append((f"{disk.label} at unit {disk.unit}", 21))
    return found


def number(version: str) -> int:
    """19 of ``vmx-19``; 0 of anything else."""
    found = _NUMBER.fullmatch(version)
    return int(found[1]) if found else 0
