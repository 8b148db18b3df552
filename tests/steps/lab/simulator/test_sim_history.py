"""Events and tasks: read by filters, through collectors, and posted."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from tests.simulation import estate, machine, running

Spec = vim.event.EventFilterSpec


def about(entity, recursion="all"):
    return Spec.ByEntity(entity=entity, recursion=recursion)


def kinds(events):
    return [type(event).__name__.rsplit(".", 1)[-1] for event in events]


@pytest.mark.behaviour(53, "documented")
def test_what_happened_to_a_vm_is_an_event_of_it_and_of_what_it_was_in(tmp_path):
    clusters = [{"name": "cluster1", "hosts": ["esx1.example", "esx2.example"]}]
    datacenter = {"name": "DC1", "datastores": [{"name": "ds1"}], "clusters": clusters}
    vms = [machine(powered_on=False, folder="prod"), machine("web")]
    with running(estate(datacenters=[{**datacenter, "vms": vms}]), tmp_path) as client:
        vm, folder = client.vm("DC1/vm/prod/db"), client.vm("DC1/vm/prod")
        before = vm.config.instanceUuid
        client.sim.migrate("db", "esx2.example")
        client.sim.change_instance_uuid("db", "52000000-0000-0000-0000-000000000001")
        client.sim.rename("db", "old")
        client.sim.unregister("old")

        read = client.content.eventManager.QueryEvents
        events = read(Spec(entity=about(folder)))
        assert kinds(events) == ["VmMigratedEvent", "VmInstanceUuidChangedEvent", "VmRenamedEvent", "VmRemovedEvent"]
        migrated, changed, renamed, removed = events
        assert (migrated.sourceHost.name, migrated.host.name) == ("esx1.example", "esx2.example")
        assert (changed.oldInstanceUuid, changed.newInstanceUuid) == (before, "52000000-0000-0000-0000-000000000001")
        assert (renamed.oldName, renamed.newName, removed.vm.name, removed.vm.vm) == ("db", "old", "old", vm)
        assert kinds(read(Spec(entity=about(folder, "children")))) == kinds(events)
        assert read(Spec(entity=about(folder, "self"))) == []
        assert read(Spec(entity=about(client.vm("DC1/vm/web")))) == []


@pytest.mark.behaviour(53, "documented")
def test_events_are_filtered_by_type_id_time_and_number(client):
    vm, manager = client.vm(), client.content.eventManager
    for name in ("a", "b", "c"):
        client.sim.rename(client.vm().name if name == "a" else chr(ord(name) - 1), name)
    client.sim.unregister("c")
    assert kinds(manager.QueryEvents(Spec(eventTypeId=["vim.event.VmRemovedEvent"]))) == ["VmRemovedEvent"]
    renamed = manager.QueryEvents(Spec(type=[vim.event.VmRenamedEvent]))
    assert [event.newName for event in renamed] == ["a", "b", "c"]
    assert [event.newName for event in manager.QueryEvents(Spec(eventTypeId=[RENAMED], maxCount=2))] == ["b", "c"]
    since = Spec.ByTime(beginTime=renamed[1].createdTime)
    assert [event.newName for event in manager.QueryEvents(Spec(eventTypeId=[RENAMED], time=since))] == ["b", "c"]
    assert kinds([manager.latestEvent]) == ["VmRemovedEvent"]
    assert manager.latestEvent.vm.vm == vm


RENAMED = "vim.event.VmRenamedEvent"


@pytest.mark.behaviour(53, "documented")
def test_an_event_of_ones_own_comes_back_with_the_servers_key_and_time(client):
    manager, vm = client.content.eventManager, client.vm()
    posted = vim.event.EventEx(
        key=77, chainId=77, createdTime=client.service.CurrentTime().replace(year=2001), userName="somebody",
        eventTypeId="org.example.backup.done", severity="info", message="done", objectId=vm._moId, objectType=vim.VirtualMachine,
    )  # fmt: skip
    manager.PostEvent(posted)
    (back,) = manager.QueryEvents(Spec(eventTypeId=["org.example.backup.done"]))
    assert (back.message, back.objectId) == ("done", vm._moId)
    assert back.key != 77 and back.createdTime.year > 2001 and back.userName != "somebody"
    assert [event.key for event in manager.QueryEvents(Spec(entity=about(vm, "self")))] == [back.key]


def test_a_users_event_has_a_text(client):
    manager, vm = client.content.eventManager, client.vm()
    manager.LogUserEvent(vm, "looked after")
    assert [event.message for event in manager.QueryEvents(Spec(entity=about(vm)))] == ["looked after"]
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.LogUserEvent(vm, "")


def test_a_collector_reads_events_in_pages_and_follows(client):
    for number in range(5):
        client.sim.rename("db" if number == 0 else f"n{number - 1}", f"n{number}")
    collector = client.content.eventManager.CreateCollectorForEvents(Spec())
    assert [event.newName for event in collector.latestPage] == ["n4", "n3", "n2", "n1", "n0"]
    assert collector.ReadNextEvents(10) == []
    collector.RewindCollector()
    assert [event.newName for event in collector.ReadNextEvents(3)] == ["n0", "n1", "n2"]
    assert [event.newName for event in collector.ReadNextEvents(3)] == ["n3", "n4"]
    assert [event.newName for event in collector.ReadPreviousEvents(2)] == ["n3", "n4"]
    client.sim.rename("n4", "n5")
    collector.ResetCollector()
    assert [event.newName for event in collector.ReadPreviousEvents(1)] == ["n5"]
    collector.SetCollectorPageSize(1)
    assert [event.newName for event in collector.latestPage] == ["n5"]
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ReadNextEvents(0)
    collector.DestroyCollector()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.RewindCollector()


def test_a_session_has_a_number_of_collectors(client):
    manager = client.content.eventManager
    made = [manager.CreateCollectorForEvents(Spec()) for _ in range(manager.maxCollector)]
    with pytest.raises(vim.fault.InvalidState):
        manager.CreateCollectorForEvents(Spec())
    made[0].DestroyCollector()
    manager.CreateCollectorForEvents(Spec())


def test_tasks_are_read_after_they_are_forgotten(simulate):
    client = simulate(machine(), machine("web"), options={"remember": 0.0})
    vm = client.vm()
    client.snapshot(vm)
    task = vm.CreateSnapshot_Task("two", "", False, False)
    client.wait(client.vm("DC1/vm/web").CreateSnapshot_Task("other", "", False, False))
    client.snapshot(vm, "three")
    manager = client.content.taskManager
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = task.info
    assert task not in manager.recentTask
    filter_ = vim.TaskFilterSpec(entity=vim.TaskFilterSpec.ByEntity(entity=vm, recursion="self"))
    collector = manager.CreateCollectorForTasks(filter_)
    collector.RewindCollector()
    infos = collector.ReadNextTasks(100)
    assert [info.state for info in infos] == ["success"] * 3
    assert task._moId in [info.key for info in infos]
    assert {info.entity for info in infos} == {vm}
    failed = manager.CreateCollectorForTasks(vim.TaskFilterSpec(state=["error"]))
    assert failed.latestPage == []
