"""What is no device: processors, memory, firmware, flags, and the advanced settings. What belongs to the old
host or to the old VM stays behind."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from pydantic import JsonValue

from runner.base.units import MiB, human_bytes
from steps.new_vm.devices import some
from steps.saved_vm.configuration import Json, Saved, number, part, text
from steps.vsphere.vm_spec import Change

_AS_SAVED = (
    "guestId",
    "alternateGuestName",
    "cpuHotAddEnabled",
    "cpuHotRemoveEnabled",
    "memoryHotAddEnabled",
    "swapPlacement",
    "firmware",
    "maxMksConnections",
    "guestAutoLockEnabled",
    "memoryReservationLockedToMax",
    "nestedHVEnabled",
    "vPMCEnabled",
    "messageBusTunnelEnabled",
    "rebootPowerOff",
    "vmxStatsCollectionEnabled",
    "vmOpNotificationToAppEnabled",
    "vmOpNotificationTimeout",
)
"""Of ConfigInfo, under the same names in ConfigSpec."""

_OF_HARDWARE = {
    "numCPU": "numCPUs",
    "numCoresPerSocket": "numCoresPerSocket",
    "memoryMB": "memoryMB",
    "virtualICH7MPresent": "virtualICH7MPresent",
    "virtualSMCPresent": "virtualSMCPresent",
    "motherboardLayout": "motherboardLayout",
    "simultaneousThreads": "simultaneousThreads",
}
"""Of VirtualHardware, and what ConfigSpec calls them."""

_FLAGS = (
    "disableAcceleration",
    "enableLogging",
    "htSharing",
    "snapshotDisabled",
    "snapshotLocked",
    "diskUuidEnabled",
    "virtualMmuUsage",
    "virtualExecUsage",
    "snapshotPowerOffBehavior",
    "cbrcCacheEnabled",
    "vvtdEnabled",
    "vbsEnabled",
)

_BOOT = (
    "bootDelay",
    "enterBIOSSetup",
    "efiSecureBootEnabled",
    "bootRetryEnabled",
    "bootRetryDelay",
    "networkBootProtocol",
)
"""The order follows once the devices have their keys: with a disk in it a creation fails (Bareos)."""

_TOOLS = (
    "afterPowerOn",
    "afterResume",
    "beforeGuestStandby",
    "beforeGuestShutdown",
    "beforeGuestReboot",
    "toolsUpgradePolicy",
    "syncTimeWithHostAllowed",
    "syncTimeWithHost",
)

_POWER = ("powerOffType", "suspendType", "resetType", "standbyAction")
_ALLOCATION = ("reservation", "expandableReservation", "limit", "shares")

_SEALED = "it seals memory with a key of the old host: switch it on again in vSphere"

_LEFT: dict[str, tuple[str, str, bool]] = {
    "cpuAffinity": ("processor affinity", "it names processors of the old host", True),
    "memoryAffinity": ("memory affinity", "it names NUMA nodes of the old host", True),
    "cpuFeatureMask": ("CPU feature mask", "it hides features of the old host's processors", True),
    "vAppConfig": (
        "OVF properties of the appliance",
        "they may hold passwords: enter them again in vSphere",
        True,
    ),
    "managedBy": ("manager of the VM", "the VM that the extension manages is the old one", False),
    "npivNodeWorldWideName": ("Fibre Channel addresses (NPIV)", "the old VM may still use them", True),
    "ftInfo": ("fault tolerance", "its secondary VM is not restored: switch it on again in vSphere", True),
    "repConfig": ("replication", "it is of the old VM: set it up again", True),
    "sevEnabled": ("AMD SEV", _SEALED, True),
    "sevSnpEnabled": ("AMD SEV-SNP", _SEALED, True),
    "sgxInfo": ("Intel SGX", _SEALED, True),
    "tdxEnabled": ("Intel TDX", _SEALED, True),
    "deviceGroups": ("device groups", "their devices are those of the old host", True),
}
"""Of ConfigInfo: what it is called, why it is left out, whether a person must know."""

_HOSTS = (
    "*.ctkenabled",
    "ctkenabled",
    "*.generatedaddress",
    "*.generatedaddressoffset",
    "*.filename",
    "*.redo",
    "ethernet*.filter*",
    "ethernet*.dvs.*",
    "checkpoint.*",
    "cleanshutdown",
    "encryption.*",
    "datafilekey",
    "vmx.encryptiontype",
    "vtpm.*",
    "guestcpuid.*",
    "hostcpuid.*",
    "usercpuid.*",
    "extendedconfigfile",
    "featmask.*",
    "migrate.*",
    "monitor.phys_bits_used",
    "numa.autosize.*",
    "nvram",
    "replay.*",
    "sched.swap.derivedname",
    "sendense.*",
    "softpoweroff",
    "uuid.*",
    "vc.uuid",
    "viv.*",
    "vmci0.id",
    "vmotion.*",
    "vmware.tools.internalversion",
    "vmware.tools.requiredversion",
    "workingdir",
)
"""Advanced settings that are the old VM's or its host's, in lower case."""


def decide(saved: Saved, version: str) -> tuple[dict[str, JsonValue], tuple[Change, ...]]:
    """Properties of ConfigSpec. `version`: the virtual hardware that the VM gets."""
    config, hardware = saved.json, part(saved.json, "hardware")
    found: dict[str, JsonValue] = {
        "version": version,
        **some(config, *_AS_SAVED),
        **{to: hardware[name] for name, to in _OF_HARDWARE.items() if name in hardware},
    }
    for name, to, kept in (
        ("flags", "flags", _FLAGS),
        ("bootOptions", "bootOptions", _BOOT),
        ("tools", "tools", _TOOLS),
        ("defaultPowerOps", "powerOpInfo", _POWER),
        ("cpuAllocation", "cpuAllocation", _ALLOCATION),
        ("memoryAllocation", "memoryAllocation", _ALLOCATION),
        ("latencySensitivity", "latencySensitivity", ("level", "sensitivity")),
    ):
        if values := some(part(config, name), *kept):
            found[to] = values
    return {name: value for name, value in found.items() if value != ""}, (*_told(saved), *_left(config))


def _told(saved: Saved) -> tuple[Change, ...]:
    hardware, boot = part(saved.json, "hardware"), part(saved.json, "bootOptions")
    cpus, cores = number(hardware, "numCPU") or 0, number(hardware, "numCoresPerSocket") or 1
    firmware = "BIOS"
    if saved.firmware == "efi":
        firmware = "EFI with secure boot" if boot.get("efiSecureBootEnabled") is True else "EFI"
    return (
        _kept("processors", f"{cpus}, {cores} per socket" if cores > 1 else str(cpus)),
        _kept("memory", human_bytes((number(hardware, "memoryMB") or 0) * MiB)),
        _kept("firmware", firmware),
        _kept("guest", text(saved.json, "guestFullName") or text(saved.json, "guestId")),
    )


def _kept(what: str, words: str) -> Change:
    return Change(what=what, was=words, becomes=words, kind="kept")


def _left(config: Json) -> tuple[Change, ...]:
    return tuple(
        Change(what=what, was="set", becomes="", why=why, kind="left out", warn=warn)
        for name, (what, why, warn) in _LEFT.items()
        if _is_set(config.get(name))
    )


def _is_set(value: JsonValue) -> bool:
    """A part with nothing but its type, or with false and nothing else in it, sets nothing."""
    if isinstance(value, dict):
        return any(_is_set(content) for name, content in value.items() if name != "_type")
    return value not in (None, False, "", [])


def advanced(saved: Saved) -> tuple[tuple[str, ...], tuple[Change, ...]]:
    """Names of the advanced settings that are kept. Names alone are told, since guests are given passwords in
    the values."""
    every = sorted(saved.extra_config)
    kept = tuple(name for name in every if not _is_of_the_host(name))
    left = [name for name in every if name not in kept]
    changes = (
        [Change(what="advanced settings", was=_count(every), becomes=_count(kept), kind="kept")]
        if kept
        else []
    )
    if left:
        changes.append(
            Change(
                what="advanced settings of the old VM",
                was=", ".join(left),
                becomes="",
                why="vSphere sets them itself, or they name files, addresses and keys of the old VM",
                kind="left out",
            )
        )
    return kept, tuple(changes)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)}"


def _is_of_the_host(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _HOSTS)
