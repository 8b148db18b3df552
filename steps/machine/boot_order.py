"""Which disks the firmware tries, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from steps.machine.controllers import PREFIXES
from steps.saved_vm.configuration import Device, Saved, number, part, parts, text
from steps.vsphere.vm_spec import Change

_PLACE = re.compile(r"([a-z]+)(\d{1,4}):(\d{1,4})")

DISKS_ONLY = "only disks are booted here: there is no network, and drives are empty"


def decide(saved: Saved, labels: Mapping[int, str]) -> tuple[tuple[int, ...], tuple[Change, ...]]:
    """Keys, first first. `labels`: of the disks that there are, by key. As `bootOptions.bootOrder` says; else
    as the advanced setting ``bios.hddOrder`` does; else the first disk alone, by its key, which sorts SCSI
    before IDE, SATA and NVMe (that VMware's firmware does so is assumed)."""
    told = tuple(parts(part(saved.json, "bootOptions"), "bootOrder"))
    wanted = [number(one, "deviceKey") for one in told if text(one, "_type") == "BootableDiskDevice"]
    ordered = _there(wanted, labels) or _there(_hdd_order(saved), labels)
    order = ordered or tuple(sorted(labels))[:1]
    words = [_words(saved, one, labels) for one in told]
    becomes = ", ".join(labels[key] for key in order)
    if not told or ", ".join(words) == becomes:
        return order, ()
    why = DISKS_ONLY if ordered else "the disk that it names is not here: the first one is tried"
    change = Change(
        what="boot order",
        was=", ".join(words),
        becomes=becomes,
        why=why,
        kind="changed" if becomes else "left out",
        warn=not ordered,
    )
    return order, (change,)


def _there(wanted: Sequence[int | None], labels: Mapping[int, str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(key for key in wanted if key in labels and key is not None))


def _words(saved: Saved, entry: Mapping[str, object], labels: Mapping[int, str]) -> str:
    key = entry.get("deviceKey")
    if isinstance(key, int) and (key in labels or saved.device(key) is not None):
        device = saved.device(key)
        return labels.get(key) or (device.label if device is not None else "")
    return str(entry.get("_type", "")).removeprefix("Bootable").removesuffix("Device")


def _hdd_order(saved: Saved) -> list[int | None]:
    """Of ``scsi0:1,ide0:0``."""
    places = {place: disk.key for place, disk in _places(saved)}
    value = saved.extra_config.get("bios.hddOrder", "")
    return [places.get((kind, int(bus), int(unit))) for kind, bus, unit in _PLACE.findall(value.lower())]


def _places(saved: Saved) -> Iterator[tuple[tuple[str, int, int], Device]]:
    for disk in saved.disks:
        controller = saved.device(disk.controller)
        if controller is not None and controller.type in PREFIXES and disk.unit is not None:
            bus = number(controller.json, "busNumber") or 0
            yield (PREFIXES[controller.type], bus, disk.unit), disk
