"""The PropertyCollector: traversal, pages, what is unset, unknown or gone, and updates."""

from __future__ import annotations

import threading

import pytest
from pyVmomi import vim, vmodl

from tests.simulation import machine

COLLECTOR = vmodl.query.PropertyCollector


def spec(objects, kind, paths, **more):
    return COLLECTOR.FilterSpec(objectSet=objects, propSet=[COLLECTOR.PropertySpec(type=kind, pathSet=paths)], **more)


def of(*references):
    return [COLLECTOR.ObjectSpec(obj=reference) for reference in references]


def values(found):
    return {one.name: one.val for one in found.propSet}


def retrieve(client, *specs, **options):
    return client.content.propertyCollector.RetrievePropertiesEx(list(specs), COLLECTOR.RetrieveOptions(**options))


def all_machines(client):
    view = client.content.viewManager.CreateContainerView(client.content.rootFolder, [vim.VirtualMachine], True)
    traversal = COLLECTOR.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
    return [COLLECTOR.ObjectSpec(obj=view, skip=True, selectSet=[traversal])]


def test_traversal_by_named_selections_finds_a_vm_in_a_folder_of_folders(simulate):
    client = simulate(machine("deep", folder="production/databases"))
    visit = COLLECTOR.SelectionSpec(name="folders")
    folders = COLLECTOR.TraversalSpec(name="folders", type=vim.Folder, path="childEntity", skip=False)
    datacenters = COLLECTOR.TraversalSpec(name="vms", type=vim.Datacenter, path="vmFolder", selectSet=[visit])
    folders.selectSet = [visit, datacenters]
    start = COLLECTOR.ObjectSpec(obj=client.content.rootFolder, skip=True, selectSet=[folders])
    found = retrieve(client, spec([start], vim.VirtualMachine, ["name"])).objects
    assert [values(one)["name"] for one in found] == ["deep"]


def test_traversal_upwards_ends_at_the_root(client):
    up = COLLECTOR.TraversalSpec(name="up", type=vim.ManagedEntity, path="parent")
    up.selectSet = [COLLECTOR.SelectionSpec(name="up")]
    found = retrieve(client, spec([COLLECTOR.ObjectSpec(obj=client.vm(), selectSet=[up])], vim.ManagedEntity, ["name"]))
    assert [values(one)["name"] for one in found.objects] == ["db", "vm", "DC1", "Datacenters"]


def test_values_say_their_types(client):
    found = values(
        retrieve(client, spec(of(client.vm()), vim.VirtualMachine, ["config.hardware", "runtime.powerState"])).objects[
            0
        ]
    )
    disks = [one for one in found["config.hardware"].device if isinstance(one, vim.vm.device.VirtualDisk)]
    assert [one.capacityInBytes for one in disks] == [4 << 20, (1 << 20) + 512]
    assert found["runtime.powerState"] == "poweredOn"


@pytest.mark.parametrize("path", ["config.hardware.device", "datastore", "network", "config.extraConfig", "recentTask"])
def test_arrays_travel_as_typed_arrays(client, path):
    found = values(retrieve(client, spec(of(client.vm()), vim.VirtualMachine, [path])).objects[0])
    assert isinstance(found[path], list)


def test_an_element_of_an_array_is_read_by_its_key(client):
    path = "config.hardware.device[2001].backing.fileName"
    found = values(retrieve(client, spec(of(client.vm()), vim.VirtualMachine, [path])).objects[0])
    assert found == {path: "[ds1] db/db_1.vmdk"}


@pytest.mark.behaviour(36, "documented")
def test_unset_properties_are_absent(client):
    found = retrieve(client, spec(of(client.vm()), vim.VirtualMachine, ["name", "snapshot", "runtime.question"]))
    assert set(values(found.objects[0])) == {"name"}


@pytest.mark.behaviour(36, "documented")
@pytest.mark.parametrize("path", ["nonsense", "config.nonsense", "name.more", "config..name", "config."])
def test_an_unknown_path_fails_the_whole_call(client, path):
    with pytest.raises(vmodl.query.InvalidProperty) as caught:
        retrieve(client, spec(of(client.vm()), vim.VirtualMachine, ["name", path]))
    assert caught.value.name == path


@pytest.mark.behaviour(36, "documented")
def test_what_may_not_be_read_is_missing_with_its_fault(simulate):
    client = simulate(machine(unreadable=["config"]))
    found = retrieve(client, spec(of(client.vm()), vim.VirtualMachine, ["name", "config.uuid"])).objects[0]
    assert set(values(found)) == {"name"}
    assert [(one.path, type(one.fault)) for one in found.missingSet] == [("config.uuid", vim.fault.NoPermission)]


@pytest.mark.behaviour(36, "documented")
def test_a_gone_object_fails_the_call_unless_it_may_be_left_out(client):
    vm = client.vm()
    gone = client.snapshot(vm)
    client.wait(gone.RemoveSnapshot_Task(False))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound) as caught:
        retrieve(client, spec(of(gone), vim.vm.Snapshot, ["config"]))
    assert caught.value.obj == gone
    both = COLLECTOR.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])
    kind = COLLECTOR.PropertySpec(type=vim.vm.Snapshot, pathSet=["vm"])
    lenient = COLLECTOR.FilterSpec(objectSet=of(gone, vm), propSet=[both, kind], reportMissingObjectsInResults=True)
    assert [one.obj for one in retrieve(client, lenient).objects] == [vm]


def test_nothing_found_is_no_result(client):
    assert retrieve(client, spec(of(client.vm()), vim.Datacenter, ["name"])) is None


@pytest.mark.behaviour(37, "documented")
def test_pages_are_as_asked_and_a_token_works_once(simulate):
    client = simulate(*(machine(f"vm{number}", disks=[]) for number in range(5)))
    collector = client.content.propertyCollector
    page = retrieve(client, spec(all_machines(client), vim.VirtualMachine, ["name"]), maxObjects=2)
    first = page.token
    names = [values(one)["name"] for one in page.objects]
    while page.token:
        page = collector.ContinueRetrievePropertiesEx(page.token)
        assert len(page.objects) <= 2
        names += [values(one)["name"] for one in page.objects]
    assert sorted(names) == [f"vm{number}" for number in range(5)]
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(first)


def test_the_server_pages_unasked(simulate):
    client = simulate(*(machine(f"vm{number}", disks=[]) for number in range(101)))
    page = retrieve(client, spec(all_machines(client), vim.VirtualMachine, ["name"]))
    assert (len(page.objects), page.token is not None) == (100, True)


def test_every_property_of_a_vm_can_travel(client):
    every = COLLECTOR.FilterSpec(
        objectSet=of(client.vm()), propSet=[COLLECTOR.PropertySpec(type=vim.ManagedEntity, all=True)]
    )
    assert {"config", "summary", "guest", "layoutEx", "capability"} <= set(values(retrieve(client, every).objects[0]))


@pytest.mark.behaviour(37, "documented")
@pytest.mark.behaviour(38, "documented")
def test_updates_enter_modify_and_time_out_to_nothing(client):
    collector, vm = client.content.propertyCollector, client.vm()
    created = collector.CreateFilter(spec(of(vm), vim.VirtualMachine, ["snapshot", "layoutEx", "name"]), True)
    options = COLLECTOR.WaitOptions(maxWaitSeconds=5)
    first = collector.WaitForUpdatesEx("", options)
    update = first.filterSet[0].objectSet[0]
    assert (update.kind, {one.name for one in update.changeSet}) == ("enter", {"name", "layoutEx"})
    waiting: list = []
    thread = threading.Thread(target=lambda: waiting.append(collector.WaitForUpdatesEx(first.version, options)))
    thread.start()
    task = vm.CreateSnapshot_Task("one", "", False, False)
    thread.join(10)
    update = waiting[0].filterSet[0].objectSet[0]
    assert (update.kind, [one.name for one in update.changeSet]) == ("modify", ["snapshot"])
    assert update.changeSet[0].val.rootSnapshotList[0].name == "one"
    assert collector.WaitForUpdatesEx(waiting[0].version, COLLECTOR.WaitOptions(maxWaitSeconds=0)) is None
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        collector.WaitForUpdatesEx("77", options)
    created.Destroy()
    assert task.info.state == "success"


@pytest.mark.behaviour(37, "documented")
@pytest.mark.behaviour(37, "reported")
def test_more_updates_than_a_page_are_truncated(simulate):
    client = simulate(*(machine(f"vm{number}", disks=[]) for number in range(101)))
    collector = client.content.propertyCollector
    collector.CreateFilter(spec(all_machines(client), vim.VirtualMachine, ["name"]), True)
    first = collector.WaitForUpdatesEx("", COLLECTOR.WaitOptions(maxWaitSeconds=5))
    second = collector.WaitForUpdatesEx(first.version, COLLECTOR.WaitOptions(maxWaitSeconds=5))
    assert (first.truncated, len(first.filterSet[0].objectSet), len(second.filterSet[0].objectSet)) == (True, 100, 1)
    assert not second.truncated


def test_a_session_that_ends_cancels_its_wait(client):
    other = client.service
    collector = other.RetrieveContent().propertyCollector
    collector.CreateFilter(spec(of(client.vm()), vim.VirtualMachine, ["name"]), True)
    first = collector.WaitForUpdatesEx("", COLLECTOR.WaitOptions(maxWaitSeconds=5))
    caught: list = []

    def wait():
        try:
            collector.WaitForUpdatesEx(first.version, COLLECTOR.WaitOptions(maxWaitSeconds=20))
        except vmodl.fault.RequestCanceled as error:
            caught.append(error)

    key = other.content.sessionManager.currentSession.key
    thread = threading.Thread(target=wait)
    thread.start()
    client.await_calls("WaitForUpdatesEx", 2)
    client.content.sessionManager.TerminateSession([key])
    thread.join(10)
    assert caught
