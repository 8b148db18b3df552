"""The scratch VM while it runs. It has no operating system and no network adapter, and is switched off
hard."""

from __future__ import annotations

from typing import Any

from runner.base.units import MINUTE
from runner.base.waiting import until
from steps.certify import web
from steps.certify.of_snapshots import asked
from steps.certify.outcomes import Expected, NotTried, called, failed
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.vsphere import machine, vmomi
from steps.vsphere.errors import VSphereError
from steps.vsphere.find import datacenter
from steps.vsphere.tasks import outcome

ON_DEADLINE = MINUTE
LOCKED = (423, 500)


class _StillOff(VSphereError):
    pass


def switched_on(scratch: Scratch) -> str | None:
    """By the datacenter, as DRS wants it."""
    scratch.remove_snapshots()
    place = datacenter(scratch.client, scratch.place.datacenter)

    def work(session: Any) -> Any:
        of = session.object(vmomi.vim.Datacenter, place)
        return of.PowerOnMultiVM_Task([session.object(vmomi.vim.VirtualMachine, scratch.vm)])

    doing = "switching the scratch VM on"
    started = called(scratch.client, doing, work)
    if said := failed(started):
        return said
    task: Any = started.result
    ended = outcome(scratch.client, str(task._moId), doing, 10 * MINUTE)
    if said := failed(ended):
        return said
    result: Any = ended.result
    for one in result.attempted or ():
        if one.task is not None and (
            said := failed(outcome(scratch.client, str(one.task._moId), doing, 10 * MINUTE))
        ):
            return said
    if not result.attempted:
        return "the VM is not among those that were tried"
    return None if _is_on(scratch) else "the task ended well and the VM stays off"


def _is_on(scratch: Scratch) -> bool:
    def late() -> _StillOff:
        return _StillOff("the VM stays off")

    def on() -> bool | None:
        return machine.powered_on(scratch.client, scratch.vm) or None

    try:
        return until(
            on, stop=scratch.client.stop, timeout=ON_DEADLINE, late=late, pause=0.1, longest_pause=3.0
        )
    except _StillOff:
        return False


def _need_power(scratch: Scratch) -> None:
    if not machine.powered_on(scratch.client, scratch.vm):
        raise NotTried("the scratch VM is not on")


def without_snapshot(scratch: Scratch) -> str | None:
    _need_power(scratch)
    return Expected("InvalidPowerState").difference(asked(scratch, None, scratch.change_id("sixth")))


def written(scratch: Scratch) -> str | None:
    _need_power(scratch)
    if scratch.place.storage not in ("VMFS", "NFS", "NFS41"):
        raise NotTried(f"there are no flat files on {scratch.place.storage}")
    file = scratch.flat_file
    target = web.target(scratch.place.datacenter, file)
    live = web.request(scratch.client, target, headers={"Range": "bytes=0-511"}).status
    if live not in LOCKED:
        return f"status {live} for the file that a running VM writes"
    scratch.snapshot("running")
    frozen = web.request(scratch.client, target, headers={"Range": "bytes=0-511"}).status
    return None if frozen == 206 else f"status {frozen} for the file once a snapshot froze it"


def power_loss(scratch: Scratch) -> str | None:
    _need_power(scratch)
    before = scratch.change_id("running")
    scratch.act("switching the scratch VM off", lambda vm: vm.PowerOffVM_Task())
    after = scratch.change_id("off again")
    same = before.rpartition("/")[0] == after.rpartition("/")[0]
    return "tracking continues with the same uuid" if same else None


TRIALS = (
    Trial(47, "PowerOnMultiVM_Task ends, and the VM is on within a minute", switched_on),
    Trial(26, "asking without a snapshot is InvalidPowerState while the VM runs", without_snapshot),
    Trial(29, "the file that a running VM writes is refused, and served once a snapshot froze it", written),
    Trial(25, "tracking starts over after a hard power-off", power_loss),
)
