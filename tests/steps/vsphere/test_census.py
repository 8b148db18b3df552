"""How much is asked of a vCenter for thousands of VMs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.step.items import Item, Where
from runner.step.preflight import Known
from steps.backup.discover import Discover, DiscoverIn
from steps.backup.snapshot import Snapshot, SnapshotIn
from steps.lab.simulator import Inventory, Simulator
from steps.vsphere import census, machine, privileges
from steps.vsphere.allocated import allocated
from steps.vsphere.client import vcenter
from steps.vsphere.rule import Rule
from steps.vsphere.survey import MACHINE
from tests.vcenter import PASSWORD, USER, Lab, Starts, vcenters
from tests.vcenter import machine as vm

start_vcenter = vcenters

MOST = 30
"""Requests for all of an estate of 1,000, whatever is selected of it."""


@pytest.fixture
def thousand(tmp_path: Path) -> Iterator[Lab]:
    inventory = Inventory.from_json_value({"estate": {"vms": 1000, "templates": 3}})
    with Simulator(inventory, tmp_path, username=USER, password=PASSWORD) as simulator:
        lab = Lab(simulator, tmp_path)
        with lab.stack:
            yield lab


def where(*any_: dict[str, Any]) -> Where:
    return Where(tuple(Rule.from_json_value(one) for one in any_))


def looked_up(calls: Counter[str]) -> int:
    """Categories and tags."""
    return calls["GET /api"]


def test_a_thousand_vms_are_selected_by_thirty_requests_and_described_by_one_for_a_hundred(thousand: Lab) -> None:
    calls = thousand.simulator.calls
    rules = where({"tag": "backup/gold"}, {"folder": "/Estate/vm/web"}, {"cluster": "cluster01", "name": "db-*"})
    found = census.take(thousand.context(), "prod", [rules])
    items = found.select(rules)
    assert len(found.everything) == 1000
    assert not items.unfit
    asked = sum(calls.values()) - looked_up(calls)
    assert asked <= MOST - 3  # what is left is for privileges
    chosen = items.chosen[:250]
    detailed = found.detailed(chosen)
    assert all(item.disks and item.size for item in detailed)
    assert sum(calls.values()) - looked_up(calls) - asked <= 3 + 3
    assert not [path for path in (thousand.simulator.directory / "datastores").rglob("*") if path.is_file()]


def test_asked_again_the_same_are_not_read_again(thousand: Lab) -> None:
    found = census.take(thousand.context(), "prod", [])
    chosen = found.select(where()).chosen[:5]
    first = found.detailed(chosen)
    before = Counter(thousand.simulator.calls)
    assert found.detailed(chosen) == first
    assert thousand.simulator.calls == before


def look(lab: Lab, found: census.VmCensus, item: Item) -> None:
    """What the plan of a backup asks of one VM."""
    ctx = lab.context()
    ctx.answers = found.answers(item)
    client = vcenter(ctx, "prod")
    inputs = DiscoverIn(vcenter="prod", vm=item.id)
    observed = Discover().preflight(ctx, Known(inputs=inputs)).observations
    assert {one.state for one in observed} == {"good"}
    seen = Discover().run(ctx, inputs, Discover.Live())
    snapshot = Snapshot().preflight(ctx, Known(inputs=SnapshotIn(vm=seen.vm, cbt="enable")))
    assert not snapshot.problems and snapshot.prospect is not None
    assert allocated(client, seen.vm.moref)
    for disk in snapshot.prospect.disks:
        on_files = privileges.on_files(client, seen.vm.moref, snapshot.prospect.datacenter, disk.datastore)
        privileges.require(client, (*on_files, *privileges.on_vcenter(client)))
    machine.powered_on(client, seen.vm.moref)
    machine.esxi_host(client, seen.vm.moref)
    machine.vmx_file(client, seen.vm.moref)


def test_a_look_at_a_described_vm_asks_nothing(thousand: Lab) -> None:
    found = census.take(thousand.context(), "prod", [])
    items = found.detailed(found.select(where({"name": "*"})).chosen[:20])
    before = Counter(thousand.simulator.calls)
    for item in items:
        look(thousand, found, item)
    assert thousand.simulator.calls - before == Counter()


def test_it_sees_what_a_look_of_its_own_would(start_vcenter: Starts) -> None:
    """Also of a VM with snapshots, in a vApp, on two datastores."""
    network = {"network": "VM Network", "mac": "00:50:56:9a:10:02"}
    disks = [
        {"key": 2000, "controller": 1000, "unit": 0, "size": "2 MiB", "thin": False},
        {"key": 2001, "controller": 1000, "unit": 1, "size": "1 MiB", "datastore": "vvol1"},
        {"key": 2002, "controller": 1000, "unit": 2, "size": "1 MiB", "mode": "independent_persistent"},
    ]
    lab = start_vcenter(
        vm("odd", disks=disks, networks=[network], vapp="shop", change_tracking=True),
        vm("plain", powered_on=False),
        datacenter={"vapps": [{"name": "shop", "folder": "apps"}]},
    )
    lab.simulator.fault("slow-task", seconds=0.0)
    found = census.take(lab.context(), "prod", [])
    for item in found.detailed(found.select(where()).chosen):
        ctx = lab.context()
        ctx.answers = found.answers(item)
        moref = item.facts["moref"]
        bulk, alone = vcenter(ctx, "prod"), lab.client
        assert machine.describe(bulk, moref) == machine.describe(alone, moref)
        assert item.disks == len(machine.describe(alone, moref).disks)
        assert allocated(bulk, moref) == allocated(alone, moref)
        assert privileges.datastores_of(bulk, moref) == privileges.datastores_of(alone, moref)


def test_a_vm_that_cannot_be_described_says_so_when_it_is_looked_at(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("odd", unreadable=["capability", "config"]), vm("even"))
    found = census.take(lab.context(), "prod", [])
    items = {item.name: item for item in found.detailed(found.select(where({"name": "*"})).chosen)}
    assert (items["odd"].disks, items["even"].disks) == (None, 1)
    with pytest.raises(Exception, match=r"lacks System\.Read"):
        look(lab, found, items["odd"])


def test_a_vm_that_is_gone_since_does_not_fail_the_others(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("gone"), vm("stays"))
    found = census.take(lab.context(), "prod", [])
    with lab.simulator._world.lock:
        lab.simulator._world.remove(lab.simulator._machine("gone"))
    items = {item.name: item.disks for item in found.detailed(found.select(where()).chosen)}
    assert items == {"gone": None, "stays": 1}


def test_one_that_goes_while_privileges_are_asked_does_not_fail_the_others(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("stays"))
    found = census.take(lab.context(), "prod", [])
    lab.simulator.fault("fail-call", count=3, method="HasPrivilegeOnEntities", fault="ManagedObjectNotFound")
    (item,) = found.detailed(found.select(where()).chosen)
    assert not lab.simulator.armed
    assert item.disks == 1
    look(lab, found, item)


def test_a_vm_that_a_tag_names_and_no_view_shows_makes_the_set_incomplete(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("seen", tags=["backup/gold"]), vm("hidden", tags=["backup/gold"]))
    gold = where({"tag": "backup/gold"})
    hidden = lab.simulator._machine("hidden")
    assert hidden.parent is not None
    hidden.parent.children.remove(hidden)
    hidden.unreadable = frozenset(path.partition(".")[0] for path in MACHINE)
    lab.simulator.rest._readable = lambda kind, moref: True  # type: ignore[method-assign]
    items = census.take(lab.context(), "prod", [gold]).select(gold)
    assert [item.name for item in items.chosen] == ["seen"]
    assert [one.item.name for one in items.unread] == [hidden.moid]


def test_a_tag_on_a_vm_that_is_gone_is_nobodys(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("seen", tags=["backup/gold"]))
    lab.simulator.tagging.make("backup/gold").objects["vm-999"] = "VirtualMachine"
    items = census.take(lab.context(), "prod", [where({"tag": "backup/gold"})]).select(where({"tag": "backup/gold"}))
    assert ([item.name for item in items.chosen], items.unread) == (["seen"], ())
