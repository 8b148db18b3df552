"""Which VM a child of a set works on, over what happens to VMs: a test for each row of `sendense help which-vm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.hosts.local import LocalHost
from runner.step.items import Item, Where
from steps.repository.vm_place import OtherVcenterError, look
from steps.values.discovered import Discovered
from steps.vm.which_vm import NotAdopted
from steps.vsphere import census
from steps.vsphere.rule import Rule
from tests.lives import BIOS, DISK, FIRST, REBUILT, SECOND, backed_up, discover, other, web
from tests.vcenter import Lab, Starts, disk, machine

pytestmark = pytest.mark.slow

RULE = Rule(name="web*")


def children(lab: Lab) -> dict[str, Item]:
    """By the instance uuid, which is what each child is given."""
    where = Where((RULE,))
    return {item.id: item for item in census.take(lab.context(), "prod", [where]).select(where).chosen}


@pytest.fixture
def before(start_vcenter: Starts, root: Path) -> Discovered:
    """The VM `web`, of which a child of the set has made a point."""
    found = discover(start_vcenter(web()), root, FIRST)
    backed_up(root, found, job=f"gold/web-{FIRST}")
    return found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"name": "web-1"}, id="renamed"),
        pytest.param({"folder": "moved"}, id="moved"),
        pytest.param({"directory": "elsewhere"}, id="storage-moved"),
        pytest.param({}, id="registered-again"),
    ],
)
@pytest.mark.usefixtures("before")
def test_the_same_child_continues_its_points(start_vcenter: Starts, root: Path, change: dict[str, Any]) -> None:
    lab = start_vcenter(machine("first"), web(**change))  # its moref is another too, as after registering it again
    (item,) = children(lab).values()
    assert (item.id, item.name) == (FIRST, change.get("name", "web"))
    found = discover(lab, root, item.id)
    assert look(LocalHost(), str(root), found.vm) == str(root / f"web-{FIRST}")


@pytest.mark.usefixtures("before")
def test_a_recreated_vm_is_another_child_with_a_directory_of_its_own(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(other())
    assert set(children(lab)) == {SECOND}
    found = discover(lab, root, SECOND)
    assert look(LocalHost(), str(root), found.vm) == str(root / f"web-{SECOND}")


@pytest.mark.usefixtures("before")
def test_a_clone_under_the_name_in_another_folder_is_a_child_beside_it(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(), other(folder="clones", uuid=BIOS))
    assert set(children(lab)) == {FIRST, SECOND}
    for uuid in (FIRST, SECOND):
        assert discover(lab, root, uuid).vm.instance_uuid == uuid


@pytest.mark.usefixtures("before")
def test_renamed_while_another_has_its_name_each_is_a_child_by_its_uuid(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(name="web-old"), other())
    assert {uuid: item.name for uuid, item in children(lab).items()} == {FIRST: "web-old", SECOND: "web"}
    assert discover(lab, root, FIRST).vm.name == "web-old"
    assert discover(lab, root, SECOND).vm.name == "web"


@pytest.mark.usefixtures("before")
def test_another_instance_uuid_with_its_bios_uuid_and_a_disk_is_refused(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(instance_uuid=SECOND))
    assert set(children(lab)) == {SECOND}
    with pytest.raises(NotAdopted, match=f"of VM 'web' is {SECOND} now; what was backed up before had {FIRST}"):
        discover(lab, root, SECOND)


@pytest.mark.parametrize(
    "vms",
    [
        pytest.param([web(), web(instance_uuid=SECOND, folder="copies")], id="while-the-first-is-there"),
        pytest.param([web(instance_uuid=SECOND, disks=[disk()])], id="with-disks-of-its-own"),
        pytest.param([web(instance_uuid=SECOND, uuid=None, disks=[disk(uuid=DISK)])], id="with-a-bios-uuid-of-its-own"),
    ],
)
@pytest.mark.usefixtures("before")
def test_what_is_no_more_than_alike_is_another_vm(start_vcenter: Starts, root: Path, vms: list[dict[str, Any]]) -> None:
    lab = start_vcenter(*vms)
    assert discover(lab, root, SECOND).vm.instance_uuid == SECOND


@pytest.mark.usefixtures("before")
def test_of_a_vcenter_that_was_rebuilt_each_child_is_refused(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(), instance_uuid=REBUILT)
    assert set(children(lab)) == {FIRST}
    with pytest.raises(OtherVcenterError, match="`sendense adopt JOB` shows both"):
        look(LocalHost(), str(root), discover(lab, root, FIRST).vm)


@pytest.mark.usefixtures("before")
def test_a_vm_that_is_gone_is_no_child(start_vcenter: Starts) -> None:
    assert children(start_vcenter(machine("db"))) == {}


def test_on_an_esxi_host_by_itself_a_child_is_known_by_its_instance_uuid_too(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(), product="esxi", datacenter={"name": "ha-datacenter"})
    assert set(children(lab)) == {FIRST}
    assert discover(lab, root, FIRST).vm.vcenter_uuid == "4c4c4544-0051-4210-8056-b4c04f4e3332"
