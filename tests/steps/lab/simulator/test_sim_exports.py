"""Export leases: a VM's disks as streams that other programs read, with what the manifest says of them."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim

from runner.base.units import MiB
from tests.lease_client import STATE, connected, ready, send, url_of
from tests.simulation import disk, machine

FIRST, SECOND = "ParaVirtualSCSIController0:0", "ParaVirtualSCSIController0:1"


@pytest.fixture
def off(simulate):
    return simulate(machine(powered_on=False))


def unpacked(tmp_path: Any, stream: bytes) -> bytes:
    """By qemu-img, which also checks its tables."""
    packed, plain = tmp_path / "export.vmdk", tmp_path / "export.raw"
    packed.write_bytes(stream)
    subprocess.run(["qemu-img", "check", "-q", "-f", "vmdk", packed], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", packed, plain], check=True)
    return plain.read_bytes()


def test_qemu_img_reads_an_exported_disk_to_equal_bytes(off, tmp_path):
    information = ready(off.vm().ExportVm())
    for place, key in ((FIRST, 2000), (SECOND, 2001)):
        status, stream, headers = send(off, url_of(information, place), "GET")
        assert (status, headers["Transfer-Encoding"], headers["Content-Length"]) == (200, "chunked", None)
        assert unpacked(tmp_path, stream) == off.sim.disk_file("db", key).read_bytes()


def test_a_large_sparse_disk_has_a_small_stream_with_every_table(simulate, tmp_path):
    pieces = [{"offset": f"{at} MiB", "length": "1 KiB", "seed": at} for at in (0, 31, 32, 5000, 10239)]
    large = disk(2000, size="10 GiB + 512 B", content={"pieces": [*pieces, {"offset": -512, "length": 512}]})
    client = simulate(machine(powered_on=False, disks=[large]))
    _, stream, _ = send(client, url_of(ready(client.vm().ExportVm()), FIRST), "GET")
    assert len(stream) < MiB
    (tmp_path / "x.vmdk").write_bytes(stream)
    raw = client.sim.disk_file("db", 2000)
    subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", tmp_path / "x.vmdk", raw], check=True)


def test_what_is_exported_is_what_the_guest_sees_through_its_snapshots(off, tmp_path):
    off.sim.write("db", 2000, 0, b"before")
    off.snapshot(off.vm())
    off.sim.write("db", 2000, MiB, b"after!")
    _, stream, _ = send(off, url_of(ready(off.vm().ExportVm()), FIRST), "GET")
    plain = unpacked(tmp_path, stream)
    assert plain == off.sim.read("db", 2000, 0, 4 * MiB)
    assert (plain[:6], plain[MiB : MiB + 6]) == (b"before", b"after!")


def test_a_vm_that_runs_cannot_be_exported(client):
    with pytest.raises(vim.fault.InvalidPowerState):
        client.vm().ExportVm()


def test_an_export_takes_its_privilege(simulate):
    client = simulate(machine(powered_on=False), denied=["VApp.Export"])
    with pytest.raises(vim.fault.NoPermission):
        client.vm().ExportVm()


def test_the_manifest_is_of_what_went_out_with_the_nvram(off):
    lease = off.vm().ExportVm()
    information = ready(lease)
    assert {one.importKey for one in information.deviceUrl} == {f"/vm-16/{one}" for one in (FIRST, SECOND, "nvram")}
    sent = {}
    for url in information.deviceUrl:
        sent[url.key] = send(off, url, "GET")[1]
    for entry in lease.HttpNfcLeaseGetManifest():
        stream = sent.pop(entry.key)
        assert (entry.size, entry.sha1) == (len(stream), hashlib.sha1(stream).hexdigest())
    assert sent == {}


def test_an_export_holds_the_vm_until_it_ends_and_leaves_it_there(off):
    lease = off.vm().ExportVm()
    url = url_of(ready(lease), FIRST)
    with pytest.raises(vim.fault.TaskInProgress):
        off.vm().PowerOnVM_Task()
    with pytest.raises(vim.fault.TaskInProgress):
        off.vm().ExportVm()
    assert send(off, url, "POST", b"")[0] == 405
    lease.HttpNfcLeaseAbort()
    assert lease.state == STATE.error
    assert send(off, url, "GET")[0] == 404
    off.wait(off.vm().PowerOnVM_Task())


def test_a_download_breaks_off_when_its_lease_ends(simulate):
    large = disk(2000, size="64 MiB", content={"pattern": 1})  # more than sockets hold
    client = simulate(machine(powered_on=False, disks=[large]))
    lease = client.vm().ExportVm()
    url = url_of(ready(lease), FIRST)
    with connected(client, url) as connection:
        connection.request("GET", urlsplit(url.url).path)
        answer = connection.getresponse()
        answer.read(1)
        lease.HttpNfcLeaseAbort()
        with pytest.raises((OSError, http.client.HTTPException)):
            answer.read()


def test_an_export_breaks_off_where_a_fault_says(off):
    url = url_of(ready(off.vm().ExportVm()), FIRST)
    off.sim.fault("http-cut", after=1000)
    with pytest.raises((OSError, http.client.HTTPException)):
        send(off, url, "GET")
    assert send(off, url, "GET")[0] == 200
