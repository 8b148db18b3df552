"""Destroying and unregistering a VM, when somebody asks for it over the API."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.machine import Machine
from steps.lab.simulator.power import invalid_state
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, vim

DELETE = "VirtualMachine.Inventory.Delete"


def destroy(machine: Machine, call: Call) -> Any:
    """Answers Destroy_Task, which takes Inventory.Delete on the VM and on what it is in (API reference)."""
    above = [machine.parent] if machine.parent is not None else []
    machine.world.authorization.require(*((DELETE, one) for one in (machine, *above)))

    def work() -> None:
        if machine.is_on:
            raise invalid_state(machine)
        machine.destroy()

    return machine.start(call, work)


def unregister(machine: Machine) -> None:
    """Raises TaskInProgress, InvalidPowerState."""
    if machine.busy is not None:
        raise fault(vim.fault.TaskInProgress, "Another task is already in progress.", task=machine.busy)
    if machine.is_on:
        raise invalid_state(machine)
    machine.unregister()
