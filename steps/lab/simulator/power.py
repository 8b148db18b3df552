"""Turning a VM on and off, one by itself or several by the datacenter, and the questions that hold it up.

A power-on can hang at 95 % until AnswerVM (API reference, VirtualMachine.runtime.question); a datacenter's
task can succeed while the VM is still off, where DRS waits for a person (bareos-fd-vmware polls powerState).
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from steps.lab.simulator import mac
from steps.lab.simulator.machine import POWER, Machine, Question
from steps.lab.simulator.objects import World
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl

CANCEL = "Cancel"


def invalid_state(machine: Machine, wanted: Any = None) -> Exception:
    return fault(
        vim.fault.InvalidPowerState,
        "The attempted operation cannot be performed in the current state.",
        requestedState=wanted,
        existingState=machine.power,
    )


def turn(machine: Machine, state: Any) -> None:
    """Within a task. Off is hard, which resets changed block tracking (KB 320557). Raises vmodl faults."""
    if machine.power == state:
        raise invalid_state(machine, state)
    on = state == POWER.poweredOn
    if on:
        _refuse_to_start(machine)
        if asked := machine.world.faults.take("power-on-question"):
            _ask(machine, asked["text"])
        if taken := machine.lock_files(on=True):
            machine.lock_files(on=False)
            raise fault(vim.fault.FileLocked, f"Unable to access file {taken} since it is locked", file=taken)
        machine.make_nvram()
    machine.power = state
    for one in machine.devices.values():
        if one.connectable is not None:
            one.connectable.connected = on and bool(one.connectable.startConnected)
    machine.stun()
    if on:
        for disk in machine.disks:
            disk.boot()
    else:
        machine.lose_tracking()
    machine.happened(vim.event.VmPoweredOnEvent if on else vim.event.VmPoweredOffEvent)
    machine.touch()


def _refuse_to_start(machine: Machine) -> None:
    if machine.spec.template:
        raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")
    for card in machine.cards:
        if card.addressType == "manual" and mac.is_reserved(card.macAddress):
            text = (
                f"{card.macAddress} is not an allowed static Ethernet address. It conflicts with VMware "
                "reserved MACs."
            )
            raise fault(vim.fault.GenericVmConfigFault, text, reason=text)


def _ask(machine: Machine, text: str) -> None:
    """Until somebody answers; the lock is free meanwhile. Raises GenericVmConfigFault where the answer is to
    cancel."""
    world = machine.world
    machine.asked += 1
    machine.question = Question(text, str(machine.asked), (CANCEL, "Continue"), "msg.simulator.question")
    task: Any = world.find(machine.busy)
    task.info.progress = 95
    world.changed()
    while machine.is_asking:
        if world.stopping.is_set():
            raise fault(vmodl.fault.RequestCanceled, "The request was canceled by a user.")
        world.lock.wait()
    if machine.answer == CANCEL:
        raise fault(vim.fault.GenericVmConfigFault, "The power-on was canceled.", reason=text)


def answer(machine: Machine, call: Call) -> None:
    """Raises InvalidArgument where that question is not asked (any more), and for an answer that it does not
    have (API reference, AnswerVM)."""
    asked, given = machine.question, call.arguments
    if asked is None or asked.id != given.questionId:
        raise invalid_argument("questionId")
    if given.answerChoice not in map(str, range(len(asked.choices))):
        raise invalid_argument("answerChoice")
    machine.answer, machine.question = asked.choices[int(given.answerChoice)], None
    machine.world.changed()


def several(world: World, datacenter: Any, call: Call) -> Any:
    """Answers Datacenter.PowerOnMultiVM_Task. Its result names a task for each VM that is attempted, and a
    fault for each that is not."""
    machines = [one for one in map(world.find, call.arguments.vm) if isinstance(one, Machine)]

    def work() -> Any:
        late = world.faults.take("power-on-late")
        attempted, refused = [], []
        for machine in machines:
            try:
                if machine.is_on:
                    raise invalid_state(machine, POWER.poweredOn)
                _refuse_to_start(machine)
                task = None if late else _start(machine, call)
                attempted.append(vim.cluster.AttemptedVmInfo(vm=machine.ref, task=task))
            except vmodl.MethodFault as error:
                refused.append(vim.cluster.NotAttemptedVmInfo(vm=machine.ref, fault=error))
            if late and late["seconds"]:
                threading.Thread(target=_later, args=(machine, call, late["seconds"]), daemon=True).start()
        return vim.cluster.PowerOnVmResult(attempted=attempted, notAttempted=refused)

    return world.tasks.start(call, datacenter, datacenter.name, work, lambda: None)


def _start(machine: Machine, call: Call) -> Any:
    def work() -> None:
        turn(machine, POWER.poweredOn)

    return machine.start(replace(call, method="PowerOnVM_Task"), work)


def _later(machine: Machine, call: Call, seconds: float) -> None:
    if not machine.world.stopping.wait(seconds):
        with machine.world.lock:
            _start(machine, call)
