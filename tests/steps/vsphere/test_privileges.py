"""What the account lacks is said before it is tried, all of it at once."""

from __future__ import annotations

import pytest

from steps.vsphere import privileges
from steps.vsphere.errors import Gone, PermissionMissing
from tests.vcenter import Starts, vcenters

start_vcenter = vcenters

EVERY = (*privileges.BACKUP, *privileges.FOLDER, *privileges.VDDK)


def wanted(lab) -> list[privileges.Wanted]:
    found = lab.discover()
    return [
        *privileges.on_vm(found.vm.moref, found.vm.name),
        *privileges.on_files(lab.client, found.vm.moref, found.vm.datacenter, found.disks[0].datastore),
        *privileges.on_vcenter(lab.client),
    ]


def test_each_missing_privilege_is_named_with_its_object_in_one_sentence(start_vcenter: Starts) -> None:
    lab = start_vcenter(denied=list(EVERY))
    with pytest.raises(PermissionMissing) as caught:
        privileges.require(lab.client, wanted(lab))
    assert all(privilege in str(caught.value) for privilege in EVERY)
    for place in ("VM pgtest1", "datastore ds1", "datacenter DC1", "the vCenter's root folder"):
        assert f"on {place}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_is_there_is_not_named(start_vcenter: Starts) -> None:
    lab = start_vcenter(denied=["Datastore.Browse"])
    with pytest.raises(PermissionMissing) as caught:
        privileges.require(lab.client, wanted(lab))
    assert caught.value.privilege == "Datastore.Browse, Datastore.Browse"
    assert "CreateSnapshot" not in str(caught.value)


def test_a_datastore_that_cannot_be_seen_is_asked_about_all_the_same(start_vcenter: Starts) -> None:
    hidden = {"name": "ds1", "denied": ["System.Read", *privileges.FOLDER]}
    lab = start_vcenter(datacenter={"datastores": [hidden]})
    with pytest.raises(
        PermissionMissing, match=r"lacks Datastore.Browse, Datastore.FileManagement on datastore ds1: add"
    ):
        privileges.require(lab.client, wanted(lab))


def test_a_datastore_that_the_vm_does_not_use_is_no_empty_list(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    with pytest.raises(Gone, match="its disks are on ds1"):
        privileges.on_files(lab.client, found.vm.moref, found.vm.datacenter, "vsan1")


def test_a_datacenter_that_cannot_be_seen_is_missing_its_privileges(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with pytest.raises(PermissionMissing, match="cannot see datacenter DC2: give its role there Datastore"):
        privileges.on_files(lab.client, lab.discover().vm.moref, "DC2", "ds1")


def test_a_snapshot_does_not_hide_which_datastore_it_is(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    before = wanted(lab)
    lab.snapshot(lab.discover())
    assert wanted(lab) == before


def test_who_has_them_all_is_told_how_many(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    count = len(privileges.BACKUP) + 2 * len(privileges.FOLDER) + len(privileges.VDDK)
    assert f"has the {count} privileges" in privileges.require(lab.client, wanted(lab))
