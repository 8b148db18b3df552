"""begin-rollback: the VM says that its disks are being put back, from before the first write."""

from __future__ import annotations

import posixpath
from typing import Annotated

from runner.base.model import HOW, HostName, JobModel
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.repository import vm_lock
from steps.rollback import at_rest, untracked
from steps.rollback.going_back import NoWayBack, go_back, refuse_missing
from steps.rollback.logs import DiskLogs
from steps.rollback.pairing import where_they_are
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.created_vm import MarkedVm
from steps.values.rollback import BegunRollback, DiskDiffers, RollbackDisk
from steps.vsphere import machine, marks, snapshots
from steps.vsphere.client import Client, vcenter
from steps.vsphere.reconfigure import reconfigure
from steps.vsphere.specs import options


class BeginRollbackIn(JobModel):
    vm: MarkedVm
    """The VM"""
    source: str
    """What it is put back to: VM/POINT"""
    disks: tuple[RollbackDisk, ...]
    """Its disks"""
    differs: tuple[DiskDiffers, ...]
    """What of them differs"""
    host: Annotated[HostName, HOW] = "local"
    """Where disks are opened when the run is discarded, near vSphere"""
    vddk: Annotated[VddkOptions, HOW] = VddkOptions()
    """Where VMware's library is there, as for open-vm-disk"""


class BeginRollback(Step[BeginRollbackIn, Empty, BegunRollback]):
    """Marks the VM whose disks are put back, with one line of JSON in its advanced settings
    (`sendense.rollback`), and notes there which disks are written to (`sendense.rolled-back`): changed block
    tracking from before says nothing of these any more. As long as it has the mark, no backup is made of it,
    and no other run puts it back.

    When the run is discarded, the disks that were written to are put back to what they were, as the restore
    point of the present state has it, every block is compared, and the mark is removed. Where that state was
    not kept, the run cannot be discarded, only finished."""

    name = "begin-rollback"
    lifetime = Lifetime.KEEP
    In = BeginRollbackIn
    Out = BegunRollback
    example = (
        'uses: begin-rollback, with: {vm: "${{ plan.machine }}", source: "${{ plan.source }}", '
        'disks: "${{ plan.disks }}", differs: "${{ compare }}"}'
    )
    errors = (
        "the VM runs by now, or has snapshots (nothing is written)",
        "discarded: what the disks had before was not kept, or its restore point is gone",
        "discarded: the VM has not the run's mark any more",
    )

    def check(
        self, ctx: Context, inputs: BeginRollbackIn, recorded: BegunRollback | None
    ) -> BegunRollback | None:
        client, vm = vcenter(ctx, inputs.vm.vcenter), inputs.vm
        if not _is_it(client, vm):
            return None
        mark = at_rest.own_mark(client, vm.moref, ctx.run.id)
        if mark is None:
            return None
        return recorded if recorded is not None and recorded.vm.mark == mark else _begun(inputs, mark)

    def run(self, ctx: Context, inputs: BeginRollbackIn, live: Empty) -> BegunRollback:
        client, vm = vcenter(ctx, inputs.vm.vcenter), inputs.vm
        at_rest.require(client, vm.moref, {ctx.run.id}, inputs.source)
        mark = at_rest.own_mark(client, vm.moref, ctx.run.id) or marks.stamp(ctx, inputs.source)
        begun = _begun(inputs, mark)
        keys = (disk.key for disk in begun.disks)
        settings = {marks.ROLLBACK: mark, **untracked.setting(client, vm, keys, ctx.run.id)}
        reconfigure(client, vm.moref, f"marking VM {vm.name}", extraConfig=options(settings))
        return begun

    def undo(self, ctx: Context, inputs: BeginRollbackIn, out: BegunRollback) -> None:
        """Back to the restore point of the present state, as far as anything was written."""
        client, vm = vcenter(ctx, out.vm.vcenter), out.vm
        if not _is_it(client, vm):
            return  # it was deleted, and its disks with it
        # Of all disks: one that was put back whole does not differ any more.
        touched = [disk for disk in inputs.disks if DiskLogs(ctx, vm, disk.stored).touched]
        if at_rest.own_mark(client, vm.moref, ctx.run.id) is None:
            if touched:
                raise at_rest.MarkGoneError(vm.name)
            return
        if lost := tuple(disk.key for disk in touched if disk.present is None):
            raise NoWayBack(vm.name, out.source, lost)
        with ctx.scope():
            if touched:
                stored = touched[0].stored
                directory = posixpath.dirname(posixpath.dirname(stored.digests))
                vm_lock.hold(ctx, ctx.host(stored.image.host), directory, f"VM {vm.name}")
                at_rest.require(client, vm.moref, {ctx.run.id}, out.source)
                refuse_missing(ctx, vm, touched, out.source)
                vm = where_they_are(vm, snapshots.foreseen(client, vm.moref))
            for disk in touched:
                assert disk.present is not None
                go_back(ctx, vm, disk, disk.present, inputs.host, inputs.vddk)
                DiskLogs(ctx, vm, disk.stored).untouch()
            marks.remove(client, vm.moref, marks.ROLLBACK)

    def retained(self, ctx: Context, inputs: BeginRollbackIn, out: BegunRollback) -> Retained:
        return Retained(
            f"VM {out.vm.name}, half rolled back to {out.source} (no backup is made of it meanwhile)"
        )


def _is_it(client: Client, vm: MarkedVm) -> bool:
    found = machine.identity(client, vm.moref)
    return found is not None and found.instance_uuid == vm.instance_uuid


def _begun(inputs: BeginRollbackIn, mark: str) -> BegunRollback:
    differing = {one.disk_key for one in inputs.differs if one.differing}
    return BegunRollback(
        vm=inputs.vm.model_copy(update={"mark": mark}),
        source=inputs.source,
        disks=tuple(disk for disk in inputs.disks if disk.key in differing),
    )
