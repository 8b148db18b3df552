"""Waiting for a task: to its end, unless the run is told to stop. vSphere then continues it; the code that
asked for it named what it makes or removes, and looks for that name the next time."""

from __future__ import annotations

from dataclasses import dataclass

from runner.base.errors import Interrupted
from runner.base.units import human_seconds
from runner.base.waiting import until
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.faults import explain
from steps.vsphere.properties import read
from steps.vsphere.unset import given

FIRST_LOOK = 0.05
"""Seconds; each wait is half as long again, since short tasks end soon and merging disks takes hours."""

LAST_LOOK = 3.0


def finish(client: Client, task: str, doing: str, deadline: float) -> object:
    """Waits at most `deadline` seconds for the task of that moref and returns its result: a managed object or
    None.

    Raises what the task ended with (`errors`), Gone if vCenter no longer has the task (it drops finished
    ones after a while, so the end is not known), VSphereError if it still runs then, Interrupted."""

    ended = outcome(client, task, doing, deadline)
    if ended.fault is not None:
        raise explain(ended.fault, doing)
    return ended.result


@dataclass(frozen=True)
class Outcome:
    """What a task ended with: its result, or a fault of the API."""

    result: object = None
    fault: vmomi.vmodl.MethodFault | None = None


def outcome(client: Client, task: str, doing: str, deadline: float) -> Outcome:
    """As `finish`, for whom the fault itself matters."""

    def result() -> Outcome | None:
        seen = read(client, vmomi.vim.Task, task, ("info.state", "info.error", "info.result"), doing)
        match given(seen, "info.state", task):
            case vmomi.vim.TaskInfo.State.success:
                return Outcome(result=seen.get("info.result"))
            case vmomi.vim.TaskInfo.State.error:
                return Outcome(fault=given(seen, "info.error", task))
        return None

    def late() -> VSphereError:
        return VSphereError(
            f"{doing} has not ended after {human_seconds(deadline)}: look at {task} in vSphere, then run the "
            "same command again"
        )

    try:
        return until(
            result,
            stop=client.stop,
            timeout=deadline,
            late=late,
            pause=FIRST_LOOK,
            longest_pause=LAST_LOOK,
        )
    except Interrupted as stopped:
        raise Interrupted(
            f"interrupted while {doing}; vSphere continues it ({task}): run the same command again to resume"
        ) from stopped


def running(client: Client, vm: str, doing: str) -> tuple[tuple[str, str], ...]:
    """The (moref, descriptionId) of the VM's tasks that are queued or running."""
    return running_on(client, vmomi.vim.VirtualMachine, vm, doing)


def running_on(
    client: Client, kind: type[vmomi.ManagedObject], moref: str, doing: str
) -> tuple[tuple[str, str], ...]:
    """As `running`, of any object: a VM that is being made is a task of its folder."""
    recent = read(client, kind, moref, ("recentTask",), doing).get("recentTask") or ()
    found = []
    for task in recent:
        try:
            info = read(client, vmomi.vim.Task, task._moId, ("info.state", "info.descriptionId"), doing)
        except Gone:
            continue  # it ended, and was forgotten since the VM was read
        if info.get("info.state") in (vmomi.vim.TaskInfo.State.queued, vmomi.vim.TaskInfo.State.running):
            found.append((str(task._moId), str(info.get("info.descriptionId", "a task"))))
    return tuple(found)
