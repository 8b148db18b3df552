"""Snapshots: what they freeze, how the live disk moves, how they go, and how they fail."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from tests.simulation import FLAT, disk, machine


@pytest.mark.behaviour(6, "documented")
@pytest.mark.behaviour(6, "reported")
def test_a_snapshot_freezes_the_bytes_and_puts_a_delta_on_the_live_disk(client):
    vm, flat = client.vm(), client.sim.disk_file("db", 2000)
    before, live = flat.read_bytes(), client.disks(vm.config)
    taken = client.snapshot(vm, "sendense-1")
    client.sim.write("db", 2000, MiB - 3, b"written after")
    frozen, now = client.disks(taken.config), client.disks(vm.config)
    assert flat.read_bytes() == before
    assert client.sim.read("db", 2000, MiB - 3, 13) == b"written after"
    assert {key: one.backing.fileName for key, one in frozen.items()} == {
        2000: "[ds1] db/db.vmdk",
        2001: "[ds1] db/db_1.vmdk",
    }
    assert frozen[2000].backing.parent is None
    assert now[2000].backing.fileName == "[ds1] db/db-000001.vmdk"
    assert now[2000].backing.parent.fileName == "[ds1] db/db.vmdk"
    assert now[2000].backing.uuid == now[2000].backing.parent.uuid == live[2000].backing.uuid
    assert now[2000].backing.contentId != now[2000].backing.parent.contentId == live[2000].backing.contentId
    info = vm.snapshot
    assert info.currentSnapshot == taken
    assert [(one.name, one.state, one.quiesced) for one in info.rootSnapshotList] == [
        ("sendense-1", "poweredOff", False)
    ]


@pytest.mark.behaviour(12, "documented")
def test_removing_it_merges_the_delta_down(client):
    vm = client.vm()
    taken = client.snapshot(vm)
    client.sim.write("db", 2000, 100, b"merged")
    client.wait(taken.RemoveSnapshot_Task(False))
    assert vm.snapshot is None
    assert client.disks(vm.config)[2000].backing.fileName == "[ds1] db/db.vmdk"
    assert client.sim.disk_file("db", 2000).read_bytes()[100:106] == b"merged"
    assert not list(client.sim.directory.rglob("*-00000*"))


@pytest.mark.behaviour(7, "documented")
def test_a_snapshot_in_the_middle_goes_and_the_others_keep_their_moment(client):
    vm = client.vm()
    client.sim.write("db", 2000, 0, b"one  ")
    first = client.snapshot(vm, "first")
    client.sim.write("db", 2000, 0, b"two  ")
    second = client.snapshot(vm, "second")
    client.sim.write("db", 2000, 0, b"three")
    files = [client.disks(one.config)[2000].backing.fileName for one in (first, second)]
    assert files == ["[ds1] db/db.vmdk", "[ds1] db/db-000001.vmdk"]
    assert first.childSnapshot == [second]
    client.wait(first.RemoveSnapshot_Task(False))
    assert client.disks(second.config)[2000].backing.fileName == "[ds1] db/db.vmdk"
    assert client.disks(second.config)[2000].backing.parent is None
    assert client.sim.disk_file("db", 2000).read_bytes()[:5] == b"two  "
    assert client.sim.read("db", 2000, 0, 5) == b"three"
    third = client.snapshot(vm, "third")
    assert client.disks(vm.config)[2000].backing.fileName == "[ds1] db/db-000001.vmdk"  # the freed number returns
    client.wait(second.RemoveSnapshot_Task(True))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        third.config  # noqa: B018
    assert client.sim.snapshots("db") == []
    assert client.sim.disk_file("db", 2000).read_bytes()[:5] == b"three"


def test_a_delta_merged_into_a_delta_keeps_what_both_hold(client):
    vm = client.vm()
    client.snapshot(vm, "first")
    client.sim.write("db", 2000, 0, b"below")
    second = client.snapshot(vm, "second")
    client.sim.write("db", 2000, MiB, b"above")
    client.wait(second.RemoveSnapshot_Task(False))
    assert (client.sim.read("db", 2000, 0, 5), client.sim.read("db", 2000, MiB, 5)) == (b"below", b"above")
    assert client.disks(vm.config)[2000].backing.fileName == "[ds1] db/db-000001.vmdk"


def test_remove_all_succeeds_with_none_and_with_some(client):
    vm = client.vm()
    client.wait(vm.RemoveAllSnapshots_Task())
    client.snapshot(vm)
    client.snapshot(vm)
    client.wait(vm.RemoveAllSnapshots_Task())
    assert vm.snapshot is None


@pytest.mark.behaviour(14, "documented")
@pytest.mark.behaviour(14, "reported")
def test_any_call_on_a_gone_snapshot_is_object_not_found(client):
    taken = client.snapshot(client.vm())
    client.wait(taken.RemoveSnapshot_Task(False))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound) as caught:
        taken.RemoveSnapshot_Task(False)
    said = f"The object 'vim.vm.Snapshot:{taken._moId}' has already been deleted or has not been completely created"
    assert (caught.value.msg, caught.value.obj) == (said, taken)


@pytest.mark.behaviour(8, "documented")
@pytest.mark.behaviour(16, "documented")
def test_independent_disks_and_physical_mappings_are_left_alone(simulate):
    disks = [
        disk(2000),
        disk(2001, 1, mode="independent_persistent"),
        disk(2002, 2, physical=True),
    ]
    client = simulate(machine(disks=disks, change_tracking=True))
    vm = client.vm()
    taken = client.disks(client.snapshot(vm).config)
    live = client.disks(vm.config)
    assert [live[key].backing.fileName for key in (2000, 2001, 2002)] == [
        "[ds1] db/db-000001.vmdk",
        "[ds1] db/db_1.vmdk",
        "[ds1] db/db_2.vmdk",
    ]
    assert taken[2000].backing.changeId
    assert taken[2001].backing.changeId is None
    client.sim.write("db", 2001, 0, b"straight to the file")
    assert client.sim.disk_file("db", 2001).read_bytes()[:8] == b"straight"
    with pytest.raises(vim.fault.MemorySnapshotOnIndependentDisk):
        client.snapshot(vm, memory=True)


@pytest.mark.behaviour(9, "documented")
@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        pytest.param(
            {"controllers": [{"key": 1000, "kind": "pvscsi", "sharing": "physical"}]},
            vim.fault.SnapshotIncompatibleDeviceInVm,
            id="shared bus",
        ),
        pytest.param(
            {"disks": [disk(2000, sharing="multi-writer")]}, vim.fault.SnapshotIncompatibleDeviceInVm, id="multi-writer"
        ),
        pytest.param({"template": True, "powered_on": False}, vmodl.fault.NotSupported, id="template"),
    ],
)
def test_hardware_that_a_snapshot_cannot_cover(simulate, hardware, expected):
    client = simulate(machine(**hardware))
    with pytest.raises(expected):
        client.snapshot(client.vm())
    assert client.sim.snapshots("db") == []


@pytest.mark.behaviour(9, "assumed")
def test_a_chain_is_32_deep_at_most(simulate):
    client = simulate(machine(disks=[disk(2000, size="64 KiB")]))
    vm = client.vm()
    for _ in range(32):
        client.snapshot(vm)
    with pytest.raises(vim.fault.TooManySnapshotLevels):
        client.snapshot(vm)


@pytest.mark.behaviour(11, "documented")
@pytest.mark.parametrize(
    ("behaviour", "quiesced"),
    [
        pytest.param({}, True, id="works"),
        pytest.param({"tools": "not-running"}, False, id="ignored without tools"),
        pytest.param({"powered_on": False, "quiesce": "application-fault"}, False, id="ignored when off"),
        pytest.param({"quiesce": "application-fault"}, vim.fault.ApplicationQuiesceFault, id="application"),
        pytest.param({"quiesce": "filesystem-fault"}, vim.fault.FilesystemQuiesceFault, id="file system"),
    ],
)
def test_quiescing(simulate, behaviour, quiesced):
    client = simulate(machine(**behaviour))
    vm = client.vm()
    if isinstance(quiesced, bool):
        client.snapshot(vm, quiesce=True)
        assert vm.snapshot.rootSnapshotList[0].quiesced is quiesced
    else:
        with pytest.raises(quiesced):
            client.snapshot(vm, quiesce=True)
        assert (vm.snapshot, client.disks(vm.config)[2000].backing.parent) == (None, None)
        assert client.snapshot(vm, quiesce=False)


@pytest.mark.behaviour(10, "documented")
@pytest.mark.behaviour(10, "reported")
def test_a_busy_vm_refuses_and_names_the_task(client):
    vm = client.vm()
    client.sim.fault("slow-task", seconds=1.5)
    running = vm.CreateSnapshot_Task("slow", "", False, False)
    with pytest.raises(vim.fault.TaskInProgress) as caught:
        vm.CreateSnapshot_Task("second", "", False, False)
    assert (caught.value.msg, caught.value.task) == ("Another task is already in progress.", running)
    assert vm.recentTask == [running]
    assert running.info.state in ("queued", "running")
    assert client.sim.snapshots("db") == []
    client.wait(running)
    assert client.sim.snapshots("db") == ["slow"]


def test_a_task_says_what_it_is_of(client):
    vm = client.vm()
    task = vm.CreateSnapshot_Task("one", "", False, False)
    taken = client.wait(task)
    info = task.info
    assert (info.entity, info.entityName, info.result, info.error, info.progress) == (vm, "db", taken, None, None)
    assert (info.name.info.wsdlName, info.descriptionId) == ("CreateSnapshot_Task", "VirtualMachine.createSnapshot")


@pytest.mark.behaviour(38, "reported")
def test_finished_tasks_are_forgotten(simulate):
    client = simulate(options={"remember": 0.0})
    vm = client.vm()
    first = vm.RemoveAllSnapshots_Task()
    client.sim._tasks.join(10)
    vm.RemoveAllSnapshots_Task()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound) as caught:
        first.info  # noqa: B018
    assert caught.value.msg.startswith(f"The object 'vim.Task:{first._moId}' has already been deleted")


@pytest.mark.behaviour(9, "documented")
def test_no_space_names_the_datastore(client):
    client.sim.fault("no-space")
    with pytest.raises(vim.fault.NoDiskSpace) as caught:
        client.snapshot(client.vm())
    assert (caught.value.datastore, caught.value.file) == ("ds1", "[ds1] db/db.vmdk")
    assert client.snapshot(client.vm())


def test_a_task_fails_with_any_fault_of_the_api(client):
    client.sim.fault("fail-task", method="CreateSnapshot_Task", fault="FileLocked")
    with pytest.raises(vim.fault.FileLocked):
        client.snapshot(client.vm())
    assert client.sim.snapshots("db") == []


@pytest.mark.behaviour(13, "documented")
@pytest.mark.parametrize("answer", ["success", "error"])
def test_a_failed_merge_drops_the_snapshot_and_keeps_the_delta_until_consolidated(client, answer):
    vm = client.vm()
    taken = client.snapshot(vm)
    client.sim.write("db", 2000, 0, b"in the delta")
    client.sim.fault("merge-failure", answer=answer)
    if answer == "error":
        with pytest.raises(vim.fault.GenericVmConfigFault):
            client.wait(taken.RemoveSnapshot_Task(False))
    else:
        client.wait(taken.RemoveSnapshot_Task(False))
    assert (vm.snapshot, vm.runtime.consolidationNeeded) == (None, True)
    assert client.disks(vm.config)[2000].backing.fileName == "[ds1] db/db-000001.vmdk"
    again = client.snapshot(vm)
    assert client.disks(again.config)[2000].backing.parent.fileName == "[ds1] db/db.vmdk"
    client.wait(again.RemoveSnapshot_Task(False))
    assert vm.runtime.consolidationNeeded is False
    assert client.sim.disk_file("db", 2000).read_bytes()[:12] == b"in the delta"


def test_consolidation_merges_what_a_failed_removal_left(client):
    vm = client.vm()
    taken = client.snapshot(vm)
    client.sim.fault("merge-failure", 2)
    client.wait(taken.RemoveSnapshot_Task(False))
    client.wait(vm.ConsolidateVMDisks_Task())
    assert vm.runtime.consolidationNeeded is True
    client.wait(vm.ConsolidateVMDisks_Task())
    assert (vm.runtime.consolidationNeeded, client.disks(vm.config)[2000].backing.parent) == (False, None)


def test_somebody_else_removes_the_snapshot(client):
    vm = client.vm()
    taken = client.snapshot(vm)
    client.sim.fault("snapshot-gone")
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        taken.config  # noqa: B018
    assert client.sim.snapshots("db") == []


def test_a_lost_answer_leaves_the_work_done(client):
    vm = client.vm()
    client.sim.fault("lost-answer", method="CreateSnapshot_Task")
    with pytest.raises(OSError):
        vm.CreateSnapshot_Task("unheard", "", False, False)
    client.sim._tasks.join(10)
    assert client.sim.snapshots("db") == ["unheard"]


def test_reverting_gives_the_bytes_of_the_snapshot_and_powers_off(client):
    vm = client.vm()
    client.sim.write("db", 2000, 0, b"then")
    taken = client.snapshot(vm)
    client.sim.write("db", 2000, 0, b"now!")
    client.wait(taken.RevertToSnapshot_Task())
    assert client.sim.read("db", 2000, 0, 4) == b"then"
    assert vm.runtime.powerState == "poweredOff"
    client.sim.write("db", 2000, 0, b"anew")
    client.wait(vm.RemoveAllSnapshots_Task())
    assert client.sim.disk_file("db", 2000).read_bytes()[:4] == b"anew"


def test_the_descriptors_and_vmx_follow(client):
    vm = client.vm()
    client.track(vm)
    client.snapshot(vm)
    folder = client.sim.disk_file("db", 2000).parent
    delta = (folder / "db-000001.vmdk").read_text()
    assert 'parentFileNameHint="db.vmdk"' in delta
    assert "version=3" in (folder / "db.vmdk").read_text()
    vmx = (folder / "db.vmx").read_text()
    assert 'scsi0:0.fileName = "db-000001.vmdk"' in vmx
    assert 'scsi0:0.ctkEnabled = "TRUE"' in vmx
    assert client.http(FLAT)[0] == 200


def test_power_changes_and_refuses_what_is_so_already(client):
    vm = client.vm()
    client.wait(vm.PowerOffVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        client.wait(vm.PowerOffVM_Task())
    client.wait(vm.PowerOnVM_Task())
    assert vm.runtime.powerState == "poweredOn"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        pytest.param({"snapshots": "disabled"}, vim.fault.SnapshotDisabled, id="disabled"),
        pytest.param({"snapshots": "locked"}, vim.fault.SnapshotLocked, id="locked"),
        pytest.param({"fault_tolerance": "primary"}, vmodl.fault.NotSupported, id="fault tolerance"),
    ],
)
def test_what_excludes_snapshots(simulate, state, kind):
    client = simulate(machine(**state))
    with pytest.raises(kind):
        client.snapshot(client.vm())
    assert client.vm().snapshot is None
