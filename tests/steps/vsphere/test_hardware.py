"""Disks, networks and what a snapshot does not cover, from the devices a vCenter gives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pyVmomi import vim as api

from runner.base.units import MiB
from steps.vsphere import hardware, machine, snapshots
from steps.vsphere.errors import SnapshotRefused, VSphereError
from steps.vsphere.find import find
from steps.vsphere.machine import Machine
from tests.vcenter import Lab, Starts, vcenters
from tests.vcenter import disk as make_disk
from tests.vcenter import machine as vm

start_vcenter = vcenters

ODD = vm(
    "odd hardware",
    controllers=[
        {"key": 1000, "kind": "lsilogic-sas", "bus": 0},
        {"key": 1001, "kind": "pvscsi", "bus": 1},
        {"key": 15000, "kind": "sata"},
        {"key": 31000, "kind": "nvme"},
        {"key": 200, "kind": "ide"},
    ],
    disks=[
        {"key": 32000, "controller": 31000, "unit": 0, "size": "2 MiB + 1 KiB", "thin": False},
        {"key": 2016, "controller": 1001, "unit": 0, "size": "6 GiB"},
        {"key": 2001, "controller": 1000, "unit": 1, "size": "1 MiB + 512 B"},
        {"key": 16000, "controller": 15000, "unit": 0, "size": "3 MiB"},
        {"key": 2000, "controller": 1000, "unit": 0, "size": "8 MiB", "datastore": "vsan1"},
        {"key": 3001, "controller": 200, "unit": 1, "size": "1 MiB"},
    ],
    networks=[
        {"network": "VM Network", "mac": "00:50:56:9a:10:02"},
        {"network": "VM Network", "mac": "00:50:56:9a:10:03", "kind": "e1000e"},
    ],
)


def described(lab: Lab, name: str) -> Machine:
    return machine.describe(lab.client, find(lab.client, name))


def test_disks_have_the_keys_the_server_gives_in_key_order(start_vcenter: Starts) -> None:
    found = described(start_vcenter(ODD), "odd hardware").disks
    assert [(disk.key, disk.controller.kind, disk.controller.bus, disk.unit) for disk in found] == [
        (2000, "lsilogic-sas", 0, 0),
        (2001, "lsilogic-sas", 0, 1),
        (2016, "pvscsi", 1, 0),
        (3001, "ide", 0, 1),
        (16000, "sata", 0, 0),
        (32000, "nvme", 0, 0),
    ]
    assert len({disk.backing_uuid for disk in found}) == len(found)


def test_capacities_are_to_the_byte(start_vcenter: Starts) -> None:
    sizes = {disk.key: disk.capacity for disk in described(start_vcenter(ODD), "odd hardware").disks}
    assert (sizes[2001], sizes[32000], sizes[2016]) == ((1 << 20) + 512, (2 << 20) + 1024, 6 << 30)


def test_each_disk_names_its_own_datastore_and_thickness(start_vcenter: Starts) -> None:
    found = {disk.key: disk for disk in described(start_vcenter(ODD), "odd hardware").disks}
    assert (found[2000].datastore, found[2001].datastore) == ("vsan1", "ds1")
    assert (found[2001].thin, found[32000].thin) == (True, False)


def test_the_vm_is_described_whole(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("pgtest1", firmware="efi", cpus=3, memory="4 GiB", networks=ODD["networks"]))
    found = described(lab, "pgtest1").vm
    assert found.vcenter == "prod"
    assert found.vcenter_uuid == lab.client.uuid
    assert (found.firmware, found.cpus, found.memory) == ("efi", 3, 4 << 30)
    assert found.hardware_version == "vmx-19"
    assert found.vmx_file == "[ds1] pgtest1/pgtest1.vmx"
    assert [(card.adapter, card.name, card.mac) for card in found.networks] == [
        ("vmxnet3", "VM Network", "00:50:56:9a:10:02"),
        ("e1000e", "VM Network", "00:50:56:9a:10:03"),
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"mode": "independent_persistent"}, "independent (independent_persistent)", id="independent"),
        pytest.param({"mode": "independent_nonpersistent"}, "independent (independent_nonpersistent)", id="volatile"),
        pytest.param({"physical": True}, "physical RDM", id="physical-rdm"),
        pytest.param({"sharing": "multi-writer"}, "shared between VMs (multi-writer)", id="multi-writer"),
    ],
)
def test_a_disk_that_no_snapshot_covers_is_named_with_the_reason(
    start_vcenter: Starts, change: dict[str, Any], why: str
) -> None:
    lab = start_vcenter(vm(disks=[make_disk(), make_disk(2005, 5, **change)]))
    found = described(lab, "pgtest1")
    assert [disk.key for disk in found.disks] == [2000]
    assert [(disk.key, disk.why, disk.capacity) for disk in found.uncovered] == [(2005, why, 1 << 20)]


def test_disks_on_a_shared_bus_are_not_covered(start_vcenter: Starts) -> None:
    shared = {"key": 1001, "kind": "lsilogic-sas", "bus": 1, "sharing": "physical"}
    lab = start_vcenter(
        vm(
            controllers=[{"key": 1000, "kind": "pvscsi"}, shared],
            disks=[make_disk(), make_disk(2016, 0) | {"controller": 1001}],
        )
    )
    found = described(lab, "pgtest1")
    assert [(disk.key, disk.why) for disk in found.uncovered] == [(2016, "shared bus (physicalSharing)")]


def test_identity_survives_a_snapshot_and_names_the_base_datastore(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    before = described(lab, "pgtest1")
    snapshots.create(lab.client, before.vm.moref, "x", "", quiesce=False)
    lab.simulator.write("pgtest1", 2000, 0, b"new")
    assert described(lab, "pgtest1") == before
    assert machine.delta_files(lab.client, before.vm.moref) == ("[ds1] pgtest1/pgtest1-000001.vmdk",)


def test_change_tracking_is_the_vms_setting_and_the_backings_ability(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("on", change_tracking=True), vm("off"))
    assert described(lab, "on").change_tracking
    assert [disk.change_tracking for disk in described(lab, "on").disks] == [True]
    assert [disk.change_tracking for disk in described(lab, "off").disks] == [False]


@pytest.mark.parametrize(
    ("backing", "tracking", "why"),
    [
        pytest.param({}, True, "missing", id="on-and-yet-none"),
        pytest.param({}, False, "off", id="off"),
        pytest.param({"changeId": "52 8a/2"}, True, "", id="tracked"),
        pytest.param({}, None, "", id="no-snapshot-yet"),
    ],
)
def test_why_a_frozen_disk_has_no_change_id(backing: dict[str, str], tracking: bool | None, why: str) -> None:
    flat: Any = api.vm.device.VirtualDisk.FlatVer2BackingInfo
    assert (
        hardware.frozen(frozen(flat(fileName="[ds1] a.vmdk", uuid="6000", **backing)), {}, tracking=tracking).untracked
        == why
    )


def test_a_disk_that_vsphere_cannot_track_is_told_apart() -> None:
    memory: Any = api.vm.device.VirtualDisk.LocalPMemBackingInfo
    disk_ = frozen(memory(fileName="[ds1] a.vmdk", uuid="6000"))
    assert hardware.frozen(disk_, {}, tracking=True).untracked == "never"


def frozen(backing: Any) -> Any:
    made: Any = api.vm.device.VirtualDisk
    return made(key=2000, capacityInBytes=MiB, backing=backing)


def test_a_template_cannot_be_snapshotted_and_the_sentence_says_what_to_do(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm("golden", template=True, powered_on=False))
    with pytest.raises(SnapshotRefused, match="no snapshot can be taken of golden: it is a template"):
        machine.refuse_unless_ready(lab.client, find(lab.client, "golden"))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param({"connection": "inaccessible"}, "it is inaccessible in vCenter; bring its host", id="connection"),
        pytest.param({"question": "Was it moved or copied?"}, "an answer in vSphere: Was it moved", id="question"),
        pytest.param({"snapshots": "disabled"}, "snapshots are switched off for it; allow them", id="disabled"),
        pytest.param({"snapshots": "locked"}, "its snapshots are locked; unlock them", id="locked"),
        pytest.param(
            {"fault_tolerance": "primary"}, "protected by fault tolerance, which excludes", id="fault-tolerance"
        ),
        pytest.param({"consolidation_needed": True}, "its disks need consolidation", id="consolidation"),
    ],
)
def test_what_keeps_a_vm_from_being_snapshotted_is_said_before_it_is_tried(
    start_vcenter: Starts, state: dict[str, object], why: str
) -> None:
    lab = start_vcenter(vm("odd", **state), vm("plain"))
    with pytest.raises(SnapshotRefused, match=f"no snapshot can be taken of odd: .*{re.escape(why)}"):
        machine.refuse_unless_ready(lab.client, find(lab.client, "odd"))
    machine.refuse_unless_ready(lab.client, find(lab.client, "plain"))


def test_identity_is_none_for_a_vm_that_is_gone(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    moref = find(lab.client, "pgtest1")
    known = machine.identity(lab.client, moref)
    assert known is not None
    assert known.instance_uuid == described(lab, "pgtest1").vm.instance_uuid
    assert machine.identity(lab.client, "vm-9999") is None


def test_a_vm_without_a_readable_configuration_is_a_sentence(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The simulator has no VM whose files are out of reach, so the answer is cut down to what a vCenter then gives.
    lab = start_vcenter()
    moref = find(lab.client, "pgtest1")
    answer = {"name": "pgtest1", "runtime.connectionState": "inaccessible"}
    monkeypatch.setattr(machine, "read", lambda *_: answer)
    with pytest.raises(VSphereError, match="connection state inaccessible"):
        machine.describe(lab.client, moref)
