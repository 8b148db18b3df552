"""Snapshots of a VM: taking one, removing it, and merging what it left.

Faults come where the API reference and reports put them: a busy VM, a template and a gone snapshot are
answered by the call itself, everything else by the task. A snapshot of this simulator never holds memory.
"""

from __future__ import annotations

from typing import Any

from steps.lab.simulator import configuration
from steps.lab.simulator.devices import View
from steps.lab.simulator.machine import POWER, Machine, Snapshot
from steps.lab.simulator.objects import operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, vim, vmodl

LONGEST_NAME = 80

DEEPEST = 32
"""Snapshots above each other at most."""

QUIESCE_FAULTS = {
    "application": (
        vim.fault.ApplicationQuiesceFault,
        "An error occurred while quiescing the virtual machine.",
    ),
    "filesystem": (
        vim.fault.FilesystemQuiesceFault,
        "An error occurred while quiescing the virtual machine: the file systems stayed frozen for too long.",
    ),
}


class VirtualMachineSnapshot(Snapshot):
    """VirtualMachineSnapshot of the API."""

    def __init__(self, machine: Machine, name: str, description: str, *, quiesced: bool) -> None:
        super().__init__(
            machine.world,
            name,
            description,
            parent=machine.snapshots[-1] if machine.snapshots else None,
            quiesced=quiesced,
            tracking=machine.tracking,
            views=_frozen(machine),
        )
        self.machine = machine

    @provides("config")
    def config(self) -> Any:
        return configuration.config(self.machine, self.views, self.tracking)

    @provides("vm")
    def vm(self) -> Any:
        return self.machine.ref

    @provides("childSnapshot")
    def child_snapshots(self) -> list[Any]:
        return [child.ref for child in _children(self.machine, self)]

    @operation("RemoveSnapshot_Task")
    def remove(self, call: Call) -> Any:
        def work() -> None:
            victims: list[Snapshot] = [self]
            if call.arguments.removeChildren:
                for one in victims:
                    victims += _children(self.machine, one)
            _drop(self.machine, victims)
            if call.arguments.consolidate is not False:
                consolidate(self.machine)

        return self.machine.start(call, work)

    @operation("RevertToSnapshot_Task")
    def revert(self, call: Call) -> Any:
        if self is not self.machine.snapshots[-1]:
            raise fault(vmodl.fault.NotSupported, "The simulator can revert to the current snapshot only.")
        return self.machine.start(call, lambda: revert(self.machine))

    @operation("RenameSnapshot")
    def rename(self, call: Call) -> None:
        self.name = call.arguments.name or self.name
        self.description = call.arguments.description or self.description
        self.world.changed()


def _frozen(machine: Machine) -> dict[int, View]:
    """Each disk as it is now; what is written from now on goes into a delta above it."""
    machine.world.look_outside()
    views = {}
    for disk in machine.disks:
        if disk.snapshottable:
            change_id = disk.tracker.mark() if disk.tracker else None
            views[disk.key] = View(disk.freeze(), disk.capacity, change_id)
        else:
            views[disk.key] = View(disk.top, disk.capacity, None)
    return views


def create(machine: Machine, call: Call) -> Any:
    """Answers CreateSnapshot_Task and CreateSnapshotEx_Task; the task's result is the snapshot."""
    if not 0 < len(call.arguments.name or "") <= LONGEST_NAME:
        raise fault(
            vim.fault.InvalidName,
            f"A name has 1 to {LONGEST_NAME} characters.",
            name=call.arguments.name or "",
        )
    if machine.spec.template or machine.spec.fault_tolerance != "none":
        raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")
    asked = call.arguments
    quiesce = bool(asked.quiesceSpec is not None if call.method == "CreateSnapshotEx_Task" else asked.quiesce)

    def work() -> Any:
        _refuse(machine, memory=bool(asked.memory))
        quiesced = quiesce and _quiesce(machine)
        machine.stun()
        if machine.world.faults.hits("cbt-reset"):
            machine.lose_tracking()
        made = VirtualMachineSnapshot(machine, asked.name, asked.description or "", quiesced=quiesced)
        machine.snapshots.append(made)
        machine.touch()
        return made.ref

    return machine.start(call, work)


def _refuse(machine: Machine, *, memory: bool) -> None:
    if machine.spec.snapshots != "allowed":
        kind = (
            vim.fault.SnapshotDisabled if machine.spec.snapshots == "disabled" else vim.fault.SnapshotLocked
        )
        raise fault(kind, f"Snapshots of the virtual machine are {machine.spec.snapshots}.")
    if len(machine.snapshots) >= DEEPEST:
        raise fault(vim.fault.TooManySnapshotLevels, f"Snapshots cannot be more than {DEEPEST} levels deep.")
    shared = {
        key
        for key, one in machine.devices.items()
        if getattr(one, "sharedBus", None) not in (None, "noSharing")  # an NVMe controller's may be unset
    }
    for disk in machine.disks:
        on_shared_bus = disk.spec.controller in shared or (disk.spec.sharing != "none" and disk.snapshottable)
        if on_shared_bus:
            raise fault(
                vim.fault.SnapshotIncompatibleDeviceInVm,
                "The virtual machine has a device that a snapshot cannot cover.",
                fault=fault(
                    vim.fault.SharedBusControllerNotSupported, "The bus is shared.", device=f"Disk {disk.key}"
                ),
            )
        if memory and not disk.snapshottable:
            raise fault(
                vim.fault.MemorySnapshotOnIndependentDisk,
                "A snapshot with memory is not possible with an independent disk.",
            )
    full = [disk for disk in machine.disks if disk.snapshottable and machine.datastore_of(disk).free == 0]
    if full or machine.world.faults.hits("no-space"):
        disk = full[0] if full else machine.disks[0]
        raise fault(
            vim.fault.NoDiskSpace,
            f"There is not enough space in the datastore {machine.datastore_of(disk).name}.",
            file=machine.layer_file(disk)(disk.top),
            datastore=machine.datastore_of(disk).name,
        )


def _quiesce(machine: Machine) -> bool:
    """False where quiescing is ignored: the VM is off, or has no running Tools (API reference)."""
    if not machine.tools_run:
        return False
    wanted = machine.world.faults.take("quiesce-fault")
    kind = wanted["fault"] if wanted else machine.spec.quiesce.removesuffix("-fault")
    if kind in QUIESCE_FAULTS:
        raise fault(*QUIESCE_FAULTS[kind])
    return True


def remove_all(machine: Machine) -> None:
    if machine.snapshots:
        _drop(machine, list(machine.snapshots))
        consolidate(machine)


def _drop(machine: Machine, victims: list[Snapshot]) -> None:
    """Takes snapshots out of the tree; their children move up. The disks stay as they are."""
    for victim in victims:
        for child in _children(machine, victim):
            child.parent = victim.parent
        machine.snapshots.remove(victim)
        machine.world.remove(victim)
    machine.touch()


def consolidate(machine: Machine) -> None:
    """Merges every delta whose parent no snapshot needs any more; the machine is stunned once for it."""
    machine.stun()
    if failure := machine.world.faults.take("merge-failure"):
        machine.consolidation_needed = True
        machine.touch()
        if failure["answer"] == "error":
            raise fault(
                vim.fault.GenericVmConfigFault,
                "An error occurred while consolidating disks: msg.snapshot.error-DISKLOCKED.",
                reason="msg.snapshot.error-DISKLOCKED",
            )
        return
    for disk in machine.disks:
        # One that was attached later is in no snapshot.
        within = [snapshot for snapshot in machine.snapshots if disk.key in snapshot.views]
        needed = {id(snapshot.views[disk.key].layer) for snapshot in within}
        for layer in list(disk.layers):
            # Merging moves up what a later snapshot froze: its view then is of the layer merged into.
            while layer in disk.layers and layer is not disk.top and id(layer) not in needed:
                gone = disk.merge_down(layer)
                for snapshot in within:
                    view = snapshot.views[disk.key]
                    if view.layer is gone:
                        snapshot.views[disk.key] = View(layer, view.capacity, view.change_id)
                        needed.add(id(layer))
    machine.consolidation_needed = False
    machine.touch()


def revert(machine: Machine) -> None:
    """Back to the current snapshot, which holds no memory: the VM is off afterwards, and tracking starts
    over."""
    if not machine.snapshots:
        raise fault(vim.fault.NotFound, "The virtual machine has no snapshot.")
    for disk in machine.disks:
        if disk.snapshottable and disk.key in machine.snapshots[-1].views:
            disk.drop_above(machine.snapshots[-1].views[disk.key].layer)
            disk.freeze()
    machine.power = POWER.poweredOff
    machine.lose_tracking()
    machine.touch()


def information(machine: Machine) -> Any:
    """VirtualMachineSnapshotInfo, or None (unset) without a snapshot."""
    if not machine.snapshots:
        return None
    roots = _trees(machine, _children(machine, None))
    return vim.vm.SnapshotInfo(currentSnapshot=machine.snapshots[-1].ref, rootSnapshotList=roots)


def _children(machine: Machine, parent: Snapshot | None) -> list[Snapshot]:
    return [one for one in machine.snapshots if one.parent is parent]


def _trees(machine: Machine, snapshots: list[Snapshot]) -> list[Any]:
    return [
        vim.vm.SnapshotTree(
            snapshot=snapshot.ref,
            vm=machine.ref,
            name=snapshot.name,
            description=snapshot.description,
            id=int(snapshot.moid.rsplit("-", 1)[-1]),
            createTime=snapshot.created,
            state="poweredOff",  # without memory, whatever the VM's state was
            quiesced=snapshot.quiesced,
            replaySupported=False,
            childSnapshotList=_trees(machine, _children(machine, snapshot)),
        )
        for snapshot in snapshots
    ]
