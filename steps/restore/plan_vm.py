"""plan-vm: what a restored VM is to be, decided before anything is made."""

from __future__ import annotations

import posixpath
from typing import Annotated

from runner.base.errors import Interrupted, StateError
from runner.base.model import HOW, SectionName
from runner.base.units import human_bytes
from runner.events.step_report import Cell, Row, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.decision import Decision
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.new_vm import decision, placement, saved_inventory, unrecorded
from steps.new_vm.decision import Decided, Destination, Point
from steps.new_vm.options import NewVmOptions
from steps.new_vm.placement import Placement
from steps.repository import layout, manifest, saved_files
from steps.repository.manifest import Manifest
from steps.saved_vm.configuration import Saved
from steps.values.planned_vm import PlannedDisk, PlannedVm
from steps.values.stored_point import StoredPoint
from steps.vsphere import privileges, restore_privileges, taken, targets_tree
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import VSphereError
from steps.vsphere.hardware import NO_FLAT_FILES
from steps.vsphere.vm_spec import Change, NewMachine


class PlanVmIn(NewVmOptions):
    point: StoredPoint
    """The restore point, with the disks that are wanted"""
    vcenter: Annotated[str, SectionName("vcenters")]
    """Where the VM goes"""
    power_on: Annotated[bool, HOW] = False
    """Whether it is powered on in the end: the privilege for that is looked at with the others"""


class CannotRestore(VSphereError):
    """Everything that keeps the VM from being made, at once: nothing was made."""

    fix_first = True

    def __init__(self, vm: str, problems: tuple[str, ...]) -> None:
        self.problems = problems
        told = problems[0] if len(problems) == 1 else _numbered(problems)
        super().__init__(f"{vm} cannot be restored as asked: {told}")


class PlanVm(Step[PlanVmIn, Empty, PlannedVm]):
    """Decides what the restored VM is to be, from the configuration that was saved with the point and from
    what the vCenter has: folder, pool, host, datastores, networks, every device, what becomes of it and why.
    Looks at the account's privileges too. Makes nothing."""

    name = "plan-vm"
    lifetime = Lifetime.KEEP
    read_only = True
    In = PlanVmIn
    Out = PlannedVm
    example = 'uses: plan-vm, with: {point: "${{ point }}", vcenter: prod, name: pgtest1-restored}'
    errors = (
        "a folder, pool, host, datastore or network is not there (those that are there are named)",
        "the folder has something of that name already, which is never touched",
        "the VM has a virtual TPM or is encrypted, and the job does not say `tpm: omit`",
        "the disks do not fit the datastores",
        "the account lacks privileges (all of them are named)",
        "the point's saved configuration is damaged",
    )

    def check(self, ctx: Context, inputs: PlanVmIn, recorded: PlannedVm | None) -> PlannedVm | None:
        """A run that is resumed stays with what was decided, unless it was of another vCenter: folders and
        pools are other ones in a vCenter that was made again."""
        if recorded is None or vcenter(ctx, inputs.vcenter).uuid != recorded.vcenter_uuid:
            return None
        return recorded

    def run(self, ctx: Context, inputs: PlanVmIn, live: Empty) -> PlannedVm:
        host = ctx.host(inputs.point.host)
        made, saved, config = _read(host, inputs.point)
        # A look at one moment, also where it is no look ahead.
        client = vcenter(ctx, inputs.vcenter).remembering({} if ctx.answers is None else ctx.answers)
        targets = targets_tree.read(client)
        problems: list[str] = []
        known = saved_inventory.saved_in(host, inputs.point.path)
        pool = known.pool if client.uuid == made.vm.vcenter_uuid else ""
        where = placement.choose(targets, inputs, made.vm.inventory_path, pool, problems)
        point = _point(inputs.point, made)
        destination = _destination(client, inputs, point, where)
        found = decision.decide(saved, point, saved_inventory.look(client, known), inputs, destination)
        problems += found.problems
        if where is not None:
            problems += _lacking(client, inputs, found, where)
        if problems or found.machine is None:
            raise CannotRestore(made.vm.name, tuple(problems))
        return _planned(client, inputs, made, config, found.machine, found.changes)

    def preflight(self, ctx: Context | None, known: Known[PlanVmIn, PlannedVm]) -> Preflight[PlannedVm]:
        out = known.out
        settings = _settings(known)
        if out is None:
            return Preflight(settings=settings)
        return Preflight(
            settings=settings,
            notes=tuple(change.sentence for change in out.changes if change.warn),
            decisions=_decisions(out),
        )

    def report(self, out: PlannedVm) -> StepReport:
        """Without what stays as it was, which is most of it."""
        return StepReport(rows=tuple(_row(change) for change in out.changes if change.kind != "kept"))


def _numbered(problems: tuple[str, ...]) -> str:
    return "; ".join(f"({number}) {one}" for number, one in enumerate(problems, 1))


def _read(host: Host, point: StoredPoint) -> tuple[Manifest, Saved, str]:
    """The point's manifest, its saved configuration, and where that lies. Raises StateError,
    SavedFilesDifferError."""
    made = manifest.read(host, point.path)
    if made is None:
        raise StateError(f"{point.path} on {host.name} has no manifest any longer: it is being deleted")
    saved_files.require(host, point.path, made)
    config = posixpath.join(point.path, layout.VM_FILES, made.config)
    return made, unrecorded.configuration(host, config), config


def _point(stored: StoredPoint, made: Manifest) -> Point:
    return Point(
        vm=made.vm.name,
        path=made.vm.inventory_path,
        instance_uuid=made.vm.instance_uuid,
        bios_uuid=made.vm.bios_uuid,
        disks=stored.disks,
        all_disks=frozenset(disk.key for disk in made.disks),
        nvram=made.nvram is not None,
    )


def _destination(client: Client, inputs: PlanVmIn, point: Point, where: Placement | None) -> Destination:
    if where is None:
        return Destination(None)
    host = None if where.host is None else where.host.moref
    return Destination(
        where,
        holder=taken.name_in(client, where.folder.moref, inputs.name or point.vm),
        versions=taken.hardware_versions(client, where.cluster.moref, host),
        taken=taken.read(client) if inputs.identity == "keep" else None,
    )


def _lacking(client: Client, inputs: PlanVmIn, found: Decided, where: Placement) -> list[str]:
    """The sentence about privileges that the account lacks."""
    used = _used(found.machine)
    stores = [one for one in where.stores if one.name in used]
    nets = [one for one in where.nets if one.backing in _backings(found.machine)]
    further = [restore_privileges.POWER_ON] if inputs.power_on else []
    if found.machine is not None and found.machine.attributes:
        further.append(restore_privileges.SET_ATTRIBUTE)
    if inputs.transport == "lease" and any(one.kind in NO_FLAT_FILES for one in stores):
        further.extend(privileges.EXPORT)
    try:
        privileges.require(
            client,
            restore_privileges.wanted(
                client,
                where.folder,
                where.pool,
                stores,
                nets,
                over_vddk=inputs.transport == "vddk",
                further=further,
            ),
        )
    except Interrupted:
        raise
    except VSphereError as error:
        return [error.message]
    return []


def _used(machine: NewMachine | None) -> set[str]:
    return set() if machine is None else {machine.datastore, *(disk.datastore for disk in machine.disks)}


def _backings(machine: NewMachine | None) -> list[object]:
    return [] if machine is None else [device.properties.get("backing") for device in machine.devices]


def _planned(
    client: Client,
    inputs: PlanVmIn,
    made: Manifest,
    config: str,
    machine: NewMachine,
    changes: tuple[Change, ...],
) -> PlannedVm:
    point = inputs.point
    stored = {disk.key: disk for disk in point.disks}
    nvram = made.nvram if machine.nvram else None
    return PlannedVm(
        vcenter=inputs.vcenter,
        vcenter_uuid=client.uuid,
        point=point.point,
        source=f"{layout.slug_of(posixpath.dirname(point.path))}/{point.point}",
        machine=machine,
        disks=tuple(PlannedDisk(key=disk.key, stored=stored[disk.key], new=disk) for disk in machine.disks),
        config=config,
        nvram=None if nvram is None else posixpath.join(posixpath.dirname(config), nvram),
        repository_host=point.host,
        changes=changes,
    )


def _settings(known: Known[PlanVmIn, PlannedVm]) -> tuple[Setting, ...]:
    told, out = known.told, known.out
    if "vcenter" not in told:
        return ()
    if out is not None:
        size = human_bytes(sum(disk.new.capacity for disk in out.disks))
        text = f"VM {out.machine.name} in vCenter {out.vcenter}, {len(out.disks)} disks of {size}"
    else:
        text = f"VM {told.get('name') or 'under its old name'} in vCenter {told['vcenter']}"
    how = "over VDDK" if told.get("transport") == "vddk" else "by an import lease"
    identity = "kept where it is free" if told.get("identity") == "keep" else "new MAC addresses and uuids"
    return (Setting(name="restore to", text=f"{text}, {how}"), Setting(name="identity", text=identity))


def _decisions(out: PlannedVm) -> tuple[Decision, ...]:
    machine = out.machine
    place = {"folder": machine.folder, "pool": machine.pool, "host": machine.host or "vCenter chooses"}
    return (
        Decision(subject="VM", facts={"vCenter": out.vcenter_uuid, "name": machine.name, **place}),
        *(
            Decision(
                subject=f"disk {disk.key}",
                facts={"capacity": human_bytes(disk.new.capacity), "datastore": disk.new.datastore},
            )
            for disk in out.disks
        ),
    )


def _row(change: Change) -> Row:
    became = change.becomes or "left out"
    cells = {"Was": Cell(value=change.was), "Becomes": Cell(value=became), "Why": Cell(value=change.why)}
    return Row(table="Restored VM", key=change.what, cells=cells)
