"""What a set selects by: clusters, pools, vApps, custom attributes, fault tolerance, and estates made by number."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from runner.base.errors import UsageError
from steps.lab.simulator import Inventory, Simulator
from steps.lab.simulator.thin_machine import ThinMachine
from tests.simulation import PASSWORD, USER, Client, estate, machine, running

COLLECTOR = vmodl.query.PropertyCollector


def read(client, objects, kind, paths, **more):
    spec = COLLECTOR.FilterSpec(
        objectSet=[COLLECTOR.ObjectSpec(obj=one) for one in objects],
        propSet=[COLLECTOR.PropertySpec(type=kind, pathSet=paths)],
    )
    return client.content.propertyCollector.RetrievePropertiesEx([spec], COLLECTOR.RetrieveOptions(**more))


def every(client, *kinds):
    views = client.content.viewManager
    return views.CreateContainerView(client.content.rootFolder, list(kinds), True).view


@pytest.mark.behaviour(49, "documented")
def test_a_setting_is_read_by_its_name(simulate):
    client = simulate(machine(extra_config={"guestinfo.owner": "ann"}))
    path = 'config.extraConfig["guestinfo.owner"]'
    (found,) = read(client, [client.vm()], vim.VirtualMachine, [path]).objects
    assert [(one.name, one.val.value) for one in found.propSet] == [(path, "ann")]


@pytest.mark.behaviour(49, "reported")
@pytest.mark.behaviour(57, "assumed")
@pytest.mark.parametrize("asked", [None, 500])
def test_a_hundred_objects_are_a_page_whatever_is_asked(simulate, asked):
    client = simulate(*(machine(f"vm{number}", disks=[]) for number in range(101)))
    page = read(client, every(client, vim.VirtualMachine), vim.VirtualMachine, ["name"], maxObjects=asked)
    assert len(page.objects) == 100
    rest = client.content.propertyCollector.ContinueRetrievePropertiesEx(page.token)
    assert (len(rest.objects), rest.token) == (1, None)


@pytest.mark.behaviour(49, "reported")
def test_a_token_of_another_session_is_refused(simulate):
    client = simulate(*(machine(f"vm{number}", disks=[]) for number in range(3)))
    page = read(client, every(client, vim.VirtualMachine), vim.VirtualMachine, ["name"], maxObjects=1)
    other = Client.of(client.sim)
    with pytest.raises(vmodl.fault.InvalidArgument):
        other.content.propertyCollector.ContinueRetrievePropertiesEx(page.token)
    assert client.content.propertyCollector.ContinueRetrievePropertiesEx(page.token).objects


@pytest.mark.behaviour(50, "documented")
def test_custom_attributes_have_keys_and_values_where_one_was_written(simulate):
    client = simulate(machine("a", attributes={"Backup": "gold"}), machine("b"), attributes=["owner"])
    fields = {one.name: one.key for one in client.content.customFieldsManager.field}
    assert set(fields) == {"Backup", "owner"}
    values = [(one.key, one.value) for one in client.vm("DC1/vm/a").customValue]
    assert values == [(fields["Backup"], "gold")]
    assert list(client.vm("DC1/vm/b").customValue) == []


def test_a_vm_stands_where_the_inventory_says(simulate):
    clusters = [{"name": "c1", "hosts": ["h1", "h2"], "pools": ["gold/inner"]}]
    vapps = [{"name": "shop", "folder": "apps", "cluster": "c1", "pool": "gold"}]
    stores = [{"name": "ds1", "cluster": "pod"}]
    datacenter = {"name": "DC1", "datastores": stores, "clusters": clusters, "vapps": vapps}
    vms = [machine("a", host="h2", pool="gold/inner"), machine("b", vapp="shop")]
    client = simulate(datacenters=[{**datacenter, "vms": vms}])
    a = client.vm("DC1/vm/a")
    assert (a.runtime.host.name, a.runtime.host.parent.name) == ("h2", "c1")
    assert (a.resourcePool.name, a.resourcePool.parent.name) == ("inner", "gold")
    assert isinstance(a.datastore[0].parent, vim.StoragePod)
    (shop,) = every(client, vim.VirtualApp)
    assert (shop.parentFolder.name, shop.parent.name) == ("apps", "gold")


@pytest.mark.behaviour(58, "documented")
def test_a_vm_in_a_vapp_has_no_folder_and_a_template_no_pool(simulate):
    vapps = [{"name": "shop"}]
    stores = [{"name": "ds1"}]
    vms = [machine("in"), machine("b", template=True)]
    vms[0]["vapp"] = "shop"
    client = simulate(datacenters=[{"name": "DC1", "datastores": stores, "vapps": vapps, "vms": vms}])
    found = {one.name: one for one in every(client, vim.VirtualMachine)}
    assert (found["in"].parent, found["in"].parentVApp.name) == (None, "shop")
    assert (found["b"].resourcePool, found["b"].parentVApp) == (None, None)


@pytest.mark.behaviour(58, "documented")
def test_a_secondary_of_fault_tolerance_says_so_and_a_vm_may_have_no_configuration(simulate):
    client = simulate(machine("a", fault_tolerance="secondary"), machine("b", configured=False), machine("c"))
    assert client.vm("DC1/vm/a").config.ftInfo.role == 2
    assert client.vm("DC1/vm/b").config is None
    assert client.vm("DC1/vm/c").config.ftInfo is None


@pytest.mark.parametrize(
    ("vm", "says"),
    [
        pytest.param({"host": "nope"}, "there is no cluster .* with the host nope", id="host"),
        pytest.param({"pool": "nope"}, "has no resource pool nope", id="pool"),
        pytest.param({"vapp": "nope"}, "there is no vApp nope", id="vapp"),
    ],
)
def test_a_vm_on_what_is_not_there_is_a_sentence(tmp_path, vm, says):
    with pytest.raises(UsageError, match=says):
        Simulator(estate(machine(**vm)), tmp_path, username=USER, password=PASSWORD)


# Estates


def made(**more):
    return Inventory.from_json_value({"estate": {"vms": 300, **more}})


def stored(directory):
    return [path for path in (directory / "datastores").rglob("*") if path.is_file()]


def test_an_estate_is_the_same_for_the_same_numbers(tmp_path):
    seen = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        with running(made(seed=seed), tmp_path / name) as client:
            seen.append({(one.instance_uuid, one.power, one.store._moId) for one in machines(client)})
    assert seen[0] == seen[1] != seen[2]
    assert len(seen[0]) == 300


def machines(client):
    return [one for one in client.sim._world._objects.values() if one.kind is vim.VirtualMachine]


def test_nothing_of_an_estate_is_stored_until_a_vm_is_touched(tmp_path):
    with running(made(disks=1), tmp_path) as client:
        vms = every(client, vim.VirtualMachine)
        answer = read(client, vms[:50], vim.VirtualMachine, ["config.hardware.device", "layoutEx", "summary", "name"])
        assert len(answer.objects) == 50
        assert not stored(tmp_path)
        client.snapshot(vms[0])
        assert {path.parent for path in stored(tmp_path)} == {stored(tmp_path)[0].parent}


def test_who_carries_a_mark_is_told_of_thousands_without_drawing_one(tmp_path, monkeypatch):
    path = 'config.extraConfig["sendense.restore"]'
    with running(made(disks=1), tmp_path) as client:
        vms = every(client, vim.VirtualMachine)
        mark = [vim.option.OptionValue(key="sendense.restore", value="{}")]
        client.wait(vms[7].ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=mark)))
        drawn = []
        monkeypatch.setattr(ThinMachine, "_spec", lambda one: drawn.append(one) or pytest.fail("it was drawn"))
        first = read(client, vms, vim.VirtualMachine, [path]).objects
        assert [one.obj for one in first if one.propSet] == [vms[7]]
        assert not drawn


def test_a_thin_vm_says_of_itself_what_a_whole_one_says(tmp_path):
    asked = [
        "name",
        "parent",
        "resourcePool",
        "datastore",
        "summary.config.instanceUuid",
        "summary.config.template",
        "runtime.powerState",
        "runtime.host",
        "runtime.connectionState",
        "runtime.faultToleranceState",
        "config.hardware.numCPU",
        "config.uuid",
    ]
    with running(made(templates=1), tmp_path) as client:
        vm = every(client, vim.VirtualMachine)[7]

        def told():
            (found,) = read(client, [vm], vim.VirtualMachine, [*asked, "config.hardware.device"]).objects
            values = {one.name: one.val for one in found.propSet}
            devices = values.pop("config.hardware.device")
            disks = [one for one in devices if isinstance(one, vim.vm.device.VirtualDisk)]
            return values, [(one.key, one.backing.uuid, one.backing.fileName, one.capacityInBytes) for one in disks]

        thin = told()
        client.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)))
        assert stored(tmp_path)
        assert told() == thin


def test_a_thin_vm_can_be_backed_up(tmp_path):
    with running(made(vms=3, disks=1, size="4 MiB"), tmp_path) as client:
        vm = every(client, vim.VirtualMachine)[1]
        name = vm.name
        client.sim.write(name, 2000, 0, b"x" * 512)
        taken = client.snapshot(vm)
        assert client.disks(taken.config)[2000].backing.changeId
        assert client.sim.read(name, 2000, 0, 4) == b"xxxx"


def test_tags_of_an_estate_are_on_the_share_that_it_says(tmp_path):
    with running(made(tags={"backup/all": 1.0, "backup/none": 0.0, "backup/half": 0.5}), tmp_path) as client:
        counts = {one.name: len(one.objects) for one in client.sim.tagging.tags.values()}
        assert counts["all"] == 300
        assert 100 < counts["half"] < 200
