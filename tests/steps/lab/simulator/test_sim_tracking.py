"""Changed block tracking over real writes: changeIds, pages, resets, faults."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from runner.base.units import KiB, MiB
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.ranges import Ranges
from steps.lab.simulator.tracking import Tracker, parse_change_id
from tests.simulation import disk, machine

BLOCK = 64 * KiB


def areas(answer):
    return [(one.start, one.length) for one in answer.changedArea]


def change_id(client, snapshot, key=2000):
    return client.disks(snapshot.config)[key].backing.changeId


def fault_key(caught):
    return caught.value.faultMessage[0].key


@pytest.fixture
def tracked(simulate):
    """One VM of one tracked disk of 4 MiB, and its first snapshot's changeId."""
    client = simulate(machine(disks=[disk(2000, content={"pieces": [{"offset": "1 MiB", "length": "4 KiB"}]})]))
    vm = client.vm()
    client.track(vm)
    first = client.snapshot(vm, "first")
    return client, vm, first, change_id(client, first)


@pytest.mark.behaviour(15, "documented")
@pytest.mark.behaviour(16, "documented")
@pytest.mark.behaviour(17, "reported")
def test_tracking_of_a_running_vm_starts_at_its_next_stun(client):
    vm = client.vm()
    before = client.snapshot(vm, "before")
    client.track(vm)
    assert not vm.config.changeTrackingEnabled
    assert change_id(client, before) is None
    after = client.snapshot(vm, "after")
    assert vm.config.changeTrackingEnabled
    assert re.fullmatch(r"([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}/1", change_id(client, after))
    assert change_id(client, before) is None
    extra = {one.key: one.value for one in vm.config.extraConfig}
    assert (extra["ctkEnabled"], extra["scsi0:1.ctkEnabled"]) == ("TRUE", "TRUE")


@pytest.mark.behaviour(54, "reported")
@pytest.mark.parametrize("power", [True, False], ids=["running", "off"])
def test_a_disk_that_tracking_leaves_out_has_no_change_id_until_it_was_off_and_on(simulate, power):
    """Left out: migratekit issue 50. Off, a snapshot taken and removed, on: PowerCLI-Example-Scripts pull request 38."""
    disks = [disk(2000, tracking="missing-until-reset"), disk(2001, 1)]
    client = simulate(machine(disks=disks, powered_on=power, change_tracking=True))
    vm = client.vm()
    extra = {one.key: one.value for one in vm.config.extraConfig}
    assert (extra.get("scsi0:0.ctkEnabled"), extra.get("scsi0:1.ctkEnabled")) == (None, "TRUE")
    before = client.snapshot(vm)
    assert (change_id(client, before), change_id(client, before, 2001) is None) == (None, False)
    client.wait(before.RemoveSnapshot_Task(False))
    client.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)))
    client.wait(client.snapshot(vm).RemoveSnapshot_Task(False))
    client.track(vm)
    assert change_id(client, client.snapshot(vm)) is not None


@pytest.mark.behaviour(54, "assumed")
def test_a_disk_that_tracking_leaves_out_stays_so_where_it_is_reset_beside_a_snapshot(simulate):
    client = simulate(machine(disks=[disk(2000, tracking="missing-until-reset")], change_tracking=True))
    vm = client.vm()
    client.snapshot(vm, "somebody's")
    client.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)))
    client.wait(client.snapshot(vm).RemoveSnapshot_Task(False))
    client.track(vm)
    assert change_id(client, client.snapshot(vm)) is None


@pytest.mark.behaviour(15, "reported")
def test_tracking_of_a_vm_that_is_off_starts_at_once(simulate):
    client = simulate(machine(powered_on=False))
    vm = client.vm()
    client.track(vm)
    assert vm.config.changeTrackingEnabled
    client.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)))
    assert not vm.config.changeTrackingEnabled


@pytest.mark.behaviour(18, "reported")
@pytest.mark.behaviour(24, "documented")
def test_writes_are_reported_in_blocks_and_an_old_change_id_outlives_its_snapshot(tracked):
    client, vm, first, old = tracked
    client.sim.write("db", 2000, 3 * BLOCK + 7, b"x" * BLOCK)
    client.wait(first.RemoveSnapshot_Task(False))
    client.sim.write("db", 2000, 4 * MiB - 1, b"x")
    second = client.snapshot(vm, "second")
    client.sim.write("db", 2000, 0, b"after the second")
    answer = vm.QueryChangedDiskAreas(second, 2000, 0, old)
    assert (answer.startOffset, answer.length) == (0, 4 * MiB)
    assert areas(answer) == [(3 * BLOCK, 2 * BLOCK), (4 * MiB - BLOCK, BLOCK)]
    third = client.snapshot(vm, "third")
    assert areas(vm.QueryChangedDiskAreas(third, 2000, 0, change_id(client, second))) == [(0, BLOCK)]
    assert len(areas(vm.QueryChangedDiskAreas(third, 2000, 0, old))) == 3
    inside = vm.QueryChangedDiskAreas(third, 2000, 4 * BLOCK, old)
    assert (inside.startOffset, inside.length, areas(inside)[0]) == (4 * BLOCK, 4 * MiB - 4 * BLOCK, (4 * BLOCK, BLOCK))


def test_the_last_area_is_cut_at_the_capacity(client):
    vm = client.vm()
    client.track(vm)
    old = change_id(client, client.snapshot(vm), 2001)
    client.sim.write("db", 2001, MiB + 511, b"x")
    answer = vm.QueryChangedDiskAreas(client.snapshot(vm), 2001, 0, old)
    assert areas(answer) == [(MiB, 512)]


@pytest.mark.behaviour(19, "reported")
@pytest.mark.behaviour(19, "assumed")
def test_many_areas_come_in_pages_of_2000(simulate):
    client = simulate(machine(disks=[disk(2000, size="512 MiB")]))
    vm = client.vm()
    client.track(vm)
    old = change_id(client, client.snapshot(vm))
    for number in range(2500):
        client.sim.write("db", 2000, number * 2 * BLOCK, b"x")
    second = client.snapshot(vm)
    pages, offset = [], 0
    while offset < 512 * MiB:
        answer = vm.QueryChangedDiskAreas(second, 2000, offset, old)
        pages.append(len(answer.changedArea))
        assert answer.startOffset == offset
        offset += answer.length
    assert (pages, offset) == ([2000, 500], 512 * MiB)


@pytest.mark.behaviour(20, "documented")
@pytest.mark.behaviour(20, "reported")
@pytest.mark.behaviour(21, "documented")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        pytest.param({"start": 4 * MiB}, "startOffset", id="at the end"),
        pytest.param({"start": 5 * MiB}, "startOffset", id="behind the end"),
        pytest.param({"key": 1000}, "deviceKey", id="a controller"),
        pytest.param({"key": 4711}, "deviceKey", id="no device"),
        pytest.param({"change": "nonsense"}, "changeId", id="changeId"),
        pytest.param({"change": "528ab45c-7bab-8e51-7a73-16d1769a0da6/2"}, "changeId", id="a plain uuid"),
    ],
)
def test_wrong_arguments_are_named(tracked, arguments, name):
    _, vm, first, old = tracked
    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        vm.QueryChangedDiskAreas(
            first, arguments.get("key", 2000), arguments.get("start", 0), arguments.get("change", old)
        )
    assert caught.value.invalidProperty == name
    assert caught.value.msg == f"A specified parameter was not correct: {name}"


@pytest.mark.behaviour(22, "reported")
@pytest.mark.behaviour(22, "assumed")
def test_a_change_id_of_another_uuid_or_later_than_the_snapshot_is_a_file_fault(tracked):
    client, vm, first, old = tracked
    later = change_id(client, client.snapshot(vm, "second"))
    foreign = "52 8a b4 5c 7b ab 8e 51-7a 73 16 d1 76 9a 0d a6/1"
    for asked in (later, foreign):
        with pytest.raises(vim.fault.FileFault) as caught:
            vm.QueryChangedDiskAreas(first, 2000, 0, asked)
        assert fault_key(caught) == "vim.hostd.vmsvc.cbt.cannotGetChanges"
        assert caught.value.msg.startswith("Error caused by file /vmfs/volumes/")
    assert old != later


@pytest.mark.behaviour(22, "reported")
def test_without_tracking_it_is_a_file_fault(client):
    vm = client.vm()
    taken = client.snapshot(vm)
    with pytest.raises(vim.fault.FileFault) as caught:
        vm.QueryChangedDiskAreas(taken, 2000, 0, "*")
    assert fault_key(caught) == "vim.hostd.vmsvc.cbt.noTrack"


@pytest.mark.behaviour(21, "assumed")
def test_a_snapshot_of_another_vm_is_not_found(simulate):
    client = simulate(machine("db", change_tracking=True), machine("other", change_tracking=True))
    taken = client.snapshot(client.vm("DC1/vm/other"))
    with pytest.raises(vim.fault.NotFound):
        client.vm().QueryChangedDiskAreas(taken, 2000, 0, "*")


@pytest.mark.behaviour(26, "documented")
@pytest.mark.behaviour(26, "assumed")
def test_asking_without_a_snapshot_is_for_a_vm_that_is_off(simulate):
    client = simulate(machine(change_tracking=True))
    vm = client.vm()
    old = change_id(client, client.snapshot(vm))
    with pytest.raises(vim.fault.InvalidState):
        vm.QueryChangedDiskAreas(None, 2000, 0, "*")
    client.wait(vm.PowerOffVM_Task())
    with pytest.raises(vim.fault.FileFault):  # a hard power off: another UUID
        vm.QueryChangedDiskAreas(None, 2000, 0, old)
    fresh = client.disks(vm.config)[2000].backing.changeId
    client.sim.write("db", 2000, 0, b"x")
    assert areas(vm.QueryChangedDiskAreas(None, 2000, 0, fresh)) == [(0, BLOCK)]


@pytest.mark.behaviour(23, "documented")
@pytest.mark.behaviour(23, "reported")
def test_star_gives_the_allocated_areas_on_vmfs_and_everything_elsewhere(simulate):
    pieces = {"pieces": [{"offset": "1 MiB", "length": "4 KiB"}]}
    disks = [disk(2000, content=pieces), disk(2001, 1, content=pieces, datastore="nfs1")]
    client = simulate(machine(disks=disks, change_tracking=True))
    vm = client.vm()
    client.sim.write("db", 2000, 3 * MiB, b"x")
    taken = client.snapshot(vm)
    client.sim.write("db", 2000, 0, b"later")
    assert areas(vm.QueryChangedDiskAreas(taken, 2000, 0, "*")) == [(MiB, BLOCK), (3 * MiB, BLOCK)]
    assert areas(vm.QueryChangedDiskAreas(taken, 2001, 0, "*")) == [(0, 4 * MiB)]
    client.sim.fault("cbt-no-epoch")
    with pytest.raises(vim.fault.FileFault) as caught:
        vm.QueryChangedDiskAreas(taken, 2000, 0, "*")
    assert fault_key(caught) == "vim.hostd.vmsvc.cbt.noEpoch"


@pytest.mark.behaviour(25, "documented")
@pytest.mark.parametrize("how", ["off and on", "power", "revert", "grow", "fault"])
def test_tracking_starts_over_with_another_uuid(tracked, how):
    client, vm, first, old = tracked
    if how == "off and on":
        for wanted in (False, True):
            client.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=wanted)))
            client.snapshot(vm)
    elif how == "power":
        client.wait(vm.PowerOffVM_Task())
        client.wait(vm.PowerOnVM_Task())
    elif how == "revert":
        client.wait(first.RevertToSnapshot_Task())
    elif how == "grow":
        client.wait(vm.RemoveAllSnapshots_Task())
        client.sim.grow("db", 2000, 8 * MiB)
        assert client.disks(vm.config)[2000].capacityInBytes == 8 * MiB
    else:
        client.sim.fault("cbt-reset")
    fresh = client.snapshot(vm)
    assert change_id(client, fresh).split("/")[0] != old.split("/")[0]
    with pytest.raises(vim.fault.FileFault):
        vm.QueryChangedDiskAreas(fresh, 2000, 0, old)


@pytest.mark.behaviour(25, "assumed")
def test_tracking_may_outlive_an_extension(tracked):
    client, vm, _, old = tracked
    client.wait(vm.RemoveAllSnapshots_Task())
    client.sim.fault("cbt-keep")
    client.sim.grow("db", 2000, 8 * MiB)
    fresh = client.snapshot(vm)
    assert change_id(client, fresh).split("/")[0] == old.split("/")[0]
    assert areas(vm.QueryChangedDiskAreas(fresh, 2000, 0, old)) == [(4 * MiB, 4 * MiB)]


@pytest.mark.behaviour(24, "assumed")
def test_lies_false_positives_and_locks_on_demand(tracked):
    client, vm, _, old = tracked
    for number in (0, 8, 16):
        client.sim.write("db", 2000, number * BLOCK, b"x")
    second = client.snapshot(vm)
    client.sim.fault("cbt-lie")
    assert areas(vm.QueryChangedDiskAreas(second, 2000, 0, old)) == [(8 * BLOCK, BLOCK)]
    client.sim.fault("cbt-extra")
    assert areas(vm.QueryChangedDiskAreas(second, 2000, 0, old)) == [(0, 4 * MiB)]
    client.sim.fault("cbt-locked")
    with pytest.raises(vim.fault.FileFault) as caught:
        vm.QueryChangedDiskAreas(second, 2000, 0, old)
    assert not caught.value.faultMessage
    assert len(areas(vm.QueryChangedDiskAreas(second, 2000, 0, old))) == 3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30), st.integers(0, 80), st.integers(0, 80))
def test_a_set_of_ranges_is_a_set(added, one, other):
    ranges, model = Ranges(), set()
    for start, length in added:
        ranges.add(start, start + length)
        model |= set(range(start, start + length))
    first, last = sorted((one, other))
    pieces = list(ranges.split(first, last))
    assert {offset for start, end, inside in pieces if inside for offset in range(start, end)} == {
        offset for offset in model if first <= offset < last
    }
    assert sum(end - start for start, end, _ in pieces) == last - first
    assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(ranges))


SIZE = 40 * BLOCK
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SIZE - 1), st.integers(1, 3 * BLOCK)),
        st.just(("take",)),
        st.tuples(st.just("remove"), st.integers(0, 5)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, fill=st.integers(1, 255))
def test_disks_snapshots_and_areas_agree_with_a_plain_model(tmp_path_factory, steps, fill):
    """Any writes, snapshots and removals: each snapshot keeps its bytes, and no changed byte is outside the areas."""
    spec = DiskSpec(key=2000, controller=1000, unit=0, size=SIZE)
    subject = Disk(spec, tmp_path_factory.mktemp("disk"), "x", "6000c29" + "0" * 25)
    subject.tracker = Tracker(SIZE)
    model, moments = bytearray(SIZE), []  # a moment: frozen layer, bytes, changeId, still held
    for number, step in enumerate(steps):
        if step[0] == "write":
            content = bytes([(fill + number) % 255 + 1]) * min(step[2], SIZE - step[1])
            subject.write(step[1], content)
            model[step[1] : step[1] + len(content)] = content
        elif step[0] == "take":
            change = subject.tracker.mark()
            moments.append([subject.freeze(), bytes(model), change, True])
        else:
            held = [moment for moment in moments if moment[3]]
            if held:
                victim = held[step[1] % len(held)]
                gone = subject.merge_down(victim[0])
                victim[3] = False
                for moment in moments:
                    if moment[0] is gone:
                        moment[0] = victim[0]
        assert subject.read(0, SIZE) == bytes(model)
        for layer, content, _, held in moments:
            if held:
                buffer = bytearray(SIZE)
                subject._read(subject.layers.index(layer), 0, memoryview(buffer))
                assert bytes(buffer) == content
    for earlier, later in itertools.pairwise(moments):
        changed = subject.tracker.changed(parse_change_id(earlier[2])[1], parse_change_id(later[2])[1])
        for start, end, inside in changed.split(0, SIZE):
            assert inside or earlier[1][start:end] == later[1][start:end]
    subject.close()
