"""Waiting for a task: to its end, since giving up on one leaves what it makes to nobody."""

from __future__ import annotations

import time

from pyVmomi import vim

from runner.base.units import human_seconds
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

    Raises what the task ended with (`errors`), Gone if vCenter has forgotten the task (it forgets finished
    ones after a while, so the end is not known), VSphereError if it still runs then."""
    ends = time.monotonic() + deadline
    wait = FIRST_LOOK
    while True:
        seen = read(client, vim.Task, task, ("info.state", "info.error", "info.result"), doing)
        match given(seen, "info.state", task):
            case vim.TaskInfo.State.success:
                return seen.get("info.result")
            case vim.TaskInfo.State.error:
                raise explain(given(seen, "info.error", task), doing)
        if time.monotonic() > ends:
            raise VSphereError(
                f"{doing} has not ended after {human_seconds(deadline)}: look at {task} in vSphere, then run "
                "the same command again"
            )
        time.sleep(wait)
        wait = min(wait * 1.5, LAST_LOOK)


def running(client: Client, vm: str, doing: str) -> tuple[tuple[str, str], ...]:
    """The (moref, descriptionId) of the VM's tasks that are queued or running."""
    recent = read(client, vim.VirtualMachine, vm, ("recentTask",), doing).get("recentTask") or ()
    found = []
    for task in recent:
        try:
            info = read(client, vim.Task, task._moId, ("info.state", "info.descriptionId"), doing)
        except Gone:
            continue  # it ended, and was forgotten since the VM was read
        if info.get("info.state") in (vim.TaskInfo.State.queued, vim.TaskInfo.State.running):
            found.append((str(task._moId), str(info.get("info.descriptionId", "a task"))))
    return tuple(found)
