"""What a restored VM is to be, decided as a whole: pure, on what was saved, what was asked for and what the
vCenter has."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from runner.base.units import human_bytes
from steps.new_vm import cards, devices, disks, firmware, identity, settings, versions
from steps.new_vm.options import NewVmOptions
from steps.new_vm.placement import Placement, store
from steps.new_vm.saved_inventory import SavedInventory
from steps.saved_vm.configuration import Saved
from steps.values.stored_point import StoredDisk
from steps.vsphere.names import unescape
from steps.vsphere.taken import Taken
from steps.vsphere.vm_spec import Change, NewDisk, NewMachine


@dataclass(frozen=True)
class Point:
    """What is restored."""

    vm: str
    """The VM's name when the point was made."""
    path: str
    """Its inventory path then."""
    instance_uuid: str
    bios_uuid: str
    disks: Sequence[StoredDisk]
    """Those that are wanted."""
    all_disks: Container[int]
    """Keys of all that it has."""
    nvram: bool
    """Whether it has the VM's NVRAM file."""


@dataclass(frozen=True)
class Destination:
    """Where the VM goes, and what the vCenter has there."""

    placement: Placement | None
    holder: str = ""
    """What has the wanted name in the folder already."""
    versions: Sequence[str] = ()
    """Of virtual hardware, in which VMs can be made; none: unknown."""
    taken: Taken | None = None
    """None: the VM gets a new identity."""


@dataclass(frozen=True)
class Decided:
    machine: NewMachine | None
    """None where there are problems."""
    changes: tuple[Change, ...]
    problems: tuple[str, ...]
    """Why no VM can be made, in sentences."""


def decide(
    saved: Saved, point: Point, inventory: SavedInventory, options: NewVmOptions, destination: Destination
) -> Decided:
    problems: list[str] = []
    name = options.name or point.vm
    placement = destination.placement
    _refuse_taken(name, destination, problems)
    others, of_devices = devices.others(saved)
    adapters, on_networks = cards.decide(
        saved, options.networks, inventory.saved.networks, destination.taken, placement, problems
    )
    new_disks, of_disks = disks.decide(
        saved, point.disks, point.all_disks, others, options, placement, problems
    )
    hardware, version = versions.decide(saved, destination.versions, new_disks, others, problems)
    properties, of_settings = settings.decide(saved, hardware)
    uuids, of_identity = identity.uuids(point.instance_uuid, point.bios_uuid, destination.taken)
    extra, of_extra = settings.advanced(saved)
    order, of_boot = firmware.boot_order(saved, (*others, *adapters), new_disks)
    nvram, of_nvram = firmware.nvram(saved, is_there=point.nvram)
    home = _home(saved, new_disks, options, placement, problems)
    firmware.refuse_sealed(saved, options, problems)
    _refuse_full(placement, new_disks, point.disks, problems)
    changes = (
        *_place(point, name, placement),
        *of_identity,
        version,
        *of_settings,
        *of_devices,
        *of_disks,
        *on_networks,
        *firmware.sealed(saved),
        *of_nvram,
        *of_boot,
        *_tracking(saved),
        *of_extra,
        *_notes(saved),
        *inventory.changes,
    )
    if problems or placement is None or home is None:
        return Decided(None, changes, tuple(problems))
    machine = NewMachine(
        name=name,
        datacenter=placement.folder.datacenter,
        folder=placement.folder.moref,
        pool=placement.pool.moref,
        host=None if placement.host is None else placement.host.moref,
        datastore=home,
        disks=new_disks,
        devices=(*others, *adapters),
        settings={**properties, **uuids},
        extra_config=extra,
        boot_order=order,
        nvram=nvram,
        change_tracking=saved.json.get("changeTrackingEnabled") is True,
        attributes=inventory.kept_attributes,
        tags=tuple(inventory.tags),
    )
    return Decided(machine, changes, ())


def _refuse_taken(name: str, there: Destination, problems: list[str]) -> None:
    if there.holder and there.placement is not None:
        problems.append(
            f"the folder {unescape(there.placement.folder.path)} already has a {there.holder} called {name}, "
            "which is left alone: choose another name or folder with `--name` or `--folder`"
        )


def _place(point: Point, name: str, placement: Placement | None) -> tuple[Change, ...]:
    found = [_compared("name", point.vm, name)]
    if placement is not None:
        found.append(_compared("folder", point.path.rpartition("/")[0], placement.folder.path))
        runs_on = f"{placement.pool.path}{_host(placement)}"
        found.append(Change(what="runs on", was="not recorded", becomes=runs_on, kind="changed"))
    return tuple(found)


def _host(placement: Placement) -> str:
    return f", host {placement.host.name}" if placement.host is not None else ""


def _compared(what: str, was: str, becomes: str, why: str = "") -> Change:
    return Change(what=what, was=was, becomes=becomes, why=why, kind="kept" if was == becomes else "changed")


def _home(
    saved: Saved,
    new_disks: Sequence[NewDisk],
    options: NewVmOptions,
    placement: Placement | None,
    problems: list[str],
) -> str | None:
    """The datastore of the VM's own files: the first disk's where the one that they were on is not there."""
    if placement is None:
        return None
    there = {unescape(one.name) for one in placement.stores if not one.why_not}
    wanted = options.datastore or saved.home
    if not options.datastore and unescape(wanted) not in there and new_disks and new_disks[0].datastore:
        return new_disks[0].datastore
    found = store(placement, wanted, "the VM's configuration", problems)
    return None if found is None else found.name


def _refuse_full(
    placement: Placement | None,
    new_disks: Sequence[NewDisk],
    stored: Sequence[StoredDisk],
    problems: list[str],
) -> None:
    """A thin disk takes what is in use, any other all of it."""
    if placement is None:
        return
    data = {disk.key: disk.data for disk in stored}
    for one in placement.stores:
        needed = sum(
            (data[disk.key] if disk.thin else disk.capacity)
            for disk in new_disks
            if disk.datastore == one.name
        )
        if one.free is not None and needed > one.free:
            problems.append(
                f"datastore {unescape(one.name)} has {human_bytes(one.free)} free, and the disks that go "
                f"there take {human_bytes(needed)}: free some, or name another one with `--datastore`"
            )


def _tracking(saved: Saved) -> tuple[Change, ...]:
    if saved.json.get("changeTrackingEnabled") is not True:
        return ()
    why = "it starts over: the first backup of the restored VM reads whole disks"
    return (Change(what="changed block tracking", was="on", becomes="on", why=why, kind="kept"),)


def _notes(saved: Saved) -> tuple[Change, ...]:
    return (Change(what="notes", was="set", becomes="set", kind="kept"),) if saved.annotation else ()
