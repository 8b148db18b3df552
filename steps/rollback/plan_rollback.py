"""plan-rollback: the VM whose disks are to be put back, and which of them is which."""

from __future__ import annotations

import posixpath
from typing import Annotated

from runner.base.model import JobModel, SectionName
from runner.base.units import counted, human_bytes
from runner.events.check_results import observe
from runner.step.context import Context
from runner.step.decision import Decision
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.repository import layout, vm_place
from steps.rollback import at_rest
from steps.rollback.pairing import NotPaired, Pair, pairs, where_they_are
from steps.values.created_vm import CreatedDisk, MarkedVm
from steps.values.rollback import PlannedRollback, RollbackDisk
from steps.values.stored_point import StoredDisk, StoredPoint
from steps.vsphere import find, machine, marks, privileges, snapshots
from steps.vsphere.attached import NotReady
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone
from steps.vsphere.inventory import VM, FrozenDisk
from steps.vsphere.machine import Machine


class PlanRollbackIn(JobModel):
    vcenter: Annotated[str, SectionName("vcenters")]
    """Which vCenter has the VM"""
    vm: str
    """The VM's instance uuid"""
    point: StoredPoint
    """What its disks are put back to"""
    present: StoredPoint | None = None
    """The restore point of the present state; without it, that is lost"""
    kept_by: str | None = None
    """Whose run is to make that restore point, in a plan of what comes before it is made"""
    disks: tuple[int, ...] = ()
    """Keys of the disks that are put back, where not all are; with none, the VM must have exactly those of
    the restore point"""


class PlanRollback(Step[PlanRollbackIn, Empty, PlannedRollback]):
    """Finds the VM whose disks are to be put back to a restore point, and pairs its disks with those of the
    point: by the uuid of their backing, never by their key. Whatever keeps the disks from being written is
    said here, before anything is changed."""

    name = "plan-rollback"
    lifetime = Lifetime.KEEP
    read_only = True
    In = PlanRollbackIn
    Out = PlannedRollback
    example = (
        'uses: plan-rollback, with: {vcenter: prod, vm: 52a7…, point: "${{ point }}", '
        'present: "${{ present }}"}'
    )
    errors = (
        "the VM is not in the vCenter (restore --to-vcenter makes a new one)",
        "the VM is not the one that the restore point is of, or has another vCenter",
        "the VM is powered on or suspended, has snapshots, or another run works on it",
        "the account lacks privileges on the VM or the vCenter (all of them are named)",
        "a disk was added, removed, exchanged, or grown since the restore point",
        "a disk is based on another file, as of a linked clone",
        "the restore point of the present state has not the VM's disks",
    )

    def check(
        self, ctx: Context, inputs: PlanRollbackIn, recorded: PlannedRollback | None
    ) -> PlannedRollback | None:
        """A run that is resumed has written to these disks already; whether it may go on is looked at
        again."""
        if recorded is None:
            return None
        client = vcenter(ctx, inputs.vcenter)
        found = machine.identity(client, recorded.vm.moref)
        if found is None or found.instance_uuid != recorded.vm.instance_uuid:
            return None
        at_rest.require(client, recorded.vm.moref, _own(ctx), recorded.source)
        known = recorded.machine
        return recorded if where_they_are(known, snapshots.foreseen(client, known.moref)) == known else None

    def run(self, ctx: Context, inputs: PlanRollbackIn, live: Empty) -> PlannedRollback:
        client = vcenter(ctx, inputs.vcenter).remembering({} if ctx.answers is None else ctx.answers)
        ctx.uses("vCenter", client.version)
        moref = _find(client, inputs)
        at_rest.require(client, moref, _own(ctx), source_of(inputs.point))
        seen = machine.describe(client, moref)
        _refuse_another(ctx, inputs.point, seen.vm)
        privileges.require(client, privileges.to_roll_back(client, moref, seen.vm.name))
        found = pairs(seen.vm.name, inputs.point, seen.disks, seen.uncovered, chosen=bool(inputs.disks))
        frozen = {disk.key: disk for disk in snapshots.foreseen(client, moref)}
        _refuse_deltas(client, seen, found, frozen)
        return PlannedRollback(
            vm=seen.vm,
            machine=_machine(seen, found, frozen),
            point=inputs.point.point,
            source=source_of(inputs.point),
            present="" if inputs.present is None else source_of(inputs.present),
            disks=tuple(
                RollbackDisk(key=pair.stored.key, stored=pair.stored, present=_present(inputs.present, pair))
                for pair in found
            ),
        )

    def preflight(
        self, ctx: Context | None, known: Known[PlanRollbackIn, PlannedRollback]
    ) -> Preflight[PlannedRollback]:
        out, settings = known.out, _settings(known)
        if out is not None:
            decided = tuple(
                Decision(subject=f"disk {disk.key}", facts={"backing uuid": disk.stored.backing_uuid})
                for disk in out.disks
            )
            return Preflight(settings=settings, decisions=decided)
        if ctx is None or known.inputs is None:
            return Preflight(settings=settings)
        inputs, client = known.inputs, vcenter(ctx, known.inputs.vcenter)

        def ready() -> str:
            at_rest.require(client, _find(client, inputs), _own(ctx), source_of(inputs.point))
            return "it is off, has no snapshots, and nobody else works on it"

        seen = observe(f"VM {inputs.point.vm}", "that its disks may be written", ready)
        return Preflight(settings=settings, observations=(seen,))


def source_of(point: StoredPoint) -> str:
    """``VM/POINT``"""
    return f"{layout.slug_of(posixpath.dirname(point.path))}/{point.point}"


def _own(ctx: Context) -> frozenset[str]:
    return frozenset({ctx.run.id, *ctx.run.discarded})


def _settings(known: Known[PlanRollbackIn, PlannedRollback]) -> tuple[Setting, ...]:
    told, out = known.told, known.out
    if out is None:
        vm = Setting(name="VM", text=f"{told['vm']} in vCenter {told['vcenter']}" if "vm" in told else "")
        return (vm,) if vm.text else ()
    size = human_bytes(sum(disk.stored.capacity for disk in out.disks))
    disks = f"{counted(len(out.disks), 'disk')} of {size} become what they were at {out.source}"
    present = f"kept as restore point {out.present}" if out.present else "lost"
    if not out.present and (keeper := told.get("kept_by")):
        present = f"{keeper} makes a restore point of it first"
    return (
        Setting(name="VM", text=f"{out.vm.inventory_path}, instance uuid {out.vm.instance_uuid}"),
        Setting(name="rollback", text=disks),
        Setting(
            name="present state",
            text=present,
            change="The present state of the VM's disks is lost." if present == "lost" else "",
        ),
    )


def _find(client: Client, inputs: PlanRollbackIn) -> str:
    """The VM's moref. Raises Gone."""
    found = find.by_uuid(client, inputs.vm, instance=True)
    if not found:
        raise Gone(
            f"{inputs.point.vm} (instance uuid {inputs.vm}) is not in vCenter {client.name}, so it has no "
            f"disks to put back: `sendense restore JOB {source_of(inputs.point)} --to-vcenter {client.name}` "
            "makes the VM again"
        )
    return find.only(inputs.vm, found)


def _refuse_another(ctx: Context, point: StoredPoint, vm: VM) -> None:
    """Raises NotPaired, and OtherVcenterError where another vCenter has a VM with that uuid."""
    directory = posixpath.dirname(point.path)
    own = vm_place.look(ctx.host(point.host), posixpath.dirname(directory), vm)
    if own != directory:
        raise NotPaired(
            f"{vm.name} (instance uuid {vm.instance_uuid}) is not the VM that {source_of(point)} is of: its "
            f"own restore points are in {own}"
        )


def _refuse_deltas(
    client: Client, seen: Machine, found: tuple[Pair, ...], frozen: dict[int, FrozenDisk]
) -> None:
    """What is written to a delta is as good, but what it is based on may be many VMs'. Raises NotReady."""
    deltas = machine.delta_files(client, seen.vm.moref)
    for pair in found:
        if frozen[pair.live.key].file in deltas:
            raise NotReady(
                f"disk {pair.stored.key} of {seen.vm.name} is based on another file, as of a linked clone or "
                "after a snapshot whose disks were not merged: consolidate the VM's disks in vSphere, or "
                "restore the point as a new VM"
            )


def _present(present: StoredPoint | None, pair: Pair) -> StoredDisk | None:
    """Raises NotPaired."""
    if present is None:
        return None
    for disk in present.disks:
        if (disk.backing_uuid, disk.capacity) == (pair.live.backing_uuid, pair.live.capacity):
            return disk
    raise NotPaired(
        f"{present.point}, which is to keep the present state, has not the disk {pair.live.key} "
        f"({pair.live.label}) that is put back: the VM was changed since; run the same command with --fresh"
    )


def _machine(seen: Machine, found: tuple[Pair, ...], frozen: dict[int, FrozenDisk]) -> MarkedVm:
    vm = seen.vm
    return MarkedVm(
        vcenter=vm.vcenter,
        moref=vm.moref,
        instance_uuid=vm.instance_uuid,
        name=vm.name,
        datacenter=vm.datacenter,
        mark_key=marks.ROLLBACK,
        mark="",
        vmx_file=vm.vmx_file,
        disks=tuple(
            CreatedDisk(
                key=pair.stored.key,
                new_key=pair.live.key,
                backing_uuid=pair.live.backing_uuid,
                file=frozen[pair.live.key].file,
                capacity=pair.live.capacity,
            )
            for pair in found
        ),
    )
