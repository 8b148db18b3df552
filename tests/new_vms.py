"""Restore points that have a manifest and a saved configuration, and no images: enough to plan a new VM from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steps.repository.manifest import dump
from steps.restore.plan_vm import PlanVm, PlanVmIn
from steps.values.planned_vm import PlannedVm
from steps.values.stored_point import DiskImage, StoredDisk, StoredPoint
from steps.vsphere import machine, properties
from steps.vsphere.configuration import as_json
from steps.vsphere.find import find
from steps.vsphere.vm_inventory import VmInventory
from steps.vsphere.vmomi import vim
from tests.chain import FIRST, manifest_of, point_name
from tests.hub import VCENTER
from tests.vcenter import Lab


def stored_disk(path: str, key: int, capacity: int, label: str, data: int | None = None) -> StoredDisk:
    image = DiskImage(
        key=key, capacity=capacity, host="local", images=(f"{path}/disk-{key}.qcow2",), export=f"x-disk-{key}"
    )
    return StoredDisk(
        key=key,
        label=label,
        capacity=capacity,
        backing_uuid=f"6000C290-0000-0000-0000-{key:012d}",
        data=capacity if data is None else data,
        point=path.rpartition("/")[2],
        image=image,
        digests=f"{path}/disk-{key}.blake3",
        digest="0" * 64,
    )


def point_in(
    directory: Path,
    config: dict[str, Any],
    path: str,
    keys: Sequence[int] = (),
    *,
    nvram: bytes | None = None,
    inventory: VmInventory | None = None,
    vcenter: str = VCENTER,
) -> StoredPoint:
    """Of a VM with that saved configuration, which was at the inventory path `path`."""
    disks = [one for one in config["hardware"]["device"] if one["_type"] == "VirtualDisk"]
    name = point_name(1, FIRST)
    made = manifest_of(1, FIRST, {one["key"]: None for one in disks})
    vm = made.vm.model_copy(
        update={
            "name": config["name"],
            "inventory_path": path,
            "instance_uuid": config["instanceUuid"],
            "bios_uuid": config["uuid"],
            "vcenter_uuid": vcenter,
        }
    )
    made = made.model_copy(update={"vm": vm, "config": "config.json", "nvram": None if nvram is None else "x.nvram"})
    point = directory / f"vm-{config['instanceUuid']}" / name
    (point / "vm").mkdir(parents=True)
    (point / "manifest.json").write_bytes(dump(made))
    (point / "vm" / "config.json").write_text(json.dumps(config))
    if inventory is not None:
        (point / "vm" / "inventory.json").write_text(json.dumps(inventory.to_json_value()))
    if nvram is not None:
        (point / "vm" / "x.nvram").write_bytes(nvram)
    wanted = [one for one in disks if not keys or one["key"] in keys]
    return StoredPoint(
        vm=config["name"],
        point=name,
        path=str(point),
        host="local",
        disks=tuple(
            stored_disk(str(point), one["key"], one["capacityInBytes"], one["deviceInfo"]["label"]) for one in wanted
        ),
        notes=(),
    )


def saved_of(lab: Lab, name: str) -> tuple[dict[str, Any], str]:
    """The configuration of a simulated VM, as a backup saves it, and its inventory path."""
    moref = find(lab.client, name)
    config = properties.read(lab.client, vim.VirtualMachine, moref, ("config",), "reading")["config"]
    return as_json(config), machine.describe(lab.client, moref).vm.inventory_path


def plan(lab: Lab, point: StoredPoint, **options: Any) -> PlannedVm:
    inputs = PlanVmIn.from_json_value({"point": point.to_json_value(), "vcenter": "prod", **options})
    return PlanVm().run(lab.context("plan"), inputs, PlanVm.Live())
