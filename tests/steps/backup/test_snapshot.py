"""The snapshot step against the simulator: taken once, retained, removed by exact reference."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from pydantic import ValidationError

from runner.base.errors import LockedError, SendenseError
from runner.hosts.held_lock import HeldLock
from runner.step.preflight import Known
from steps.backup.snapshot import Snapshot, SnapshotIn
from steps.values.snapshot import SnapshotTaken
from steps.vsphere import cbt, snapshots
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone, QuiesceFailed, SnapshotRefused, TrackingOff, VSphereError
from steps.vsphere.names import datastore_file
from steps.vsphere.owner import Owner
from tests.eventually import eventually
from tests.vcenter import NAME, RUN, Lab, Starts, disk, machine, vcenters

pytestmark = pytest.mark.slow

start_vcenter = vcenters

OTHER = "20261123T180000Z-aabbccdd"


def checked(lab: Lab, inputs: SnapshotIn, recorded: SnapshotTaken | None) -> SnapshotTaken | None:
    return Snapshot().check(lab.context(), inputs, recorded)


def foreign(lab: Lab, moref: str, name: str = f"sendense-{OTHER}") -> str:
    """A snapshot that is not the run's."""
    owner = Owner(run=OTHER, job="other", holder="elsewhere pid 7")
    return snapshots.create(lab.client, moref, name, owner.model_dump_json(), quiesce=False)


def test_it_freezes_each_covered_disk_as_the_snapshots_config_says(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[disk(2016, 3), disk(2000, 0), disk(2001, 1, mode="independent_persistent")]))
    found = lab.discover(**{"skip-uncovered": True})
    taken = lab.snapshot(found)
    assert lab.simulator.snapshots("pgtest1") == [NAME] == [taken.name]
    assert [(one.key, one.file, one.flat, one.why_not_flat) for one in taken.disks] == [
        (2000, "[ds1] pgtest1/pgtest1_1.vmdk", True, ""),
        (2016, "[ds1] pgtest1/pgtest1.vmdk", True, ""),
    ]
    assert [one.backing_uuid for one in taken.disks] == [one.backing_uuid for one in found.disks]
    assert taken.datacenter == "DC1"
    assert abs(taken.created - datetime.now(UTC)) < timedelta(minutes=1)
    assert SnapshotTaken.from_json_value(taken.to_json_value()) == taken


def test_the_description_says_whose_it_is(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    lab.snapshot(found)
    (only,) = snapshots.listed(lab.client, found.vm.moref)
    said = json.loads(only.description)
    assert (said["run"], said["job"]) == (RUN, "pgtest1-nightly")
    assert "pid" in said["holder"]


def test_the_configuration_is_saved_for_a_restore(start_vcenter: Starts) -> None:
    networks = [{"network": "VM Network", "mac": "00:50:56:9a:10:01"}]
    lab = start_vcenter(machine(firmware="efi", **{"secure-boot": True}, networks=networks))
    taken = lab.snapshot(lab.discover())
    text = json.dumps(snapshots.configuration(lab.client, taken.moref))
    for word in ('"firmware": "efi"', '"efiSecureBootEnabled": true', "ParaVirtualSCSIController", "00:50:56:9a:10:01"):
        assert word in text
    assert taken.nvram == "[ds1] pgtest1/pgtest1.nvram"
    assert lab.client.download(taken.datacenter, datastore_file(taken.nvram)).startswith(b"MRVN")


def test_what_guests_are_given_in_the_configuration_is_not_in_the_record(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(**{"extra-config": {"guestinfo.secret": "swordfish"}}))
    taken = lab.snapshot(lab.discover())
    assert "swordfish" in json.dumps(snapshots.configuration(lab.client, taken.moref))
    assert "swordfish" not in "".join(map(repr, (taken, lab.events))) + json.dumps(taken.to_json_value())


def test_a_vm_that_never_ran_has_no_nvram(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(nvram=False))
    assert lab.snapshot(lab.discover()).nvram is None


@pytest.mark.parametrize("store", ["vsan1", "vvol1"])
def test_a_datastore_of_objects_has_no_flat_file(start_vcenter: Starts, store: str) -> None:
    lab = start_vcenter(machine(disks=[disk(), disk(2001, 1, datastore=store)]))
    plain, objects = lab.snapshot(lab.discover()).disks
    assert plain.flat
    assert not objects.flat
    assert "where no flat file exists" in objects.why_not_flat
    assert objects.datastore == store


def test_a_disk_with_another_snapshot_below_is_not_flat(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    foreign(lab, found.vm.moref, "before the update")
    (only,) = lab.snapshot(found).disks
    assert (only.flat, only.file) == (False, "[ds1] pgtest1/pgtest1-000001.vmdk")
    assert "another snapshot below it" in only.why_not_flat


def test_the_change_id_is_the_snapshots_own(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine("on", **{"change-tracking": True}), machine("off"))
    (tracked,) = lab.snapshot(lab.discover("on")).disks
    (untracked,) = lab.snapshot(lab.discover("off")).disks
    assert tracked.change_id is not None
    assert tracked.change_id.partition("/")[2].isdigit()
    assert untracked.change_id is None


# quiescing


@pytest.mark.parametrize(
    ("vm", "wish", "word"),
    [
        pytest.param({}, "try", "yes", id="try-works"),
        pytest.param({}, "require", "yes", id="require-works"),
        pytest.param({}, "off", "no", id="off"),
        pytest.param({"powered-on": False}, "try", "no", id="try-on-a-vm-that-is-off"),
        pytest.param({"powered-on": False}, "require", "no", id="require-on-a-vm-that-is-off"),
        pytest.param(
            {"quiesce": "application-fault"},
            "try",
            "failed: An error occurred while quiescing the virtual machine",
            id="application-fault",
        ),
        pytest.param(
            {"quiesce": "filesystem-fault"},
            "try",
            "failed: An error occurred while quiescing the virtual machine: the file systems stayed frozen for too long",
            id="filesystem-fault",
        ),
        pytest.param(
            {"tools": "not-running"},
            "try",
            "failed: vSphere took it without quiescing, as it does when VMware Tools do not run in the guest",
            id="no-tools",
        ),
    ],
)
def test_what_came_of_quiescing_is_written_down(
    start_vcenter: Starts, vm: dict[str, Any], wish: str, word: str
) -> None:
    lab = start_vcenter(machine(**vm))
    taken = lab.snapshot(lab.discover(), quiesce=wish)
    assert taken.quiesced == word
    assert lab.simulator.snapshots("pgtest1") == [NAME]
    assert len(lab.warnings) == word.startswith("failed")


@pytest.mark.parametrize(
    "vm",
    [
        pytest.param({"quiesce": "application-fault"}, id="application-fault"),
        pytest.param({"quiesce": "filesystem-fault"}, id="filesystem-fault"),
        pytest.param({"tools": "not-running"}, id="ignored"),
    ],
)
def test_a_required_quiescing_that_fails_leaves_no_snapshot(start_vcenter: Starts, vm: dict[str, Any]) -> None:
    lab = start_vcenter(machine(**vm))
    with pytest.raises(QuiesceFailed, match="write quiesce: try"):
        lab.snapshot(lab.discover(), quiesce="require")
    assert lab.simulator.snapshots("pgtest1") == []


# once and only once


def test_taken_twice_it_is_the_same_snapshot(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    assert lab.snapshot(found) == lab.snapshot(found)
    assert lab.simulator.calls["CreateSnapshot_Task"] == 1


def test_a_snapshot_that_a_crash_left_unrecorded_is_adopted(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    inputs = lab.snapshot_in(found)
    assert checked(lab, inputs, None) is None
    taken = lab.snapshot(found)
    assert checked(lab, inputs, None) == taken


@contextmanager
def dying(lab: Lab, moref: str, seconds: float) -> Iterator[threading.Thread]:
    """A creation that its run did not live to see."""
    lab.simulator.fault("slow-task", method="CreateSnapshot_Task", seconds=seconds)
    thread = threading.Thread(target=snapshots.create, args=(lab.client, moref, NAME, ""), kwargs={"quiesce": True})
    thread.start()
    assert eventually(lambda: not lab.simulator.armed)
    yield thread
    thread.join(30)


def test_a_creation_that_still_goes_on_is_waited_for_and_adopted(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    with dying(lab, found.vm.moref, 0.4):
        assert lab.snapshot(found).name == NAME
        assert lab.simulator.snapshots("pgtest1") == [NAME]


def test_who_only_looks_does_not_wait_for_a_creation(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    with dying(lab, found.vm.moref, 2) as creating:
        assert checked(lab, lab.snapshot_in(found), None) is None
        assert creating.is_alive()


def test_who_gives_a_run_up_takes_a_creation_back_that_still_goes_on(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(tools="not-running"))
    found = lab.discover()
    inputs = lab.snapshot_in(found, quiesce="require")
    with dying(lab, found.vm.moref, 0.4):
        begun = Snapshot().leftover(lab.context(), inputs)
    assert begun is not None
    lab.undo(found, begun)
    assert lab.simulator.snapshots("pgtest1") == []
    assert Snapshot().leftover(lab.context(), inputs) is None


def test_a_record_stands_while_the_snapshot_is_there(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken, inputs = lab.snapshot(found, quiesce="try"), lab.snapshot_in(found)
    assert checked(lab, inputs, taken) == taken
    other = taken.model_copy(update={"moref": "snapshot-9999"})
    assert checked(lab, inputs, other) is None
    lab.undo(found, taken)
    assert checked(lab, inputs, taken) is None
    assert checked(lab, inputs, None) is None


def test_anothers_snapshot_that_was_given_its_number_is_neither_read_nor_removed(start_vcenter: Starts) -> None:
    """As by a vCenter that was restored from its own backup."""
    lab = start_vcenter()
    found = lab.discover()
    taken, inputs = lab.snapshot(found), lab.snapshot_in(found)
    lab.undo(found, taken)
    again = taken.model_copy(update={"moref": foreign(lab, found.vm.moref, "before the upgrade")})
    assert checked(lab, inputs, again) is None
    lab.undo(found, again)
    assert lab.simulator.snapshots("pgtest1") == ["before the upgrade"]


def test_the_live_disk_may_change_meanwhile(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    frozen = lab.simulator.disk_file("pgtest1", 2000).read_bytes()
    lab.simulator.write("pgtest1", 2000, 0, b"x" * 4096)
    assert lab.simulator.disk_file("pgtest1", 2000).read_bytes() == frozen
    assert lab.snapshot(found) == taken


# what keeps a snapshot from being made


def test_another_runs_snapshot_is_exit_code_3_and_names_the_way_out(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    foreign(lab, found.vm.moref)
    with pytest.raises(LockedError) as caught:
        lab.snapshot(found)
    assert caught.value.exit_code == 3
    assert f"VM pgtest1 is locked by another run: run {OTHER} of other on elsewhere pid 7, whose" in str(caught.value)
    assert "`sendense sweep JOB --orphans`" in str(caught.value)
    assert lab.simulator.snapshots("pgtest1") == [f"sendense-{OTHER}"]


def test_somebody_elses_snapshot_is_no_obstacle_and_is_never_touched(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    foreign(lab, found.vm.moref, "before the update")
    taken = lab.snapshot(found)
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == ["before the update"]


def test_no_snapshot_is_taken_while_the_vm_needs_consolidation(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    moref = foreign(lab, found.vm.moref, "x")
    lab.simulator.fault("merge-failure")
    snapshots.remove(lab.client, found.vm.moref, moref)
    with pytest.raises(SnapshotRefused, match="its disks need consolidation"):
        lab.snapshot(found)
    assert lab.simulator.snapshots("pgtest1") == []


def test_no_snapshot_is_taken_while_another_one_is_merged(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    moref = foreign(lab, found.vm.moref, "x")
    lab.simulator.fault("slow-task", method="RemoveSnapshot_Task", seconds=1.5)
    merging = threading.Thread(target=snapshots.remove, args=(lab.client, found.vm.moref, moref))
    merging.start()
    assert eventually(lambda: not lab.simulator.armed)
    with pytest.raises(VSphereError, match="are being merged after a snapshot's removal") as caught:
        lab.snapshot(found)
    assert caught.value.transient
    merging.join(30)
    assert lab.snapshot(found).name == NAME


def test_a_full_datastore_is_a_sentence_and_leaves_nothing(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.simulator.fault("no-space")
    with pytest.raises(SnapshotRefused, match="datastore ds1 has no space left"):
        lab.snapshot(lab.discover())
    assert lab.simulator.snapshots("pgtest1") == []


class Lost:
    """A lock that is another's by now."""

    def hold(self) -> None:
        raise LockedError("VM 'pgtest1'", f"run {OTHER}")


@pytest.mark.parametrize(
    ("act", "method"),
    [
        pytest.param(lambda client, vm, _: snapshots.create(client, vm, "x", "", quiesce=False), "CreateSnapshot_Task", id="create"),
        pytest.param(snapshots.remove, "RemoveSnapshot_Task", id="remove"),
        pytest.param(lambda client, vm, _: snapshots.consolidate_if_needed(client, vm), "ConsolidateVMDisks_Task", id="consolidate"),
        pytest.param(lambda client, vm, _: cbt.enable(client, vm), "ReconfigVM_Task", id="enable-tracking"),
    ],
)  # fmt: skip
def test_a_run_that_lost_its_locks_changes_nothing_in_vcenter(
    start_vcenter: Starts, act: Callable[[Client, str, str], object], method: str
) -> None:
    """As one that was frozen, and wakes when another has gone on with it."""
    lab = start_vcenter()
    ctx = lab.context()
    client, vm = vcenter(ctx, "prod"), lab.discover().vm.moref
    merged = foreign(lab, vm, "merged")
    lab.simulator.fault("merge-failure")
    snapshots.remove(client, vm, merged)
    left = foreign(lab, vm, "left")
    before = lab.simulator.calls[method]
    ctx.guards.append(cast("HeldLock", Lost()))
    with pytest.raises(LockedError, match=OTHER):
        act(client, vm, left)
    assert lab.simulator.calls[method] == before


# removed


def test_undo_removes_it_and_merges_the_disks(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.write("pgtest1", 2000, 512, b"written meanwhile")
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []
    assert lab.simulator.disk_file("pgtest1", 2000).read_bytes()[512:529] == b"written meanwhile"


def test_undo_of_what_is_absent_is_fine(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.undo(found, taken)
    lab.undo(found, taken)
    lab.undo(found, taken.model_copy(update={"vm": "vm-9999"}))


def test_undo_with_a_session_that_ended_works(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("session-expire", method="RemoveSnapshot_Task")
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []
    assert lab.simulator.armed == {}


def test_undo_of_a_snapshot_that_vanishes_under_it_is_fine(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("snapshot-gone")
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []


def test_undo_finds_by_name_what_a_crash_made_again(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.undo(found, taken.model_copy(update={"moref": "snapshot-9999"}))
    assert lab.simulator.snapshots("pgtest1") == []


@pytest.mark.parametrize("answer", ["success", "error"])
def test_a_merge_that_failed_is_made_good_by_one_consolidation(start_vcenter: Starts, answer: str) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("merge-failure", answer=answer)
    lab.undo(found, taken)
    assert lab.simulator.calls["ConsolidateVMDisks_Task"] == 1
    assert lab.simulator.snapshots("pgtest1") == []


@pytest.mark.parametrize("answer", ["success", "error"])
def test_disks_that_stay_unmerged_are_an_error_that_names_their_files(start_vcenter: Starts, answer: str) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("merge-failure", count=2, answer=answer)
    with pytest.raises(VSphereError, match=r"could not be merged.*files: \[ds1\] pgtest1/pgtest1-000001\.vmdk"):
        lab.undo(found, taken)
    lab.undo(found, taken)  # the next run's attempt
    assert lab.simulator.calls["ConsolidateVMDisks_Task"] == 2


def test_undo_waits_for_another_task_of_the_vm(start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "BUSY_PAUSE", 0.05)
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("slow-task", method="CreateSnapshot_Task", seconds=0.4)
    other = threading.Thread(target=foreign, args=(lab, found.vm.moref, "x"))
    other.start()
    assert eventually(lambda: not lab.simulator.armed)
    lab.undo(found, taken)
    other.join(30)
    assert lab.simulator.snapshots("pgtest1") == ["x"]


def test_a_removal_that_vsphere_refuses_is_an_error_and_the_snapshot_stays(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("fail-task", method="RemoveSnapshot_Task", fault="SystemError")
    with pytest.raises(VSphereError, match=f"removing the snapshot {taken.moref} failed"):
        lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == [NAME]


def test_a_task_that_vcenter_forgot_is_judged_by_what_is_there(start_vcenter: Starts) -> None:
    lab = start_vcenter(simulator={"remember": 0.0})
    found = lab.discover()
    try:
        taken = lab.snapshot(found)
    except Gone:  # the end of the task was not seen: the engine looks again, as after a crash
        taken = lab.snapshot(found)
    assert taken.name == NAME
    lab.undo(found, taken)
    assert lab.simulator.snapshots("pgtest1") == []


# holding it


@pytest.mark.parametrize(
    ("store", "more", "age", "reason"),
    [
        pytest.param({}, {}, 0, None, id="may-stay"),
        pytest.param({}, {"hold": "1h"}, 3601, "its hold of 1 h 00 min has expired", id="hold-over"),
        pytest.param({}, {"hold": "1h"}, 3500, None, id="hold-not-over"),
        pytest.param({}, {"hold": 0}, 0, "its hold of 0.0 s has expired", id="hold-0-lets-go-at-once"),
        pytest.param(
            {"capacity": "100 GiB", "free": "9 GiB"}, {}, 0, "datastore ds1 has 9.0 % free, min-free is 10 %", id="full"
        ),
        pytest.param({"capacity": "100 GiB", "free": "9 GiB"}, {"min-free": "5%"}, 0, None, id="full-enough"),
        pytest.param({"capacity": "100 GiB", "free": "9 GiB"}, {"min-free": 0}, 0, None, id="never-full"),
    ],
)
def test_when_it_may_be_held_no_longer(
    start_vcenter: Starts, store: dict[str, Any], more: dict[str, Any], age: int, reason: str | None
) -> None:
    lab = start_vcenter(datacenter={"datastores": [{"name": "ds1", **store}, {"name": "full", "free": 0}]})
    found = lab.discover()
    taken = lab.snapshot(found)
    old = taken.model_copy(update={"created": taken.created - timedelta(seconds=age)})
    assert Snapshot().retained(lab.context(), lab.snapshot_in(found, **more), old).due() == reason


@pytest.mark.parametrize(
    ("taken_at", "looked_at", "reason"),
    [
        pytest.param(-24, -23, None, id="a-clock-a-day-behind"),
        pytest.param(-24, -11, "its hold of 12 h 00 min has expired", id="a-clock-a-day-behind-and-over-its-time"),
        pytest.param(8760, 8761, None, id="a-clock-a-year-ahead"),
        pytest.param(8760, 1, "the vCenter's clock was set back by 364 d 23 h or more", id="a-clock-that-was-set-back"),
    ],
)
def test_how_long_it_is_held_is_counted_by_the_clock_that_it_was_taken_by(
    start_vcenter: Starts, taken_at: int, looked_at: int, reason: str | None
) -> None:
    """Hours that the vCenter's clock is away from ours."""

    def clock_is(hours: int) -> None:
        lab.simulator.set_clock(timedelta(hours=hours))

    lab = start_vcenter()
    found = lab.discover()
    clock_is(taken_at)
    taken = lab.snapshot(found)
    clock_is(looked_at)
    due = Snapshot().retained(lab.context(), lab.snapshot_in(found), taken).due()
    assert (due or "")[: len(reason or "")] == (reason or "")
    assert bool(due) is bool(reason)


def test_what_is_held_is_said_in_words(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found).model_copy(update={"created": datetime(2026, 11, 23, 17, 0, tzinfo=UTC)})
    assert Snapshot().retained(lab.context(), lab.snapshot_in(found), taken).what == (
        f"snapshot {NAME} of VM pgtest1 (created 2026-11-23 17:00 UTC, retained until 2026-11-24 05:00 UTC)"
    )


@pytest.mark.parametrize("written", ["12%", " 12 %", 12, 12.0], ids=str)
def test_min_free_is_a_percentage(start_vcenter: Starts, written: object) -> None:
    lab = start_vcenter()
    assert lab.snapshot_in(lab.discover(), **{"min-free": written}).min_free == 12.0


@pytest.mark.parametrize("written", ["much", 101, -1, True, None], ids=str)
def test_what_is_no_percentage_is_refused(start_vcenter: Starts, written: object) -> None:
    lab = start_vcenter()
    with pytest.raises(ValidationError):
        lab.snapshot_in(lab.discover(), **{"min-free": written})


def test_the_plan_sees_what_would_stand_in_the_way_and_takes_nothing(start_vcenter: Starts) -> None:
    store = {"name": "ds1", "capacity": "100 GiB", "free": "9 GiB"}
    lab = start_vcenter(datacenter={"datastores": [store]})
    found = lab.discover()
    clear = Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found)))
    assert clear.problems == ()
    assert clear.notes == ("after a failure the snapshot would be released at once: datastore ds1 has 9.0 % free",)
    foreign(lab, found.vm.moref)
    seen = Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found)))
    (problem,) = seen.problems
    assert f"run {OTHER} of other" in problem
    assert seen.locked is not None
    assert OTHER in str(seen.locked)
    assert seen.prospect is None
    assert lab.simulator.snapshots("pgtest1") == [f"sendense-{OTHER}"]


def test_a_lost_connection_while_creating_is_transient_and_the_next_try_adopts(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The answer to the creating call is lost after the server took it: no fault of the simulator loses an answer.
    lab = start_vcenter()
    found = lab.discover()
    create = snapshots.create

    def lost(*args: Any, **options: Any) -> str:
        create(*args, **options)
        raise ConnectionError("the connection broke")

    monkeypatch.setattr(snapshots, "create", lost)
    with pytest.raises(ConnectionError):
        lab.snapshot(found)
    monkeypatch.setattr(snapshots, "create", create)
    assert lab.snapshot(found).quiesced == "yes"
    assert lab.simulator.snapshots("pgtest1") == [NAME]


def test_errors_are_ours(start_vcenter: Starts) -> None:
    lab = start_vcenter(denied=["VirtualMachine.State.RemoveSnapshot"])
    found = lab.discover()
    taken = lab.snapshot(found)
    with pytest.raises(SendenseError, match=r"lacks VirtualMachine\.State\.RemoveSnapshot"):
        lab.undo(found, taken)


@pytest.mark.parametrize(
    "method",
    [
        "RetrievePropertiesEx",
        "CreateContainerView",
        "DestroyView",
        "CreateSnapshot_Task",
        "RemoveSnapshot_Task",
        "ConsolidateVMDisks_Task",
    ],
)
def test_a_session_that_ends_before_any_call_does_not_show(start_vcenter: Starts, method: str) -> None:
    lab = start_vcenter()
    lab.client.renew()
    lab.simulator.fault("session-expire", method=method)
    lab.simulator.fault("merge-failure")
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.undo(found, taken)
    assert lab.simulator.armed == {}
    assert lab.simulator.snapshots("pgtest1") == []
    assert lab.simulator.calls["Login"] == 2


def test_tracking_is_switched_on_by_the_snapshot_that_is_taken_anyhow(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    (note,) = Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found, cbt="enable"))).notes
    assert "the stun of the snapshot puts it into effect" in note
    assert lab.simulator.calls["ReconfigVM_Task"] == 0
    taken = lab.snapshot(found, cbt="enable")
    assert all(frozen.change_id for frozen in taken.disks)
    assert any("switched on" in warning for warning in lab.warnings)
    lab.undo(found, taken)
    lab.snapshot(lab.discover(), cbt="require")
    assert lab.simulator.calls["ReconfigVM_Task"] == 1


def test_tracking_that_is_required_and_off_is_refused_before_a_snapshot(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    (problem,) = Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found, cbt="require"))).problems
    assert "write `cbt: enable`" in problem
    with pytest.raises(TrackingOff):
        lab.snapshot(found, cbt="require")
    assert lab.simulator.snapshots("pgtest1") == []


@pytest.mark.parametrize(
    ("vm", "why"),
    [
        pytest.param({"change-tracking-supported": False}, "cannot track", id="old-hardware"),
        pytest.param({}, "it has snapshots (update)", id="beside-a-snapshot"),
    ],
)
def test_tracking_stays_off_where_it_could_not_be_trusted(start_vcenter: Starts, vm: dict[str, Any], why: str) -> None:
    lab = start_vcenter(machine(**vm))
    found = lab.discover()
    if not vm:
        snapshots.create(lab.client, found.vm.moref, "update", "", quiesce=False)
    taken = lab.snapshot(found, cbt="enable")
    assert all(frozen.change_id is None for frozen in taken.disks)
    (said,) = [warning for warning in lab.warnings if "stays off" in warning]
    assert why in said
    assert lab.simulator.calls["ReconfigVM_Task"] == 0
