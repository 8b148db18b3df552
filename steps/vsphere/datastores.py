"""The datastores of a VM: their names, by which its files are known, and how full they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.base.errors import SendenseError
from steps.vsphere import causes, vmomi
from steps.vsphere.client import Client
from steps.vsphere.names import DatastoreFile, datastore_file, unescape
from steps.vsphere.properties import read, read_all, read_many


@dataclass(frozen=True)
class Datastore:
    """What of it may not be read is empty."""

    name: str
    """As the API gives it, escaped."""
    kind: str
    """Datastore.summary.type: VMFS, NFS, vsan, VVOL …"""


Datastores = Mapping[str, Datastore]
"""By moref."""


def of_disks(client: Client, devices: Sequence[Any]) -> Datastores:
    """Those that the disks among `devices` have files on."""
    stores = {moref for device in devices for backing in chain(device) if (moref := store_of(backing))}
    return _read(client, stores, "reading the datastores of the disks")


def kinds(client: Client) -> dict[str, str]:
    """Datastore.summary.type by name as people write it, of all that the account can see."""
    seen = read_all(client, vmomi.vim.Datastore, ("name", "summary.type"), "reading the kinds of datastores")
    return {
        unescape(str(one["name"])): str(one.get("summary.type", "")) for one in seen.values() if "name" in one
    }


def file_of(client: Client, vm: str, text: str) -> DatastoreFile:
    """One of the VM's files, as its configuration names it."""
    doing = f"reading the datastores of VM {vm}"
    return datastore_file(
        text, (one.name for one in _read(client, _of_vm(client, vm, doing), doing).values())
    )


def file_in(backing: Any, stores: Datastores, text: str) -> DatastoreFile:
    """The file of a disk's backing: the backing itself refers to its datastore."""
    store = stores.get(store_of(backing))
    return datastore_file(text, (store.name,) if store is not None and store.name else ())


def chain(device: Any) -> Iterator[Any]:
    """A disk's backing, with its chain down to the base. None of other devices."""
    backing = device.backing if isinstance(device, vmomi.vim.vm.device.VirtualDisk) else None
    while backing is not None:
        yield backing
        backing = getattr(backing, "parent", None)


def store_of(backing: Any) -> str:
    """The moref; empty where it has none."""
    store = getattr(backing, "datastore", None)
    return "" if store is None else str(store._moId)


def free_space(client: Client, vm: str, names: set[str]) -> dict[str, float | None]:
    """Percent free of the VM's datastores of those names, None where vSphere does not say: the account may
    not read it, or the datastore cannot be reached."""
    doing = f"reading the datastores of VM {vm}"
    seen = read_many(client, vmomi.vim.Datastore, _of_vm(client, vm, doing), ("name", "summary"), doing)
    found: dict[str, float | None] = dict.fromkeys(sorted(unescape(name) for name in names))
    for entry in seen.values():
        summary = entry.get("summary")
        name = unescape(str(entry.get("name") or getattr(summary, "name", "")))
        if name in found:
            found[name] = _percent_free(summary)
    return found


class DatastoreFills(SendenseError):
    """`free` and `least` in percent."""

    fix_first = True

    def __init__(self, vm: str, datastore: str, free: float, least: float) -> None:
        super().__init__(
            f"datastore {datastore} has {free:.1f} % free, stop-below is {least:g} %, and the snapshot of "
            f"{vm} grows there: it is released, and the run ends; free some space, then run again"
        )
        self.shared = causes.no_room(datastore)


def filling(client: Client, vm: str, name: str, stores: set[str], least: float) -> DatastoreFills | None:
    """The first of the VM's datastores of those names with less than `least` percent free; `name` is the
    VM's."""
    for store, part in free_space(client, vm, stores).items():
        if part is not None and part < least:
            return DatastoreFills(name, store, part, least)
    return None


def free_of_all(client: Client) -> dict[str, float | None]:
    """Percent free by moref, None where vSphere does not say."""
    seen = read_all(client, vmomi.vim.Datastore, ("summary",), "reading the free space of all datastores")
    return {moref: _percent_free(entry.get("summary")) for moref, entry in seen.items()}


def _percent_free(summary: Any) -> float | None:
    """A datastore that is not accessible keeps old numbers (API reference, DatastoreSummary.accessible)."""
    if summary is None or not summary.accessible or not summary.capacity:
        return None
    return 100 * int(summary.freeSpace) / int(summary.capacity)


def _of_vm(client: Client, vm: str, doing: str) -> list[str]:
    return [
        str(store._moId)
        for store in read(client, vmomi.vim.VirtualMachine, vm, ("datastore",), doing).get("datastore", ())
    ]


def _read(client: Client, morefs: Iterable[str], doing: str) -> Datastores:
    seen = read_many(client, vmomi.vim.Datastore, morefs, ("name", "summary.type"), doing)
    return {
        moref: Datastore(str(entry.get("name", "")), str(entry.get("summary.type", "")))
        for moref, entry in seen.items()
    }
