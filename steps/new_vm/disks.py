"""The disks of a restored VM: those of the restore point that are wanted, where they hung and on the
datastores that they go to."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from runner.base.units import human_bytes
from steps.new_vm.options import NewVmOptions
from steps.new_vm.placement import Placement, store
from steps.saved_vm.configuration import Device, Saved, datastore_of, number, text
from steps.values.stored_point import StoredDisk
from steps.vsphere.names import unescape
from steps.vsphere.vm_spec import OWN_CONTROLLERS, Change, NewDevice, NewDisk

MODES = ("persistent", "independent_persistent", "independent_nonpersistent")


def decide(
    saved: Saved,
    stored: Sequence[StoredDisk],
    in_point: Container[int],
    controllers: Sequence[NewDevice],
    options: NewVmOptions,
    placement: Placement | None,
    problems: list[str],
) -> tuple[tuple[NewDisk, ...], tuple[Change, ...]]:
    """In key order. `stored`: those that are wanted, `in_point`: keys of all that the point has. Without a
    placement the datastores are empty, and nothing is made of them."""
    by_key = {disk.key: disk for disk in stored}
    _refuse_unknown(by_key, options, problems)
    disks, changes = [], []
    for device in sorted(saved.disks, key=lambda one: one.key):
        wanted = by_key.pop(device.key, None)
        if wanted is None:
            changes.append(_left_out(device, in_point))
            continue
        disk = _disk(device, wanted, controllers, options, placement, problems)
        if disk is not None:
            disks.append(disk)
            changes.append(_change(saved, device, disk))
    for missing in by_key.values():
        problems.append(
            f"{missing.label} (disk {missing.key}) is in the restore point, but not in its saved "
            "configuration: restore it as a file, with `--to`"
        )
    return tuple(disks), tuple(changes)


def _refuse_unknown(by_key: Mapping[int, StoredDisk], options: NewVmOptions, problems: list[str]) -> None:
    for key in sorted(options.datastores.keys() - by_key.keys()):
        have = ", ".join(map(str, sorted(by_key)))
        problems.append(f"a datastore is named for disk {key}, which is not restored; restored are {have}")


def _left_out(device: Device, in_point: Container[int]) -> Change:
    size = number(device.json, "capacityInBytes") or 1024 * (number(device.json, "capacityInKB") or 0)
    unasked = device.key in in_point
    return Change(
        what=device.label,
        was=f"{human_bytes(size)} on {_datastore(device)}",
        becomes="",
        why="it was not asked for" if unasked else "it is not in the restore point",
        kind="left out",
        warn=not unasked,
    )


def _disk(
    device: Device,
    stored: StoredDisk,
    controllers: Sequence[NewDevice],
    options: NewVmOptions,
    placement: Placement | None,
    problems: list[str],
) -> NewDisk | None:
    controller, unit = device.controller, device.unit
    known = controller in OWN_CONTROLLERS or any(one.key == controller for one in controllers)
    if controller is None or unit is None or not known:
        problems.append(
            f"{device.label} is attached to a controller that is not restored ({controller}): leave the disk "
            "out with `--disk`, or restore it as a file with `--to`"
        )
        return None
    base = datastore_of(text(device.base, "fileName"))
    wanted = options.datastores.get(device.key) or options.datastore or base
    found = store(placement, wanted, device.label, problems) if placement is not None else None
    mode = text(device.backing, "diskMode")
    thin = {"saved": was_thin(device), "thin": True, "thick": False}[options.provisioning]
    return NewDisk(
        key=device.key,
        label=device.label,
        capacity=stored.capacity,
        controller=controller,
        unit=unit,
        datastore=found.name if found is not None else "",
        mode=mode if mode in MODES else "persistent",
        thin=thin,
        eager=options.provisioning == "saved" and not thin and device.base.get("eagerlyScrub") is True,
    )


def was_thin(device: Device) -> bool:
    """A raw device was neither: what it becomes is thin."""
    return (
        _is_raw(device)
        or device.base.get("thinProvisioned") is True
        or "Flat" not in text(device.base, "_type")
    )


def _datastore(device: Device) -> str:
    return unescape(datastore_of(text(device.base, "fileName"))) or "no datastore"


def _is_raw(device: Device) -> bool:
    return text(device.base, "_type").startswith("Raw")


def _change(saved: Saved, device: Device, disk: NewDisk) -> Change:
    size, now = human_bytes(disk.capacity), unescape(disk.datastore) or "its datastore"
    kind = (
        "raw device mapping"
        if _is_raw(device)
        else _kind(thin=was_thin(device), eager=device.base.get("eagerlyScrub") is True)
    )
    was = f"{size}, {kind}, on {_datastore(device)}"
    becomes = f"{size}, {_kind(thin=disk.thin, eager=disk.eager)}, on {now}"
    if device.base.get("keyId") is not None:
        was = f"{was}, encrypted"
    if was == becomes:
        return Change(what=disk.label, was=was, becomes=becomes, kind="kept")
    why, warn = "", False
    if _is_raw(device):
        why, warn = "the LUN itself is left alone: its content becomes a file", True
    elif device.base.get("keyId") is not None:
        why, warn = "the copy in the repository is plain text, and so is the new disk", True
    return Change(what=disk.label, was=was, becomes=becomes, why=why, kind="changed", warn=warn)


def _kind(*, thin: bool, eager: bool) -> str:
    return "thin" if thin else "thick, zeroed" if eager else "thick"
