"""VMs of a simulated vCenter that carry a run's mark, as a restore or a rollback hands them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.values.created_vm import CreatedDisk, MarkedVm
from steps.values.stored_point import DiskImage, StoredDisk
from steps.vsphere import attached, find, marks
from steps.vsphere import machine as machines
from steps.vsphere.marks import Mark
from tests.vcenter import RUN, Lab, disk, machine


def of_run(run: str = RUN) -> str:
    """The mark's value."""
    return Mark(
        run=run, job="pgtest1-restore", holder="node pid 1", point="pgtest1/20261123T170000Z-3f9a"
    ).model_dump_json()


def off(*disks: dict[str, Any], mark: str = "", **more: Any) -> dict[str, Any]:
    """A VM that is off and carries a mark: this run's, unless another is given."""
    settings = {marks.RESTORE: mark or of_run()}
    return machine(powered_on=False, disks=list(disks) or [disk()], extra_config=settings, **more)


def marked(lab: Lab, name: str = "pgtest1", keys: Mapping[int, int] | None = None) -> MarkedVm:
    """`keys`: those of the VM's disks by those in the point; the same, where it is not given."""
    client = lab.client
    found = machines.describe(client, find.find(client, name))
    disks = []
    for key, of in (keys or {one.key: one.key for one in found.disks}).items():
        seen = attached.look(client, found.vm.moref, of, marks.RESTORE).disk
        assert seen is not None
        disks.append(
            CreatedDisk(key=key, new_key=of, backing_uuid=seen.backing_uuid, file=seen.file, capacity=seen.capacity)
        )
    return MarkedVm(
        vcenter="prod",
        moref=found.vm.moref,
        instance_uuid=found.vm.instance_uuid,
        name=name,
        datacenter=found.vm.datacenter,
        mark=of_run(),
        vmx_file=found.vm.vmx_file,
        disks=tuple(sorted(disks, key=lambda one: one.key)),
    )


def stored(key: int, capacity: int) -> StoredDisk:
    """A disk of a point that nobody looks into."""
    image = DiskImage(key=key, capacity=capacity, host="local", images=("/nowhere/disk.qcow2",), export=f"vm-{key}")
    return StoredDisk(
        key=key,
        label=f"Hard disk {key - 1999}",
        capacity=capacity,
        backing_uuid=f"6000C290-0000-0000-0000-{key:012d}",
        data=0,
        point="20261123T170000Z-3f9a",
        image=image,
        digests="/nowhere/disk.blake3",
        digest="0" * 64,
    )
