"""Files of a datastore, as its browser tells of them."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from tests.simulation import machine

Browser = vim.host.DatastoreBrowser


@pytest.fixture
def store(client):
    return client.vm().datastore[0]


def names(result):
    return [file.path for file in result.file]


def search(client, store, path, **spec):
    return client.wait(store.browser.SearchDatastore_Task(path, Browser.SearchSpec(**spec)))


def test_every_file_of_a_directory_is_told(client, store):
    found = search(client, store, "[ds1] db")
    assert (found.folderPath, found.datastore) == ("[ds1] db/", store)
    assert {"db.vmdk", "db-flat.vmdk", "db_1.vmdk", "db.vmx"} <= set(names(found))
    assert names(search(client, store, "[ds1] db", matchPattern=["*.VMX"], searchCaseInsensitive=True)) == ["db.vmx"]
    assert names(search(client, store, "[ds1] db", matchPattern=["*.VMX"])) == []
    assert names(search(client, store, "[ds1]")) == ["db"]


def test_a_query_for_disks_tells_their_size_and_not_their_extents(client, store):
    details = Browser.VmDiskQuery.Details(diskType=False, capacityKb=True, hardwareVersion=False, diskExtents=True)
    flags = Browser.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=False)
    found = search(client, store, "[ds1] db", query=[Browser.VmDiskQuery(details=details)], details=flags)
    assert names(found) == ["db.vmdk", "db_1.vmdk"]
    first = found.file[0]
    assert isinstance(first, Browser.VmDiskInfo)
    assert (first.capacityKb, first.diskExtents) == (4096, ["db-flat.vmdk"])
    assert first.fileSize > 0 and first.modification is not None


def test_the_folders_below_are_searched_too(simulate):
    client = simulate(machine("a"), machine("b"))
    store = client.vm("DC1/vm/a").datastore[0]
    found = client.wait(
        store.browser.SearchDatastoreSubFolders_Task("[ds1]", Browser.SearchSpec(matchPattern=["*.vmx"]))
    )
    assert {one.folderPath: names(one) for one in found} == {"[ds1]": [], "[ds1] a/": ["a.vmx"], "[ds1] b/": ["b.vmx"]}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("[ds1] nowhere", vim.fault.FileNotFound, id="no such folder"),
        pytest.param("[ds1] ../ds1/db", vim.fault.FileNotFound, id="outside"),
        pytest.param("[nfs1] db", vim.fault.InvalidDatastore, id="another datastore"),
        pytest.param("ds1/db", vim.fault.InvalidDatastorePath, id="no datastore path"),
    ],
)
def test_what_is_not_there_fails_in_the_task(client, store, path, kind):
    with pytest.raises(kind):
        search(client, store, path)


def test_it_takes_the_privilege_to_browse(simulate):
    client = simulate(denied=["Datastore.Browse"])
    with pytest.raises(vim.fault.NoPermission) as caught:
        client.vm().datastore[0].browser.SearchDatastore_Task("[ds1] db", None)
    assert caught.value.privilegeId == "Datastore.Browse"
