"""/folder over HTTPS: logins, ranges, listings, what is refused, faults; through nbdkit too."""

from __future__ import annotations

import http.client
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.base.units import MiB, TiB
from steps.lab.simulator import Inventory
from tests.simulation import FLAT, disk, machine, running


@pytest.fixture
def off(simulate):
    """The VM is off, so that its flat files are free to read."""
    return simulate(machine(powered_on=False))


@pytest.mark.behaviour(27, "documented")
@pytest.mark.behaviour(27, "reported")
def test_a_flat_file_is_the_disk(off):
    status, headers, body = off.http(FLAT)
    assert (status, headers["Content-Length"], headers["Accept-Ranges"]) == (200, str(4 * MiB), "bytes")
    assert body == off.sim.disk_file("db", 2000).read_bytes()
    assert off.http(FLAT, "HEAD")[1]["Content-Length"] == str(4 * MiB)


@pytest.mark.behaviour(27, "reported")
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        pytest.param("bytes=0-0", 0, 1, id="first byte"),
        pytest.param("bytes=1000-70000", 1000, 70001, id="inside"),
        pytest.param("bytes=4194303-", 4194303, 4194304, id="open end"),
        pytest.param("bytes=4000000-9999999", 4000000, 4194304, id="cut at the end"),
        pytest.param("bytes=-512", 4193792, 4194304, id="last bytes"),
    ],
)
def test_ranges(off, asked, start, end):
    status, headers, body = off.http(FLAT, Range=asked)
    assert (status, headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/4194304")
    assert body == off.sim.read("db", 2000, start, end - start)


def test_a_range_outside_is_not_satisfiable(off):
    status, headers, _ = off.http(FLAT, Range="bytes=4194304-")
    assert (status, headers["Content-Range"]) == (416, "bytes */4194304")


@pytest.mark.behaviour(27, "reported")
def test_without_a_login_there_is_a_basic_challenge(off):
    status, headers, _ = off.http(FLAT, login=False)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="VMware HTTP server"')
    assert off.http(FLAT, login=False, Authorization="Basic eDp5")[0] == 401
    assert off.http(FLAT, login=False, Authorization="Basic ?")[0] == 401
    assert off.http(FLAT, login=False, Cookie='vmware_soap_session="0123"')[0] == 401


@pytest.mark.behaviour(27, "reported")
def test_the_cookie_of_either_door_opens_it(off):
    given_by_http = off.http(FLAT, "HEAD")[1]["Set-Cookie"].split(";")[0]
    given_by_soap = off.service._stub.cookie.split(";")[0]
    for cookie in (given_by_http, given_by_soap):
        status, headers, _ = off.http(FLAT, "HEAD", login=False, Cookie=cookie)
        assert (status, headers["Set-Cookie"]) == (200, None)


@pytest.mark.behaviour(28, "reported")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("dcPath=Nord%2FDC%201&dsName=ds%201", id="once"),
        pytest.param("dcPath=%2FNord%2FDC+1&dsName=ds+1", id="leading slash and plus"),
        pytest.param("dcPath=Nord%252FDC%25201&dsName=ds%25201", id="twice"),
    ],
)
def test_parameters_escaped_once_or_twice(tmp_path, query):
    vm = machine("my vm", datastore="ds 1", powered_on=False)
    value = {"datacenters": [{"name": "DC 1", "folder": "Nord", "datastores": [{"name": "ds 1"}], "vms": [vm]}]}
    with running(Inventory.from_json_value(value), tmp_path) as client:
        status, _, body = client.http(f"/folder/my%20vm/my%20vm-flat.vmdk?{query}", Range="bytes=0-99")
        assert (status, body) == (206, client.sim.read("my vm", 2000, 0, 100))


@pytest.mark.behaviour(28, "reported")
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/folder/db/nothing-flat.vmdk?dcPath=DC1&dsName=ds1", id="file"),
        pytest.param("/folder/db/db-flat.vmdk?dcPath=DC1&dsName=ds9", id="datastore"),
        pytest.param("/folder/db/db-flat.vmdk?dcPath=DC9&dsName=ds1", id="datacenter"),
        pytest.param("/folder/db/db-flat.vmdk", id="no parameters"),
        pytest.param("/folder/../ds1/db/db-flat.vmdk?dcPath=DC1&dsName=nfs1", id="dots"),
        pytest.param("/folder/%2e%2e/ds1/db/db-flat.vmdk?dcPath=DC1&dsName=nfs1", id="escaped dots"),
        pytest.param("/elsewhere", id="another place"),
    ],
)
def test_what_is_not_there_is_404(off, target):
    assert off.http(target)[0] == 404


@pytest.mark.behaviour(29, "reported")
def test_the_file_a_running_vm_writes_is_refused_until_a_snapshot_froze_it(client):
    assert client.http(FLAT)[0] == 500
    vm = client.vm()
    taken = client.snapshot(vm)
    frozen = client.sim.disk_file("db", 2000).read_bytes()
    client.sim.write("db", 2000, 0, b"into the delta")
    assert client.http(FLAT)[2] == frozen
    assert client.http(FLAT.replace("db-flat", "db-000001-flat"))[0] == 404
    assert client.http(FLAT.replace("db-flat", "db-000001-delta"))[0] == 500
    client.wait(taken.RemoveSnapshot_Task(False))
    assert client.http(FLAT)[0] == 500


@pytest.mark.behaviour(29, "assumed")
def test_the_status_for_a_locked_file_is_the_inventorys(simulate):
    assert simulate(locked_file_status=423).http(FLAT)[0] == 423


@pytest.mark.behaviour(28, "reported")
@pytest.mark.parametrize("store", ["vsan1", "vvol1"])
def test_vsan_and_vvol_have_no_flat_files(simulate, store):
    client = simulate(machine(powered_on=False, disks=[disk(2000, datastore=store), disk(2001, 1)]))
    assert client.http(f"/folder/db/db-flat.vmdk?dcPath=DC1&dsName={store}")[0] == 404
    assert client.http(f"/folder/db/db.vmdk?dcPath=DC1&dsName={store}")[0] == 200


@pytest.mark.behaviour(27, "documented")
def test_listings(client):
    assert b'<a href="/folder?dcPath=DC1">DC1</a>' in client.http("/folder")[2]
    assert b"dsName=nfs1" in client.http("/folder?dcPath=DC1")[2]
    assert b'<a href="/folder/db?dcPath=DC1&amp;dsName=ds1">db</a>' in client.http("/folder?dcPath=DC1&dsName=ds1")[2]
    assert b"db-flat.vmdk" in client.http("/folder/db?dcPath=DC1&dsName=ds1")[2]


def test_the_nvram_file_is_where_the_layout_says(client):
    names = [one.name for one in client.vm().layoutEx.file if one.type == "nvram"]
    assert names == ["[ds1] db/db.nvram"]
    status, _, body = client.http("/folder/db/db.nvram?dcPath=DC1&dsName=ds1")
    assert (status, len(body)) == (200, 8684)


@pytest.mark.behaviour(27, "documented")
def test_put_and_delete(client):
    target = "/folder/db/db.nvram.new?dcPath=DC1&dsName=ds1"
    assert client.http(target, "PUT", b"variables")[0] == 201
    assert client.http(target)[2] == b"variables"
    assert client.http(target, "PUT", b"other variables")[0] == 200
    assert client.http(target, "DELETE")[0] == 204
    assert client.http(target, "DELETE")[0] == 404
    assert client.http("/folder/nowhere/x?dcPath=DC1&dsName=ds1", "PUT", b"x")[0] == 405
    assert client.http(FLAT, "PUT", b"x")[0] == 500
    assert not list(client.sim.directory.rglob("*.partial"))


def test_armed_statuses_hit_as_often_as_told(off):
    off.sim.fault("http-503", 2)
    off.sim.fault("http-404", method="HEAD")
    assert [off.http(FLAT)[0] for _ in range(3)] == [503, 503, 200]
    assert [off.http(FLAT, "HEAD")[0] for _ in range(2)] == [404, 200]
    off.sim.fault("http-401")
    assert [off.http(FLAT)[0] for _ in range(2)] == [401, 200]
    assert off.sim.armed == {}


def test_a_cut_answer_ends_in_the_middle(off):
    off.sim.fault("http-cut", after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        off.http(FLAT, Range="bytes=0-99999")
    assert caught.value.partial == off.sim.read("db", 2000, 0, 1000)
    assert len(off.http(FLAT, Range="bytes=0-99999")[2]) == 100000


def test_requests_are_counted(off):
    off.http(FLAT)
    off.http(FLAT, "HEAD")
    assert (off.sim.calls["GET /folder"], off.sim.calls["HEAD /folder"]) == (1, 1)


def test_the_bytes_of_a_disk_that_were_sent_are_counted(off):
    off.http(FLAT, "HEAD")
    off.http(FLAT, Range="bytes=512-1535")
    off.http(FLAT, Range="bytes=0-99999")
    assert off.sim.served == {str(off.sim.disk_file("db", 2000)): 1024 + 100000}


def test_a_disk_beyond_what_the_file_system_takes(simulate):
    pieces = [{"offset": 0, "length": 512}, {"offset": "8 TiB", "length": 512}, {"offset": -512, "length": 512}]
    edge = {"offset": 8 * TiB - 256, "length": 512, "seed": 5}
    client = simulate(
        machine(disks=[disk(2000, size="64 TiB", content={"pieces": [*pieces, edge]})], change_tracking=True)
    )
    vm = client.vm()
    taken = client.snapshot(vm)
    assert client.disks(taken.config)[2000].capacityInBytes == 64 * TiB
    assert client.http(FLAT, "HEAD")[1]["Content-Length"] == str(64 * TiB)
    for start in (0, 8 * TiB - 256, 64 * TiB - 512):
        _, _, body = client.http(FLAT, Range=f"bytes={start}-{start + 511}")
        assert (any(body), body) == (True, client.sim.read("db", 2000, start, 512))
    client.sim.write("db", 2000, 8 * TiB - 1, b"xy")
    allocated = vm.QueryChangedDiskAreas(taken, 2000, 0, "*").changedArea
    assert (allocated[0].start, len(allocated) in (3, 4)) == (0, True)
    client.wait(taken.RemoveSnapshot_Task(False))
    assert client.sim.read("db", 2000, 8 * TiB - 1, 2) == b"xy"


def test_nbdkit_reads_it(off, tmp_path):
    """The reader of the real job: nbdkit's curl plugin with a cookie and a verified certificate."""
    cookie = off.service._stub.cookie.split(";")[0]
    (tmp_path / "cookie").write_text(cookie)
    url = f"https://127.0.0.1:{off.sim.port}{FLAT}"
    out = tmp_path / "copy.raw"
    login = [f"cookie-script=cat {tmp_path}/cookie", "cookie-script-renew=60"]
    source = ["curl", f"url={url}", f"cainfo={off.sim.ca_path}", *login]
    command = ["nbdkit", "-r", "-U", "-", *source, "--run", f'nbdcopy "$uri" {out}']
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert out.read_bytes() == off.sim.disk_file("db", 2000).read_bytes()


def test_many_readers_at_once(off):
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda number: off.http(FLAT, Range=f"bytes={number * 4096}-")[2], range(32)))
    whole = off.sim.disk_file("db", 2000).read_bytes()
    assert all(body == whole[number * 4096 :] for number, body in enumerate(bodies))


@pytest.mark.behaviour(27, "reported")
@pytest.mark.parametrize("privilege", ["Datastore.Browse", "Datastore.FileManagement"])
def test_an_account_without_the_rights_is_answered_as_one_that_is_not_known(simulate, privilege):
    client = simulate(machine(powered_on=False), denied=[privilege])
    assert client.http(FLAT)[0] == 401
    assert client.http("/folder?dcPath=DC1")[0] == 401
    assert client.http(FLAT.replace("db-flat.vmdk", "new"), "PUT", b"x")[0] == 401


def test_rights_may_lack_on_one_datastore_alone(tmp_path):
    stores = [{"name": "ds1", "denied": ["Datastore.Browse"]}, {"name": "nfs1"}]
    value = {"datacenters": [{"name": "DC1", "datastores": stores, "vms": [machine(powered_on=False)]}]}
    with running(Inventory.from_json_value(value), tmp_path) as client:
        assert client.http(FLAT)[0] == 401
        assert client.http("/folder?dcPath=DC1&dsName=nfs1")[0] == 200
