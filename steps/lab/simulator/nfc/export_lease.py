"""VirtualMachine.ExportVm: a lease on a VM as it is, whose disks are read as streams."""

from __future__ import annotations

from collections.abc import Sequence

from steps.lab.simulator.machine import POWER, Machine
from steps.lab.simulator.nfc import target
from steps.lab.simulator.nfc.lease import Door, Lease
from steps.lab.simulator.nfc.target import Target
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, vim


class ExportLease(Lease):
    def takes(self, target: Target) -> tuple[str, ...]:
        return ("GET",)

    def undo(self) -> None:
        """It made nothing."""

    def make(self, machine: Machine) -> tuple[Machine, Sequence[Target]]:
        """Its NVRAM file comes along where it has one (seen: key ``/10/nvram``)."""
        return machine, target.of(machine, machine.moid, nvram=machine.path("nvram").exists())


def start(door: Door, machine: Machine, call: Call) -> ExportLease:
    """Raises InvalidPowerState where the VM is on (API reference), TaskInProgress."""
    if machine.power != POWER.poweredOff:
        raise fault(
            vim.fault.InvalidPowerState,
            "The attempted operation cannot be performed in the current state (Powered on).",
            requestedState=POWER.poweredOff,
            existingState=machine.power,
        )
    if machine.busy is not None:
        raise fault(vim.fault.TaskInProgress, "Another task is already in progress.", task=machine.busy)
    return ExportLease(machine.world, door, call)
