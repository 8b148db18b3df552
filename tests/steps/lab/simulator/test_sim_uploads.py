"""What comes in under an import lease: streams and files, what is refused, what the manifest says of it."""

from __future__ import annotations

import hashlib
import http.client
import struct
import zlib
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import KiB, MiB
from tests.eventually import eventually
from tests.lease_client import STATE, import_vapp, post, ready, send, streamed, through_end_marker, url_of
from tests.simulation import disk as spec_of_disk
from tests.simulation import machine
from tests.vm_specs import config_spec, controller, disk

FIRST, SECOND = "ParaVirtualSCSIController0:0", "ParaVirtualSCSIController0:1"
GRAIN = 64 * KiB


def two_disks(**more: Any) -> Any:
    return config_spec(deviceChange=[controller(), disk(0, 4 * MiB), disk(1, MiB)], **more)


def begun(client: Any, **more: Any) -> tuple[Any, Any]:
    lease = import_vapp(client, two_disks(**more))
    return lease, ready(lease)


def header(
    *, magic: bytes = b"KDMV", version: int = 3, sectors: int = 256, flags: int = 0x30001, algorithm: int = 1
) -> bytes:
    fields = (magic, version, flags, sectors, 128, 1, 1, 512, 0, 0xFFFFFFFFFFFFFFFF, 2, 0, b"\n \r\n", algorithm)
    return struct.pack("<4sIIQQQQIQQQB4sH433x", *fields) + b"# Disk DescriptorFile\n".ljust(512, b"\0")


def grain(sector: int, content: bytes = b"a" * GRAIN) -> bytes:
    packed = zlib.compress(content)
    made = struct.pack("<QI", sector, len(packed)) + packed
    return made + bytes(-len(made) % 512)


END = bytes(512)


@pytest.fixture
def content(client):
    """The disks of the VM `db` as streams, and their bytes."""
    files = [client.sim.disk_file("db", key) for key in (2000, 2001)]
    return [(streamed(file), file.read_bytes()) for file in files]


@pytest.mark.behaviour(41, "reported")
def test_disks_that_were_uploaded_are_equal_and_as_large_as_their_streams_say(client, content):
    """Cinder sends a dummy of 1 MiB in the spec."""
    lease, information = begun(client)
    for place, (stream, _) in zip((FIRST, SECOND), content, strict=True):
        assert post(client, url_of(information, place), stream) == (200, "")
    lease.HttpNfcLeaseComplete()
    vm = client.vm("DC1/vm/new")
    for key, (_, plain) in zip(sorted(client.disks(vm.config)), content, strict=True):
        assert client.disks(vm.config)[key].capacityInBytes == len(plain)  # the spec said 1 MiB of the second
        assert client.sim.disk_file("new", key).read_bytes() == plain
        assert client.sim.read("new", key, 0, len(plain)) == plain
    client.wait(vm.PowerOnVM_Task())


def test_an_uploaded_disk_is_as_sparse_as_it_came(simulate):
    client = simulate(
        machine(disks=[spec_of_disk(2000, size="64 GiB", content={"pieces": [{"offset": "1 GiB", "length": 512}]})])
    )
    plain = client.sim.disk_file("db", 2000)
    _, information = begun(client)
    assert post(client, url_of(information, FIRST), streamed(plain))[0] == 200
    uploaded = client.sim.disk_file("new", 2000)
    assert uploaded.stat().st_size == 64 * 1024 * MiB
    assert uploaded.stat().st_blocks * 512 <= MiB
    assert client.sim.read("new", 2000, 1024 * MiB, MiB) == client.sim.read("db", 2000, 1024 * MiB, MiB)


@pytest.mark.behaviour(41, "reported")
@pytest.mark.parametrize(
    ("stream", "text"),
    [
        pytest.param(b"QFI\xfb" + bytes(2000), "invalid sparse VMDK header", id="another format"),
        pytest.param(header(version=1) + END, "sparse VMDK version too old", id="version 1"),
        pytest.param(header(flags=3) + END, "not streamOptimized", id="not compressed"),
        pytest.param(header(), "ended before its end marker", id="an empty disk without the end marker"),
        pytest.param(header() + grain(0), "ended before its end marker", id="no end marker"),
        pytest.param(header() + grain(0)[:-600], "ended before its end marker", id="cut in a grain"),
        pytest.param(header() + grain(128) + grain(0) + END, "sector 0 is out of order", id="grains that descend"),
        pytest.param(header() + grain(0) + grain(0) + END, "sector 0 is out of order", id="a grain twice"),
        pytest.param(header() + grain(256) + END, "sector 256 is out of order", id="a grain behind the end"),
        pytest.param(header() + grain(0, b"a" * 512) + END, "has not 65536 bytes", id="a short grain"),
        pytest.param(header() + grain(0).replace(b"\x78\x9c", b"\x00\x00") + END, "does not decompress", id="not zlib"),
    ],
)
def test_a_stream_that_a_host_does_not_take_is_500_with_its_text(client, stream, text):
    """pyvmomi-community-samples issue 398, cot issue 65, qemu issue 1357; the other texts are ours."""
    lease, information = begun(client)
    status, said = post(client, url_of(information, FIRST), stream)
    assert (status, text in said) == (500, True), said
    assert lease.HttpNfcLeaseGetManifest() == []
    assert post(client, url_of(information, FIRST), header() + END)[0] == 200


def test_the_last_grain_ends_with_the_disk_or_is_whole(client):
    for length in (512, GRAIN):
        lease, information = begun(client)
        stream = header(sectors=129) + grain(0) + grain(128, b"b" * length) + END
        assert post(client, url_of(information, FIRST), stream)[0] == 200
        assert client.sim.disk_file("new", 2000).read_bytes() == b"a" * GRAIN + b"b" * 512
        lease.HttpNfcLeaseAbort()


@pytest.mark.behaviour(41, "assumed")
@pytest.mark.parametrize(("taken", "status"), [(False, 411), (True, 200)])
def test_a_body_without_its_length_is_refused_or_taken_by_switch(simulate, taken, status):
    client = simulate(chunked_uploads=taken)
    _, information = begun(client)
    assert send(client, url_of(information, FIRST), "POST", iter([header(), END]))[0] == status


@pytest.mark.behaviour(42, "documented")
def test_the_manifest_says_what_came_in(client, content):
    """Its checksum covers the stream up to its end marker: seen at an ESXi 8.0.1 (KidCarmi/Culvert, docs of its
    ESXi lab), where qemu-img's stream has zeroes behind that."""
    lease, information = begun(client)
    first, second = (url_of(information, place) for place in (FIRST, SECOND))
    lease.HttpNfcLeaseSetManifestChecksumType([vim.KeyValue(key=second.key, value="sha256")])
    sent = [through_end_marker(stream) for stream, _ in content]
    assert [len(one) < len(stream) for one, (stream, _) in zip(sent, content, strict=True)] == [True, True]
    for url, (stream, _) in zip((first, second), content, strict=True):
        post(client, url, stream)
    found = {entry.key: entry for entry in lease.HttpNfcLeaseGetManifest()}
    assert set(found) == {first.key, second.key}
    one, two = found[first.key], found[second.key]
    assert (one.size, one.sha1, one.checksumType) == (len(sent[0]), hashlib.sha1(sent[0]).hexdigest(), "sha1")
    assert (two.size, two.checksum, two.checksumType) == (len(sent[1]), hashlib.sha256(sent[1]).hexdigest(), "sha256")
    assert (one.capacity, two.capacity, one.disk) == (4 * MiB, MiB + 512, True)
    assert 0 < one.populatedSize <= 4 * MiB


@pytest.mark.behaviour(42, "documented")
@pytest.mark.parametrize(("kind", "shorter"), [("changed", 0), ("short", 512)])
def test_the_manifest_alone_gives_away_an_upload_that_was_stored_otherwise(client, content, kind, shorter):
    """govmomi compares it for that (ovf/importer)."""
    lease, information = begun(client)
    client.sim.fault("upload-wrong", kind=kind)
    stream, plain = content[0]
    assert post(client, url_of(information, FIRST), stream) == (200, "")
    (entry,) = lease.HttpNfcLeaseGetManifest()
    sent = through_end_marker(stream)
    assert entry.size == len(sent) - shorter
    assert entry.sha1 != hashlib.sha1(sent).hexdigest()
    assert client.sim.disk_file("new", 2000).read_bytes() != plain


@pytest.mark.parametrize("pair", [("/vm-1/x", "sha256"), (None, "md5")])
def test_a_checksum_is_of_a_known_kind_for_a_known_disk(client, pair):
    lease, information = begun(client)
    key, kind = pair
    with pytest.raises(vmodl.fault.InvalidArgument, match="not correct"):
        lease.HttpNfcLeaseSetManifestChecksumType([vim.KeyValue(key=key or information.deviceUrl[0].key, value=kind)])


@pytest.mark.behaviour(44, "reported")
def test_a_file_that_is_created_comes_by_put_and_a_disk_by_post(client):
    """pyvmomi-community-samples issue 540; the PUT as govmomi and ovftool send it."""
    setting = vim.option.OptionValue(key="nvram", value="ovf:/file/file2")
    lease, information = begun(client, extraConfig=[setting])
    nvram = url_of(information, "nvram")
    assert (nvram.disk, nvram.key) == (False, f"/{information.entity._moId}/nvram")
    assert post(client, nvram, b"MRVN")[0] == 405
    assert send(client, url_of(information, FIRST), "PUT", header() + END)[0] == 405
    assert send(client, nvram, "PUT", b"MRVN efi", Overwrite="t")[0] == 201
    (entry,) = lease.HttpNfcLeaseGetManifest()
    assert (entry.key, entry.size, entry.sha1) == (nvram.key, 8, hashlib.sha1(b"MRVN efi").hexdigest())
    lease.HttpNfcLeaseComplete()
    (file,) = [one for one in client.vm("DC1/vm/new").layoutEx.file if one.type == "nvram"]
    assert file.name == "[ds1] new/new.nvram"
    assert (client.sim.directory / "datastores/ds1/new/new.nvram").read_bytes() == b"MRVN efi"


@pytest.mark.behaviour(44, "assumed")
def test_a_file_that_is_there_is_replaced_only_when_that_is_asked_for(client):
    setting = vim.option.OptionValue(key="nvram", value="ovf:/file/file2")
    _, information = begun(client, extraConfig=[setting])
    nvram = url_of(information, "nvram")
    assert send(client, nvram, "PUT", b"one")[0] == 201
    assert send(client, nvram, "PUT", b"two")[0] == 412
    assert send(client, nvram, "PUT", b"two", Overwrite="t")[0] == 200


def test_a_url_is_good_for_its_lease_alone(client):
    lease, information = begun(client)
    url = url_of(information, FIRST)
    wrong = vim.HttpNfcLease.DeviceUrl(url=url.url.replace("disk-", "disk-9"), sslThumbprint=url.sslThumbprint)
    assert post(client, wrong, header() + END)[0] == 404
    lease.HttpNfcLeaseComplete()
    assert post(client, url, header() + END)[0] == 404


def test_an_upload_may_be_repeated_whole(client, content):
    _, information = begun(client)
    url = url_of(information, SECOND)
    assert post(client, url, content[0][0])[0] == 200
    assert post(client, url, content[1][0])[0] == 200
    assert client.sim.disk_file("new", 2001).read_bytes() == content[1][1]


def test_an_upload_that_breaks_off_leaves_the_lease_as_it_was(client, content):
    lease, information = begun(client)
    client.sim.fault("upload-cut", after=1000)
    with pytest.raises((OSError, http.client.HTTPException)):
        post(client, url_of(information, FIRST), content[0][0])
    assert (lease.state, lease.HttpNfcLeaseGetManifest()) == (STATE.ready, [])


def test_a_lease_that_times_out_breaks_off_its_upload(client, content):
    lease, information = begun(client)
    client.sim.fault("upload-timeout", after=1000)
    with pytest.raises((OSError, http.client.HTTPException)):
        post(client, url_of(information, FIRST), content[0][0])
    assert isinstance(lease.error, vim.fault.Timedout)
    assert client.content.searchIndex.FindByInventoryPath("DC1/vm/new") is None


def test_a_host_that_is_busy_says_503(client):
    _, information = begun(client)
    client.sim.fault("http-503", method="POST")
    url = url_of(information, FIRST)
    assert [post(client, url, header() + END)[0] for _ in range(2)] == [503, 200]


def test_a_slow_host_answers_in_the_end(client):
    _, information = begun(client)
    client.sim.fault("upload-slow", seconds=0.1)
    assert post(client, url_of(information, FIRST), header() + END)[0] == 200
    assert client.sim.armed == {}


@pytest.mark.parametrize("natural", [pytest.param(True, id="full datastore"), pytest.param(False, id="by fault")])
def test_a_disk_for_which_there_is_no_room_ends_the_lease(simulate, tmp_path, natural):
    stores = [{"name": "ds1", **({"free": "1 MiB"} if natural else {})}]
    client = simulate(datacenters=[{"name": "DC1", "datastores": stores, "vms": [machine()]}])
    stream = streamed(client.sim.disk_file("db", 2000))
    lease, information = begun(client)
    if not natural:
        client.sim.fault("upload-no-space", after=MiB)
    status, text = post(client, url_of(information, FIRST), stream)
    assert (status, "ds1" in text) == (500, True)
    assert (lease.error.file, lease.error.datastore) == ("[ds1] new/new.vmdk", "ds1")
    assert eventually(lambda: not (tmp_path / "datastores/ds1/new").exists())


def test_the_room_of_a_datastore_is_shared_by_the_disks_of_a_lease(simulate):
    stores = [{"name": "ds1", "free": "3 MiB"}]
    client = simulate(datacenters=[{"name": "DC1", "datastores": stores, "vms": [machine()]}])
    _, information = begun(client)
    stream = header(sectors=2 * MiB // 512) + b"".join(grain(128 * number) for number in range(32)) + END
    url, other = (url_of(information, place) for place in (FIRST, SECOND))
    assert [post(client, one, stream)[0] for one in (url, url, other)] == [200, 200, 500]


def test_bytes_that_came_in_are_counted(client, content):
    _, information = begun(client)
    url = url_of(information, FIRST)
    post(client, url, content[0][0])
    assert client.sim.received[url.key] == len(content[0][0])
    assert client.sim.calls["POST /nfc"] == 1
