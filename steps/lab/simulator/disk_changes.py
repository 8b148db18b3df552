"""New, grown and removed disks of a VM: what was asked for, as values; nothing is made here."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from runner.base.units import KiB, MiB
from steps.lab.simulator.backings import datastore_path, file_of
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import fault, vim

device: Any = vim.vm.device
FLAT = (device.VirtualDisk.FlatVer2BackingInfo, device.VirtualDisk.SeSparseBackingInfo)


@dataclass
class DiskChanges:
    """`after`: every disk as it will be, by key."""

    place: Surroundings
    home: str
    directory: str
    after: dict[int, DiskSpec]
    added: list[DiskSpec] = field(default_factory=list)
    grown: dict[int, int] = field(default_factory=dict)
    """Bytes by key."""
    removed: dict[int, bool] = field(default_factory=dict)
    """By key, whether its files go too."""

    def add(self, index: int, one: Any, operation: str | None) -> None:
        """`one` sits where it will. Raises vmodl faults."""
        backing = one.backing
        if not isinstance(backing, FLAT) or backing.parent is not None:
            raise fault(
                vim.fault.InvalidDeviceBacking, f"Invalid backing for device '{index}'.", deviceIndex=index
            )
        store, path = self._store(backing)
        directory, _, name = path.rpartition("/")
        size = one.capacityInBytes or (one.capacityInKB or 0) * KiB
        identity = backing.uuid or str(uuid.uuid4())
        if operation is None:
            size, identity = self._existing(backing.fileName, identity)
        elif name and file_of(backing.fileName, self.place).exists():
            raise fault(
                vim.fault.FileAlreadyExists,
                f"Cannot complete the operation because the file {backing.fileName} already exists.",
                file=backing.fileName,
            )
        if (
            directory not in ("", self.directory)
            and not file_of(f"[{store}] {directory}", self.place).is_dir()
        ):
            raise not_found(backing.fileName)
        if size <= 0 or size % 512:
            raise invalid_capacity(index)
        if self.place.datastores[store].spec.kind == "vvol":  # whole MB only (API reference, VirtualDisk)
            size = -(-size // MiB) * MiB
        made = DiskSpec(
            key=one.key,
            controller=one.controllerKey,
            unit=one.unitNumber,
            size=size,
            datastore=store,
            directory=directory or None,
            file=name.removesuffix(".vmdk") or None,
            uuid=identity,
            thin=bool(getattr(backing, "thinProvisioned", True)),
            eager=bool(getattr(backing, "eagerlyScrub", False)),
            mode=backing.diskMode or "persistent",
            sharing="multi-writer" if getattr(backing, "sharing", None) == "sharingMultiWriter" else "none",
        )
        self.after[made.key] = made
        self.added.append(made)

    def _store(self, backing: Any) -> tuple[str, str]:
        """Name of the datastore, path on it."""
        if backing.fileName:
            store, path = datastore_path(backing.fileName, self.place)
            return store.spec.name, path
        if backing.datastore is None:
            return self.home, ""
        for name, store in self.place.datastores.items():
            if store.moid == backing.datastore._moId:
                return name, ""
        raise fault(vim.fault.InvalidDatastore, "Invalid datastore.", datastore=backing.datastore)

    def _existing(self, name: str, identity: str) -> tuple[int, str]:
        """Bytes and uuid of a disk that is there. Raises FileNotFound."""
        descriptor = file_of(name, self.place)
        flat = descriptor.with_name(f"{descriptor.stem}-flat.vmdk")
        if not descriptor.is_file() or not flat.is_file():
            raise not_found(name)
        for line in descriptor.read_text().splitlines():
            if line.startswith("ddb.uuid"):
                identity = str(uuid.UUID(hex="".join(c for c in line.partition("=")[2] if c.isalnum())))
        return flat.stat().st_size, identity

    def change(self, index: int, one: Any, operation: str, file_operation: str | None) -> None:
        """Removes or edits one. Raises vmodl faults."""
        old = self.after.get(one.key)
        if old is None:
            raise fault(
                vim.fault.InvalidDeviceSpec,
                f"Invalid configuration for device '{index}'.",
                deviceIndex=index,
            )
        if operation == "remove":
            del self.after[one.key]
            self.removed[one.key] = file_operation == "destroy"
            return
        size = one.capacityInBytes or (one.capacityInKB or 0) * KiB or old.size
        if size < old.size or size % 512:
            raise invalid_capacity(index)
        if size > old.size:
            self.grown[one.key] = size
        mode = getattr(one.backing, "diskMode", None) or old.mode
        self.after[one.key] = old.model_copy(update={"size": size, "mode": mode})


def not_found(name: str) -> Exception:
    return fault(vim.fault.FileNotFound, f"File {name} was not found", file=name)


def invalid_capacity(index: int) -> Exception:
    """A disk cannot become smaller (API reference, VirtualDisk.capacityInBytes)."""
    return fault(
        vim.fault.InvalidDeviceSpec,
        f"Invalid configuration for device '{index}'.",
        deviceIndex=index,
        property=f"deviceChange[{index}].device.capacityInKB",
    )
