"""ResourcePool.ImportVApp: a VM is made with empty disks, which come in under the lease.

It takes VApp.Import and all that CreateVM_Task takes; what then goes wrong is in the lease (API reference).
An import into a vApp, where a folder is forbidden, is not simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steps.lab.simulator import privileges
from steps.lab.simulator.compute import ResourcePool, VirtualApp
from steps.lab.simulator.creation import create
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.nfc import target
from steps.lab.simulator.nfc.lease import Door, Lease
from steps.lab.simulator.nfc.target import Target
from steps.lab.simulator.objects import World
from steps.lab.simulator.placement import surroundings
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl

OVF_FILE = "ovf:/file/"
"""Begins the value of the setting `nvram` where that file is to come in (seen in govmomi's fixtures)."""


class ImportLease(Lease):
    def takes(self, target: Target) -> tuple[str, ...]:
        return ("POST",) if target.disk else ("PUT",)

    def undo(self) -> None:
        if self.machine is not None:
            self.machine.destroy()

    def make(self, pool: ResourcePool, call: Call) -> tuple[Machine, Sequence[Target]]:
        """Raises vmodl faults."""
        spec, folder = call.arguments.spec, _found(self.world, call.arguments.folder)
        if not isinstance(spec, vim.vm.VmImportSpec):
            raise invalid_argument("spec")
        if folder is None or isinstance(pool, VirtualApp):
            # Seen where the folder was left out (pyvmomi issue 281).
            raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")
        config = spec.configSpec
        files = [one for one in config.extraConfig if one.key == "nvram" and OVF_FILE in str(one.value)]
        config.extraConfig = [one for one in config.extraConfig if one not in files]
        place = surroundings(folder, pool, _found(self.world, call.arguments.host))
        self.machine = create(folder, config, place).machine
        return self.machine, target.of(self.machine, config.name, nvram=bool(files))


def start(world: World, door: Door, pool: ResourcePool, call: Call) -> ImportLease:
    """Raises NoPermission."""
    spec, folder = call.arguments.spec, _found(world, call.arguments.folder)
    if folder is not None and isinstance(spec, vim.vm.VmImportSpec):
        place = surroundings(folder, pool, _found(world, call.arguments.host))
        world.authorization.require(
            ("VirtualMachine.Inventory.Create", folder),
            ("Resource.AssignVMToPool", pool),
            *privileges.of_creation(spec.configSpec, folder, place),
        )
    return ImportLease(world, door, call)


def _found(world: World, reference: Any) -> Any:
    return None if reference is None else world.find(reference)
