"""Snapshots and changed block tracking, tried on a VM that is off."""

from __future__ import annotations

import re
from typing import Any

from steps.certify.outcomes import Expected, NotTried, called, failed
from steps.certify.scratch import CAPACITY, Scratch
from steps.certify.trial import Trial
from steps.vsphere import cbt, vmomi
from steps.vsphere.session import Session
from steps.vsphere.tasks import Outcome

FORM = re.compile(r"(?:[0-9a-f]{2} ){7}[0-9a-f]{2}-(?:[0-9a-f]{2} ){7}[0-9a-f]{2}/[0-9]+")
FOREIGN = "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 01/1"
BLOCK = 64 * 1024
GONE = r"The object 'vim\.vm\.Snapshot:[^']+' has already been deleted or has not been completely created"


def asked(scratch: Scratch, snapshot: str | None, change_id: str, start: int = 0, vm: str = "") -> Outcome:
    """What QueryChangedDiskAreas answers."""
    key = scratch.key

    def work(session: Session) -> Any:
        moment = None if snapshot is None else session.object(vmomi.vim.vm.Snapshot, snapshot)
        machine = session.object(vmomi.vim.VirtualMachine, vm or scratch.vm)
        return machine.QueryChangedDiskAreas(moment, key, start, change_id)

    return called(scratch.client, "asking for changed areas", work)


def delta(scratch: Scratch) -> str | None:
    before = scratch.disk
    snapshot = scratch.snapshot("first")
    frozen, live = scratch.frozen(snapshot), scratch.disk
    parent = live.backing.parent
    if (frozen.key, frozen.backing.fileName) != (before.key, before.backing.fileName):
        return "the snapshot names the disk by another key or file than the VM did"
    if not re.search(r"-\d{6}\.vmdk$", str(live.backing.fileName)):
        return "the disk's new file is not called -NNNNNN.vmdk"
    if parent is None or parent.fileName != before.backing.fileName:
        return "the disk's new file does not name the frozen one as its parent"
    if live.backing.uuid != before.backing.uuid:
        return "the disk's new file has another uuid"
    if live.backing.contentId == before.backing.contentId:
        return "the disk's new file has the contentId of the frozen one"
    return None


def untracked(scratch: Scratch) -> str | None:
    """After `delta`: with its snapshot, before tracking is on."""
    outcome = asked(scratch, scratch.taken("first"), FOREIGN)
    return Expected("FileFault", key="cbt.noTrack").difference(outcome)


def gone(scratch: Scratch) -> str | None:
    snapshot = scratch.taken("first")
    scratch.remove_snapshots()
    outcome = called(
        scratch.client,
        "asking for a snapshot that is gone",
        lambda session: session.object(vmomi.vim.vm.Snapshot, snapshot).RemoveSnapshot_Task(False),
    )
    return Expected("ManagedObjectNotFound", text=GONE).difference(outcome)


def at_once(scratch: Scratch) -> str | None:
    if not cbt.is_supported(scratch.client, scratch.vm):
        raise NotTried("the scratch VM cannot be tracked")
    cbt.enable(scratch.client, scratch.vm)
    if not cbt.is_on(scratch.client, scratch.vm):
        return "a VM that is off is not tracked until something else happens to it"
    if not cbt.is_on_for(scratch.client, scratch.vm, "scsi0:0"):
        return "the disk has no ctkEnabled among the advanced settings"
    return None


def form(scratch: Scratch) -> str | None:
    change_id = scratch.change_id("second")
    if not FORM.fullmatch(change_id):
        shape = re.sub(r"[0-9a-f]", "x", change_id, flags=re.IGNORECASE)
        return f"it has the form {shape or '(unset)'}"
    number = int(change_id.rpartition("/")[2])
    later = int(scratch.change_id("third").rpartition("/")[2])
    return None if later > number else f"the number goes from {number} to {later} with the next snapshot"


def at_the_end(scratch: Scratch) -> str | None:
    text = r"A specified parameter was not correct: startOffset"
    outcome = asked(scratch, scratch.taken("third"), scratch.change_id("second"), start=CAPACITY)
    return Expected("InvalidArgument", property="startOffset", text=text).difference(outcome)


def one_page(scratch: Scratch) -> str | None:
    outcome = asked(scratch, scratch.taken("third"), scratch.change_id("second"))
    if said := failed(outcome):
        return said
    found: Any = outcome.result
    if found.startOffset != 0 or found.length != CAPACITY:
        return f"it ends at {found.startOffset + found.length} of {CAPACITY} bytes"
    return None


def all_of_it(scratch: Scratch) -> str | None:
    outcome = asked(scratch, scratch.taken("third"), "*")
    if scratch.place.storage != "VMFS" and outcome.fault is not None:
        return Expected("FileFault", key="cbt.noEpoch").difference(outcome)
    if said := failed(outcome):
        return f"on {scratch.place.storage}, {said}"
    found: Any = outcome.result
    areas = [(int(area.start), int(area.length)) for area in found.changedArea or ()]
    if scratch.place.storage != "VMFS" and areas != [(0, CAPACITY)]:
        return f'"*" gives {len(areas)} areas on {scratch.place.storage}'
    if any(start % BLOCK or (length % BLOCK and start + length != CAPACITY) for start, length in areas):
        return "areas are not whole blocks of 64 KiB"
    return None


def after_removal(scratch: Scratch) -> str | None:
    old = scratch.change_id("second")
    scratch.remove_snapshots()
    scratch.snapshot("fourth")
    outcome = asked(scratch, scratch.taken("fourth"), old)
    return failed(outcome)


def other_tracking(scratch: Scratch) -> str | None:
    outcome = asked(scratch, scratch.taken("fourth"), FOREIGN)
    return Expected("FileFault", key="cbt.cannotGetChanges").difference(outcome)


def later_number(scratch: Scratch) -> str | None:
    identity, _, number = scratch.change_id("fourth").rpartition("/")
    outcome = asked(scratch, scratch.taken("fourth"), f"{identity}/{int(number) + 1000}")
    return Expected("FileFault", key="cbt.cannotGetChanges").difference(outcome)


def of_another_vm(scratch: Scratch) -> str | None:
    outcome = asked(scratch, scratch.taken("fourth"), scratch.change_id("fourth"), vm=scratch.other)
    return Expected("NotFound").difference(outcome)


def after_revert(scratch: Scratch) -> str | None:
    before = scratch.change_id("fourth")
    scratch.act("reverting to the snapshot", lambda vm: vm.RevertToCurrentSnapshot_Task())
    scratch.snapshot("fifth")
    return _started_over(before, scratch.change_id("fifth"))


def after_growth(scratch: Scratch) -> str | None:
    before = scratch.change_id("fifth")
    scratch.remove_snapshots()
    scratch.grow()
    scratch.snapshot("sixth")
    return _started_over(before, scratch.change_id("sixth"))


def _started_over(before: str, after: str) -> str | None:
    if not after:
        return "the disk is not tracked afterwards"
    return (
        None
        if before.rpartition("/")[0] != after.rpartition("/")[0]
        else "tracking continues with the same uuid"
    )


TRIALS = (
    Trial(6, "a snapshot keeps file and key; the disk moves to a delta of the same uuid", delta),
    Trial(22, "a changeId is refused with cbt.noTrack while tracking is off", untracked),
    Trial(14, "a call on a snapshot that is gone is ManagedObjectNotFound, with its text", gone),
    Trial(15, "tracking of a VM that is off starts at once", at_once),
    Trial(17, "a changeId is 16 spaced bytes with one dash and a number that rises", form),
    Trial(20, "asking from the end of the disk on is InvalidArgument startOffset", at_the_end),
    Trial(19, "few changes are one page, which ends with the disk", one_page),
    Trial(23, '"*" gives what is allocated on VMFS, and everything elsewhere', all_of_it),
    Trial(18, "an old changeId is answered after its snapshot is gone", after_removal),
    Trial(22, "a changeId of other tracking is refused with cbt.cannotGetChanges", other_tracking),
    Trial(22, "a changeId of later tracking is refused with cbt.cannotGetChanges", later_number),
    Trial(21, "another VM's snapshot is NotFound", of_another_vm),
    Trial(25, "tracking starts over with a revert", after_revert),
    Trial(25, "tracking starts over when the disk grows", after_growth),
)
