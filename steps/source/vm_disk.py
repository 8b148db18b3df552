"""The disk of a VM that carries a mark: whether it is still the one that was meant and may be written to, and
how it is served."""

from __future__ import annotations

from typing import Literal

from runner.hosts.host import Host
from runner.step.context import Context
from steps.source import choice
from steps.source.choice import Choice, NoTransport
from steps.source.disk_file import DiskFile, vm_disk_name
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.created_vm import CreatedDisk, MarkedVm
from steps.values.vm_disk import VmDiskServing
from steps.vsphere import attached, marks
from steps.vsphere.attached import Attached, NotReady
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone
from steps.vsphere.inventory import FrozenDisk

EXPORT: Literal["export"] = "export"
"""How a disk is read that nothing serves: by an export lease."""

IN_WORDS = {"vddk": "with VDDK", "https": "over HTTPS", EXPORT: "under an export lease"}
"""Of the transports of a `VmDiskServing`."""


def look(client: Client, vm: MarkedVm, disk: CreatedDisk) -> tuple[Attached, FrozenDisk]:
    """The VM, which is off, and the disk in it. Raises NotReady, Gone, PermissionMissing."""
    seen = attached.look(client, vm.moref, disk.new_key, vm.mark_key)
    return seen, _expect(vm, disk, seen)


def way_to_write(ctx: Context, host: Host, vm: MarkedVm, key: int, options: VddkOptions) -> Choice:
    """Raises NoTransport."""
    name = called(vm, key)
    if not set(options.transports) - {"san"}:
        raise NoTransport(
            f"{name} cannot be written over `san` alone: VDDK writes so only below a snapshot, and "
            "not on every datastore; name `nbdssl`, `nbd` or `hotadd` in its transports too"
        )
    return choice.choose(ctx, host, "vddk", options, name, "", "written")


def called(vm: MarkedVm, key: int) -> str:
    """In messages."""
    return f"disk {key} of VM {vm.name}"


def serve(
    ctx: Context,
    host: Host,
    vm: MarkedVm,
    key: int,
    looked: tuple[Attached, FrozenDisk],
    way: Choice | None,
    options: VddkOptions,
    *,
    written: bool,
    connections: int = 1,
) -> VmDiskServing:
    """The disk with that key in the restore point, as it was `looked` at; served until `ctx` is closed, or
    not at all where an export lease reads it (`way` is None). Raises NotReady for a disk that is to be
    written, of a VM without this run's mark, and what `choice.open_server` does."""
    seen, found = looked
    if written:
        _refuse_unmarked(ctx, vm, seen)
    disk = vm.disk(key)
    serving = VmDiskServing(
        vm=vm.moref,
        disk_key=key,
        file=disk.file,
        capacity=disk.capacity,
        transport=EXPORT if way is None else way.transport,
        uris=(),
        read_only=not written,
        extents=False,
        content_id=seen.content_id,
    )
    if way is None:
        return serving
    client, file = vcenter(ctx, vm.vcenter), of_vm(vm, key, found, written=written)
    server, uris = choice.open_server(ctx, host, client, file, way, options=options, connections=connections)
    return serving.model_copy(update={"uris": uris, "extents": way.extents, "wire": server.wire})


def _refuse_unmarked(ctx: Context, vm: MarkedVm, seen: Attached) -> None:
    """Raises NotReady unless the VM has this run's mark."""
    mark = marks.read_mark(seen.mark)
    if mark is None or mark.run != ctx.run.id:
        whose = f"carries the mark of {mark.told}" if mark is not None else "does not carry this run's mark"
        raise NotReady(f"VM {seen.name} ({vm.moref}) {whose}: nothing is written to its disks")


def of_vm(vm: MarkedVm, key: int, disk: FrozenDisk, *, written: bool) -> DiskFile:
    """`key` is the disk's in the restore point, `disk` the one as the VM has it."""
    return DiskFile(
        key=key,
        file=disk.file,
        datastore=disk.datastore,
        capacity=disk.capacity,
        vm=vm.moref,
        datacenter=vm.datacenter,
        endpoint=vm_disk_name(key, disk.file),
        written=written,
    )


def is_there(ctx: Context, vm: MarkedVm, key: int) -> bool:
    """Whether the VM still has the disk of that key in the restore point, whatever the VM is called and does
    by now."""
    disk = vm.disk(key)
    try:
        seen = attached.look(vcenter(ctx, vm.vcenter), vm.moref, disk.new_key, vm.mark_key)
    except Gone:
        return False
    return seen.instance_uuid == vm.instance_uuid and not _why_another(disk, seen.disk)


def _expect(vm: MarkedVm, disk: CreatedDisk, seen: Attached) -> FrozenDisk:
    named = f"VM {seen.name} ({vm.moref})"
    if seen.instance_uuid != vm.instance_uuid:
        raise NotReady(
            f"{named} has instance uuid {seen.instance_uuid}, not {vm.instance_uuid}: it is another VM than "
            "the one that this run works on"
        )
    if not seen.is_off:
        raise NotReady(f"{named} is not powered off: power it off, then run the same command again")
    if seen.has_snapshots:
        raise NotReady(
            f"{named} has snapshots, and what is written below one damages it: remove them, then run the "
            "same command again"
        )
    if why := _why_another(disk, seen.disk):
        raise NotReady(f"disk {disk.key} of {named}: {why}: it was changed since this run looked at it")
    if seen.disk is None or seen.disk.file != disk.file:
        raise NotReady(f"disk {disk.key} of {named} is no longer in {disk.file}: it was moved")
    return seen.disk


def _why_another(disk: CreatedDisk, now: FrozenDisk | None) -> str:
    """Empty if it is the same disk."""
    if now is None:
        return f"there is no disk with the key {disk.new_key}"
    if now.backing_uuid != disk.backing_uuid:
        return f"its backing uuid is {now.backing_uuid}, not {disk.backing_uuid}"
    if now.capacity != disk.capacity:
        return f"it has {now.capacity} bytes, not {disk.capacity}"
    return ""
