"""What an ESXi host says of itself that is not managed by a vCenter, or is asked past it."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from steps.lab.simulator import Inventory
from tests.simulation import machine, running

UUID = "4c4c4544-0051-4210-8056-b4c04f4e3332"


def host(**more):
    datacenter = {"name": "ha-datacenter", "datastores": [{"name": "ds1"}], "vms": [machine()]}
    return Inventory.from_json_value({"product": "esxi", "datacenters": [datacenter], **more})


@pytest.fixture
def client(tmp_path):
    with running(host(), tmp_path) as made:
        yield made


def uuids(client):
    """Of the hosts' hardware, by moref."""
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=vim.HostSystem("ha-host"))],
        propSet=[collector.PropertySpec(type=vim.HostSystem, pathSet=["hardware.systemInfo.uuid"])],
    )
    found = client.content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    return {one.obj._moId: [entry.val for entry in one.propSet] for one in found.objects}


@pytest.mark.behaviour(55, "documented")
def test_it_has_no_instance_uuid_but_that_of_its_hardware(client):
    about = client.content.about
    assert (about.apiType, about.productLineId, about.instanceUuid) == ("HostAgent", "embeddedEsx", None)
    assert uuids(client) == {"ha-host": [UUID]}


@pytest.mark.behaviour(55, "reported")
def test_morefs_of_vms_are_bare_numbers_and_its_own_objects_have_fixed_ones(client):
    assert client.vm("ha-datacenter/vm/db")._moId == "16"
    assert client.content.rootFolder._moId == "ha-folder-root"
    assert client.content.searchIndex.FindByInventoryPath("ha-datacenter")._moId == "ha-datacenter"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"datacenters": [{"name": "DC1", "datastores": [{"name": "ds1"}]}]}, id="another name"),
        pytest.param(
            {"datacenters": [{"name": "ha-datacenter", "datastores": [{"name": "ds1"}], "vms": [machine(folder="a")]}]},
            id="folders",
        ),
    ],
)
def test_an_inventory_that_no_host_has_is_refused(more):
    with pytest.raises(ValueError, match="an ESXi host has one datacenter, ha-datacenter, and no folders"):
        host(**more)
