"""A VM that a restore has made and not finished: what it is called, whose it is, and how it goes.

It is this run's only if its mark says so and its name still has the run's id: a clone that somebody makes of
it meanwhile copies the mark, and is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from runner.base.errors import SendenseError
from runner.step.step import Retained
from steps.values.created_vm import CreatedDisk, CreatedVm
from steps.values.planned_vm import PlannedVm
from steps.vsphere import creation, machine, marks, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.marks import Marked
from steps.vsphere.names import NAME_LIMIT, escape, unescape
from steps.vsphere.properties import read
from steps.vsphere.unset import given

RESTORING = "restoring"


class NotOursError(SendenseError):
    """A VM that is not removed, since it may be somebody else's."""


def interim_name(name: str, run: str) -> str:
    """``pgtest1 (restoring 20261123T170000Z-3f9a0c1e)``: cut to what vSphere takes, with the run's id
    whole."""
    end = f" ({RESTORING} {run})"
    while len(escape(name)) + len(end) > NAME_LIMIT:
        name = name[:-1]
    return f"{name.rstrip()}{end}"


def own(client: Client, run: str) -> Marked | None:
    """The VM that `run` has made and not finished. Raises NotOursError where several may be."""
    found = own_all(client, run)
    if len(found) > 1:
        told = ", ".join(f"{one.name} ({one.moref})" for one in found)
        raise NotOursError(
            f"{len(found)} VMs say that run {run} is making them ({told}): delete the copies in vSphere"
        )
    return found[0] if found else None


def own_all(client: Client, run: str) -> tuple[Marked, ...]:
    """Those that carry its mark and its name: more than one where somebody cloned it under its name."""
    return tuple(one for one in marks.find(client, marks.RESTORE) if is_of(one, run))


def is_of(marked: Marked, run: str) -> bool:
    mark = marked.mark
    return mark is not None and mark.run == run and marked.name.endswith(f" ({RESTORING} {run})")


def as_it_is(client: Client, moref: str, run: str) -> Marked | None:
    """The VM, if it still is one that `run` has made and not finished."""
    return next((one for one in own_all(client, run) if one.moref == moref), None)


def describe(client: Client, vm: Marked, planned: PlannedVm) -> CreatedVm:
    """Raises VSphereError where a disk is missing, or is another."""
    return _described(client, vm, planned, creation.made_disks(client, vm.moref, planned.machine))


def leftover(client: Client, run: str, planned: PlannedVm) -> CreatedVm | None:
    """The VM that `run` has made and not finished, to be removed: whatever its disks are. Raises
    NotOursError."""
    found = own(client, run)
    return None if found is None else _described(client, found, planned, ())


def _described(
    client: Client, vm: Marked, planned: PlannedVm, disks: Iterable[creation.MadeDisk]
) -> CreatedVm:
    identity = machine.identity(client, vm.moref)
    if identity is None:
        raise Gone(f"VM {vm.name} no longer exists: somebody removed it in vSphere; run again")
    return CreatedVm(
        vcenter=client.name,
        moref=vm.moref,
        instance_uuid=identity.instance_uuid,
        name=vm.name,
        datacenter=planned.machine.datacenter,
        mark=vm.value,
        vmx_file=str(machine.vmx_file(client, vm.moref)),
        disks=tuple(
            CreatedDisk(
                key=disk.key,
                new_key=disk.new_key,
                backing_uuid=disk.backing_uuid,
                file=disk.file,
                capacity=disk.capacity,
            )
            for disk in disks
        ),
    )


def retained(vm: CreatedVm) -> Retained:
    return Retained(f"the unfinished VM {vm.name} ({vm.moref}) in vCenter {vm.vcenter}")


def still_there(client: Client, vm: CreatedVm) -> bool:
    """Whether the VM that a record tells of is there: unfinished, or finished by now."""
    found = machine.identity(client, vm.moref)
    if found is None or found.instance_uuid != vm.instance_uuid:
        return False
    return marks.of(client, vm.moref, marks.RESTORE) in (vm.mark, None)


def is_released(client: Client, vm: CreatedVm) -> bool:
    """Whether it was finished: the mark and the name that says that it is not go in one change, so one that
    has lost the mark alone has lost it to somebody. People may rename it later."""
    path = marks.path_of(marks.RESTORE)
    paths = ("config.instanceUuid", "name", path)
    try:
        seen = read(client, vmomi.vim.VirtualMachine, vm.moref, paths, f"looking at VM {vm.name}")
    except Gone:
        return False
    if marks.value_in(seen, path) or str(seen.get("config.instanceUuid", "")) != vm.instance_uuid:
        return False
    return unescape(str(given(seen, "name", f"VM {vm.moref}"))) != vm.name


def remove(client: Client, vm: CreatedVm, run: str) -> None:
    """Destroys it with its disks, if it still is what `run` made and has not finished, whichever moref it is
    registered under by now; absent is fine. Raises NotOursError, and VSphereError for one that runs."""
    marked = own_all(client, run)
    for one in marked:
        if _is_same(client, one.moref, vm):
            destroy(client, one)
            return
    if marked or _is_same(client, vm.moref, vm):
        raise NotOursError(
            f"{vm.name} ({vm.moref}) is not removed: it no longer has the mark, the name or the uuid of what "
            f"run {run} made, so it may be somebody's; remove it in vSphere if it is not"
        )


def _is_same(client: Client, moref: str, vm: CreatedVm) -> bool:
    found = machine.identity(client, moref)
    return found is not None and found.instance_uuid == vm.instance_uuid


def destroy(client: Client, vm: Marked) -> None:
    """Raises VSphereError for one that runs: somebody switched it on."""
    if machine.powered_on(client, vm.moref):
        raise VSphereError(
            f"{vm.name} ({vm.moref}) is powered on, so it is not removed: power it off in vSphere, then "
            "run the same command again"
        )
    creation.destroy(client, vm.moref, f"removing the unfinished VM {vm.name}")
