"""Plans of new VMs, for the steps that make them."""

from __future__ import annotations

from typing import Any

from steps.values.planned_vm import PlannedDisk, PlannedVm
from steps.values.stored_point import StoredDisk
from steps.vsphere.vm_spec import NewDevice, NewDisk, NewMachine


def planned_vm(
    *disks: StoredDisk, config: str = "/nowhere/config.json", host: str = "hub", **machine: Any
) -> PlannedVm:
    """With one disk after the other on a SCSI controller."""
    new = tuple(
        NewDisk(key=one.key, label=one.label, capacity=one.capacity, controller=1000, unit=number, datastore="ds1")
        for number, one in enumerate(disks)
    )
    told = {
        "name": "pgtest1-back",
        "datacenter": "DC1",
        "folder": "group-v3",
        "pool": "resgroup-8",
        "datastore": "ds1",
        "devices": (
            NewDevice(
                key=1000,
                type="ParaVirtualSCSIController",
                controller=100,
                properties={"busNumber": 0, "sharedBus": "noSharing"},
            ),
        ),
        "settings": {"guestId": "debian12_64Guest", "numCPUs": 1, "memoryMB": 1024, "version": "vmx-19"},
        **machine,
    }
    return PlannedVm(
        vcenter="prod",
        vcenter_uuid="11111111-2222-3333-4444-555555555555",
        point=disks[0].point,
        source=f"pgtest1/{disks[0].point}",
        machine=NewMachine(disks=new, **told),
        disks=tuple(PlannedDisk(key=of.key, stored=of, new=one) for of, one in zip(disks, new, strict=True)),
        config=config,
        repository_host=host,
    )
