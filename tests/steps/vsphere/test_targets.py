"""Where a new VM may go, from objects as vCenters give them."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from steps.vsphere.targets import Targets
from steps.vsphere.targets_tree import of_objects
from tests.vcenter import vcenters

start_vcenter = vcenters

ROOT, DC = vim.Folder("group-d1"), vim.Datacenter("datacenter-1")
VMS, HOSTS = vim.Folder("group-v1"), vim.Folder("group-h1")


def estate(*more: tuple[Any, dict[str, Any]]) -> Targets:
    """A view has all that is in the root folder, and not that itself."""
    every = (
        (DC, {"name": "DC1", "parent": ROOT}),
        (VMS, {"name": "vm", "parent": DC, "childType": ["Folder", "VirtualMachine"]}),
        (HOSTS, {"name": "host", "parent": DC, "childType": ["Folder", "ComputeResource"]}),
        *more,
    )
    return of_objects({obj._moId: (obj, {"parent": DC, **seen}) for obj, seen in every})


def summary(**more: Any) -> Any:
    values = {
        "name": "x",
        "url": "ds:///",
        "capacity": 100,
        "freeSpace": 40,
        "accessible": True,
        "type": "VMFS",
        "multipleHostAccess": True,
    }
    return vim.Datastore.Summary(**{**values, **more})


def test_only_folders_of_vms_are_told_with_their_datacenter() -> None:
    (found,) = estate().folders
    assert (found.path, found.datacenter) == ("DC1/vm", "DC1")


def test_a_port_group_is_reached_by_its_switch_and_an_uplink_by_nobody() -> None:
    switch, group, uplink = (
        vim.DistributedVirtualSwitch("dvs-1"),
        *(vim.dvs.DistributedVirtualPortgroup(f"dvportgroup-{number}") for number in (1, 2)),
    )
    config = vim.dvs.DistributedVirtualPortgroup.ConfigInfo
    (found,) = estate(
        (switch, {"name": "dvs", "uuid": "50 2e 11"}),
        (group, {"name": "prod%2fweb", "key": "dvportgroup-1", "config": config(distributedVirtualSwitch=switch)}),
        (
            uplink,
            {"name": "up", "key": "dvportgroup-2", "config": config(distributedVirtualSwitch=switch, uplink=True)},
        ),
    ).nets
    assert (found.name, found.portgroup, found.kind) == ("prod/web", "dvportgroup-1", "DistributedVirtualPortgroup")
    assert found.backing["port"] == {
        "_type": "PortConnection",
        "switchUuid": "50 2e 11",
        "portgroupKey": "dvportgroup-1",
    }


def test_an_opaque_network_is_reached_by_its_id() -> None:
    opaque = vim.OpaqueNetwork("network-o1")
    told = vim.OpaqueNetwork.Summary(
        name="seg", accessible=True, opaqueNetworkId="ls-1", opaqueNetworkType="nsx.LogicalSwitch"
    )
    (found,) = estate((opaque, {"name": "seg", "summary": told})).nets
    assert found.backing == {
        "_type": "OpaqueNetworkBackingInfo",
        "opaqueNetworkId": "ls-1",
        "opaqueNetworkType": "nsx.LogicalSwitch",
    }


def test_a_datastore_says_why_nothing_goes_there_and_keeps_no_old_numbers() -> None:
    stores = {
        "good": {"summary": summary()},
        "away": {"summary": summary(accessible=False)},
        "resting": {"summary": summary(maintenanceMode="inMaintenance")},
        "untold": {},
    }
    found = estate(*((vim.Datastore(f"datastore-{name}"), {"name": name, **seen}) for name, seen in stores.items()))
    assert {one.name: (one.free, one.why_not) for one in found.stores} == {
        "away": (None, "no host reaches it at the moment"),
        "good": (40, ""),
        "resting": (None, "it is in maintenance mode"),
        "untold": (None, ""),
    }


def test_what_may_not_be_read_is_counted_and_not_absent() -> None:
    hidden = vim.Datastore("datastore-9")
    assert "Datastore datastore-9" in estate((hidden, {})).unread


def test_drs_and_the_hosts_that_can_take_a_vm() -> None:
    cluster, pool = vim.ClusterComputeResource("domain-c1"), vim.ResourcePool("resgroup-1")
    hosts = [vim.HostSystem(f"host-{number}") for number in (1, 2, 3)]
    drs = vim.cluster.ConfigInfo(
        drsConfig=vim.cluster.DrsConfigInfo(enabled=True), dasConfig=vim.cluster.DasConfigInfo()
    )
    states = [("connected", False), ("connected", True), ("disconnected", False)]
    found = estate(
        (cluster, {"name": "c1", "parent": HOSTS, "host": hosts, "resourcePool": pool, "configuration": drs}),
        (pool, {"name": "Resources", "parent": cluster, "owner": cluster}),
        *(
            (
                host,
                {
                    "name": host._moId,
                    "parent": cluster,
                    "runtime": vim.host.RuntimeInfo(
                        connectionState=state, inMaintenanceMode=resting, powerState="poweredOn"
                    ),
                },
            )
            for host, (state, resting) in zip(hosts, states, strict=True)
        ),
    )
    (made,) = found.clusters
    assert made.drs
    assert [one.usable for one in made.hosts] == [True, False, False]
    assert [one.path for one in found.pools] == ["c1/Resources"]
