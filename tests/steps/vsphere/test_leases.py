"""What a lease says is paired with disks, compared with what was sent, and read back."""

from __future__ import annotations

import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from steps.stream.reader import StreamReader
from steps.vsphere import nfc
from steps.vsphere.errors import NotReached, NotTrusted, Unreachable, VSphereError
from steps.vsphere.export_lease import exporting
from steps.vsphere.import_lease import Sent, difference, paired
from steps.vsphere.nfc import Device
from steps.vsphere.vm_spec import NewDevice, NewDisk, NewMachine
from steps.vsphere.vmomi import vim
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters

PLACES = {
    2000: "ParaVirtualSCSIController0:0",
    2001: "ParaVirtualSCSIController0:1",
    2016: "ParaVirtualSCSIController1:0",
    16000: "VirtualAHCIController0:0",
    32000: "VirtualNVMEController0:0",
    3002: "VirtualIDEController1:0",
}
"""By saved key."""


def new_machine() -> NewMachine:
    controllers = {
        1000: ("ParaVirtualSCSIController", 0),
        1001: ("ParaVirtualSCSIController", 1),
        15000: ("VirtualAHCIController", 0),
        31000: ("VirtualNVMEController", 0),
    }
    on = {2000: (1000, 0), 2001: (1000, 1), 2016: (1001, 0), 16000: (15000, 0), 32000: (31000, 0), 3002: (201, 0)}
    return NewMachine(
        name="pgtest1",
        datacenter="DC1",
        folder="group-v3",
        pool="resgroup-8",
        datastore="ds1",
        disks=tuple(
            NewDisk(key=key, label=f"Hard disk {key}", capacity=MiB, controller=controller, unit=unit, datastore="ds1")
            for key, (controller, unit) in on.items()
        ),
        devices=tuple(
            NewDevice(key=key, type=kind, controller=100, properties={"busNumber": bus})
            for key, (kind, bus) in controllers.items()
        ),
        settings={},
    )


def device(place: str, **more: Any) -> Device:
    return Device(
        **{"key": f"/vm-17/{place}", "place": place, "url": f"https://esx1/nfc/52/{place}", "thumbprint": "", **more}
    )


def test_disks_are_paired_by_their_places_in_whatever_order_a_lease_names_them():
    devices = [device(place) for place in PLACES.values()]
    random.Random(1).shuffle(devices)
    for some in list(permutations(devices))[::97]:
        found = paired(new_machine(), some)
        assert {key: one.place for key, one in found.items()} == PLACES


@pytest.mark.parametrize(
    "places", [list(PLACES.values())[1:], [*PLACES.values(), PLACES[2000]], []], ids=["missing", "twice", "none"]
)
def test_a_lease_that_does_not_name_each_disk_once_is_refused(places: list[str]):
    with pytest.raises(
        VSphereError, match=r"takes Hard disk 2000 \(ParaVirtualSCSIController0:0\) in [02] places instead of one"
    ):
        paired(new_machine(), tuple(device(place) for place in places))


SENT = Sent(size=1000, sha1="a" * 40, sha256="b" * 64)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param({"size": 1000, "sha1": "A" * 40}, "", id="before-6.7"),
        pytest.param({"size": 1000, "sha1": "", "checksum": "B" * 64, "checksumType": "sha256"}, "", id="sha256"),
        pytest.param(
            {"size": 1000, "sha1": "", "checksum": "a" * 40, "checksumType": "sha1"}, "", id="sha1-as-checksum"
        ),
        pytest.param({"size": 1000, "sha1": ""}, "", id="size-alone"),
        pytest.param({"size": 999, "sha1": "a" * 40}, "it has 999 bytes of 1000", id="size"),
        pytest.param(
            {"size": 1000, "sha1": "c" * 40}, f"its SHA1 is {'c' * 40}, of what was sent {'a' * 40}", id="sha1"
        ),
        pytest.param(
            {"size": 1000, "sha1": "a" * 40, "checksum": "c" * 64, "checksumType": "sha256"},
            f"its SHA256 is {'c' * 64}, of what was sent {'b' * 64}",
            id="sha256-differs",
        ),
    ],
)
def test_what_a_host_says_that_it_got_is_compared_by_all_that_it_says(entry: dict[str, Any], why: str):
    assert difference(vim.HttpNfcLease.ManifestEntry(key="k", disk=True, **entry), SENT) == why


def test_a_ticket_is_in_no_message():
    assert "nfc" not in repr(device("ParaVirtualSCSIController0:0"))


@pytest.fixture
def lab(start_vcenter: Starts) -> Lab:
    disks = [disk(2000), disk(2001, 1, size="3 MiB")]
    return start_vcenter(machine(powered_on=False, disks=disks))


def fill(lab: Lab, key: int, at: int) -> None:
    lab.simulator.write("pgtest1", key, at, random.Random(key).randbytes(300_000))


def moref(lab: Lab) -> str:
    return lab.discover().vm.moref


def test_disks_are_read_through_an_export_lease_byte_by_byte(lab: Lab, tmp_path: Path):
    fill(lab, 2000, 0)
    fill(lab, 2001, 2 * MiB)
    with exporting(lab.client, moref(lab), "pgtest1") as lease:
        assert set(lease.places) == {PLACES[2000], PLACES[2001]}
        for key in (2001, 2000):
            with lease.reading(PLACES[key]) as read:
                reader = StreamReader(read, f"disk {key}")
                found = bytearray(reader.capacity)
                for offset, grain in reader.grains():
                    found[offset : offset + len(grain)] = grain
            assert found == lab.simulator.disk_file("pgtest1", key).read_bytes()
        lease.complete()
    with exporting(lab.client, moref(lab), "pgtest1"):
        pass  # the last one holds the VM no longer, nor does one that was left early
    with (
        exporting(lab.client, moref(lab), "pgtest1") as lease,
        pytest.raises(VSphereError, match="gives no disk at x, only "),
        lease.reading("x"),
    ):
        pass


def test_a_download_that_breaks_may_be_tried_again(lab: Lab):
    fill(lab, 2000, 0)
    lab.simulator.fault("http-cut", after=70_000)
    with (
        exporting(lab.client, moref(lab), "pgtest1") as lease,
        pytest.raises(Unreachable, match="broke") as broke,
        lease.reading(PLACES[2000]) as read,
    ):
        list(StreamReader(read, "disk").grains())
    assert broke.value.transient


def test_a_vm_that_runs_is_not_exported(start_vcenter: Starts):
    lab = start_vcenter(machine(powered_on=True))
    with pytest.raises(VSphereError), exporting(lab.client, moref(lab), "pgtest1"):
        pass


@pytest.mark.parametrize(
    ("told", "error", "why"),
    [
        pytest.param({"thumbprint": "AB:" * 19 + "AB"}, NotTrusted, "the lease says AB:AB:", id="another-certificate"),
        pytest.param({"thumbprint": ""}, Unreachable, "certificate", id="no-thumbprint-and-not-the-vcenter"),
        pytest.param(
            {"url": "https://127.0.0.1:1/nfc/52/disk-0.vmdk"}, NotReached, "cannot be reached", id="closed-port"
        ),
        pytest.param(
            {"url": "https://esx.invalid/nfc/52/disk-0.vmdk"}, NotReached, "cannot be reached", id="no-such-name"
        ),
    ],
)
def test_nothing_is_sent_to_a_host_that_is_not_the_one_of_the_lease(
    lab: Lab, told: dict[str, str], error: type[Exception], why: str
):
    with exporting(lab.client, moref(lab), "pgtest1") as lease:
        (first, *_) = lease._lease.devices
    with pytest.raises(error, match=why):
        nfc.connect(lab.client, Device(**{**first.__dict__, **told}))


def test_an_esxi_host_that_is_asked_itself_is_reached_as_it_was(start_vcenter: Starts):
    """Its urls have no host: ``https://*/ha-nfc/…``."""
    lab = start_vcenter(machine(powered_on=False), product="esxi", datacenter={"name": "ha-datacenter"})
    fill(lab, 2000, 0)
    with exporting(lab.client, moref(lab), "pgtest1") as lease:
        assert lease._lease.devices[0].url.startswith("https://*")
        with lease.reading(PLACES[2000]) as read:
            assert StreamReader(read, "disk").capacity == MiB
