"""A VM is powered on: to where it runs, or to why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.base.units import MINUTE, human_seconds
from runner.base.waiting import until
from steps.vsphere import find, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.faults import explain, text_of
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.tasks import FIRST_LOOK, LAST_LOOK
from steps.vsphere.unset import given

DEADLINE = 10 * MINUTE
"""For it to run: with a memory reservation the host makes room first."""


class NotPoweredOn(VSphereError):
    """The VM is there, and off."""


def switch_on(client: Client, vm: str, name: str, datacenter: str) -> None:
    """Returns once the VM runs. `name` is the VM's, `datacenter` the inventory path of its datacenter.

    vCenter chooses the host; PowerOnVM_Task is deprecated there (API reference). A task that ended says too
    little: in a cluster whose DRS is manual it succeeds and the VM stays off, else it may end before the VM
    runs (Bareos). Raises NotPoweredOn for those, for a question that vSphere asks, and for a VM that is still
    off after `DEADLINE`; PermissionMissing and what else a task ends with."""
    doing = f"powering on {name}"
    if _is_on(client, vm, name, doing):
        return
    tasks = [_begin(client, vm, datacenter, doing)]

    def on() -> bool:
        tasks[:] = [further for task in tasks for further in _after(client, task, name, doing)]
        return _is_on(client, vm, name, doing)

    until(
        lambda: on() or None,
        stop=client.stop,
        timeout=DEADLINE,
        late=lambda: NotPoweredOn(
            f"{name} is not on after {human_seconds(DEADLINE)}: look at its tasks in vSphere, then run again"
        ),
        pause=FIRST_LOOK,
        longest_pause=LAST_LOOK,
    )


def _is_on(client: Client, vm: str, name: str, doing: str) -> bool:
    """Raises NotPoweredOn for a VM that waits for an answer."""
    seen = read(client, vmomi.vim.VirtualMachine, vm, ("runtime.powerState", "runtime.question"), doing)
    question = seen.get("runtime.question")
    if question is not None:
        choices = [str(choice.label) for choice in question.choice.choiceInfo or ()]
        raise NotPoweredOn(
            f"{name} waits for an answer in vSphere: {str(question.text).strip()} ({', '.join(choices)}): "
            "answer it there, then run again"
        )
    return bool(seen.get("runtime.powerState") == vmomi.vim.VirtualMachine.PowerState.poweredOn)


def _begin(client: Client, vm: str, datacenter: str, doing: str) -> str:
    """The moref of the task."""
    place = find.datacenter(client, datacenter)

    def work(session: Session) -> str:
        machine = session.object(vmomi.vim.VirtualMachine, vm)
        if session.service("about").apiType == "HostAgent":
            return str(machine.PowerOnVM_Task()._moId)  # an ESXi host by itself chooses nothing
        there = session.object(vmomi.vim.Datacenter, place)
        return str(there.PowerOnMultiVM_Task(vm=[machine], option=[])._moId)

    return client.act(doing, work)


def _after(client: Client, task: str, name: str, doing: str) -> Iterator[str]:
    """The tasks that are to be looked at the next time: itself while it works, then those that it began.
    Raises what it ended with."""
    try:
        seen = read(client, vmomi.vim.Task, task, ("info.state", "info.error", "info.result"), doing)
    except Gone:
        return  # it ended, and was forgotten
    state, result = seen.get("info.state"), seen.get("info.result")
    if state == vmomi.vim.TaskInfo.State.error:
        raise explain(given(seen, "info.error", task), doing)
    if state != vmomi.vim.TaskInfo.State.success:
        yield task
    elif isinstance(result, vmomi.vim.cluster.PowerOnVmResult):
        yield from _attempted(result, name)


def _attempted(result: Any, name: str) -> Iterator[str]:
    for refused in result.notAttempted or ():
        raise NotPoweredOn(f"{name} cannot be powered on: {text_of(refused.fault)}")
    if result.recommendations and not result.attempted:
        raise NotPoweredOn(
            f"{name} is not powered on: DRS of its cluster is manual, and recommends a host for it: apply "
            "that in vSphere"
        )
    for one in result.attempted or ():
        if one.task is not None:
            yield str(one.task._moId)
