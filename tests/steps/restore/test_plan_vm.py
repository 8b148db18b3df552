"""What a restored VM is to be is decided by what was saved and what the vCenter has, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import SoapAdapter
from pyVmomi.VmomiSupport import newestVersions

from runner.base.errors import StateError
from steps.new_vm import unrecorded
from steps.restore.plan_vm import CannotRestore, PlanVm, PlanVmIn
from steps.values.planned_vm import PlannedVm
from steps.values.stored_point import StoredPoint
from steps.vsphere import specs, targets_tree, vm_inventory
from steps.vsphere.find import find
from steps.vsphere.vm_spec import Unrecorded
from tests.new_vms import plan, point_in, saved_of
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters


def test_a_vm_comes_back_as_it_was_under_another_name(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}]))
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    planned = plan(lab, point, name="back")
    assert (planned.machine.name, planned.machine.datastore) == ("back", "ds1")
    assert [(one.key, one.new.unit, one.new.datastore) for one in planned.disks] == [(2000, 0, "ds1")]
    assert planned.config == f"{point.path}/vm/config.json"


def test_what_was_decided_stays_but_not_for_a_vcenter_that_was_made_again(
    start_vcenter: Starts, tmp_path: Path
) -> None:
    """Its folders and pools are other ones, whatever their morefs."""
    lab = start_vcenter(machine())
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    planned = plan(lab, point, name="back")
    inputs = PlanVmIn.from_json_value({"point": point.to_json_value(), "vcenter": "prod", "name": "back"})
    before = planned.model_copy(update={"vcenter_uuid": "another"})
    assert PlanVm().check(lab.context("plan"), inputs, planned) == planned
    assert PlanVm().check(lab.context("plan"), inputs, before) is None
    assert PlanVm().check(lab.context("plan"), inputs, None) is None


def test_what_is_decided_makes_a_spec_that_can_be_sent(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(disks=[disk(), disk(2001, 1, size="1 MiB + 512 B")]))
    planned = plan(lab, point_in(tmp_path, *saved_of(lab, "pgtest1")), name="back")
    spec = specs.config_spec(planned.machine, "back (restoring x)", {"sendense.restore": "{}"}, Unrecorded())
    sent = SoapAdapter.SerializeToStr(spec, version=newestVersions.Get("vim"))
    assert "ParaVirtualSCSIController" in sent


def test_everything_that_is_wrong_is_said_at_once(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(), denied=["Resource.AssignVMToPool", "VApp.Import"])
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    with pytest.raises(CannotRestore) as caught:
        plan(lab, point, datastore="nowhere")
    told = caught.value.message
    assert "already has a VM vm-16 called pgtest1" in told
    assert "Hard disk 1, the VM's configuration cannot go to datastore nowhere" in told
    assert "ds1, vsan1, vvol1" in told
    assert "Resource.AssignVMToPool, VApp.Import on resource pool" in told


CLUSTERS = [
    {"name": "cluster1", "hosts": ["esx1", "esx2"], "pools": ["gold", "gold/inner"]},
    {"name": "cluster2", "hosts": ["esx3"], "hardware": 17},
]


@pytest.fixture
def two_clusters(start_vcenter: Starts, tmp_path: Path) -> tuple[Lab, StoredPoint]:
    old = machine(folder="production", pool="gold", cluster="cluster1")
    lab = start_vcenter(old, machine("other", folder="test"), datacenter={"clusters": CLUSTERS})
    known = vm_inventory.of_vm(lab.client, find(lab.client, "pgtest1"))
    return lab, point_in(tmp_path, *saved_of(lab, "pgtest1"), inventory=known, vcenter=lab.client.uuid)


def place(lab: Lab, planned: PlannedVm) -> tuple[str, str, str | None]:
    """Folder, pool and host by name."""
    there, made = targets_tree.read(lab.client), planned.machine
    hosts = {host.moref: host.name for cluster in there.clusters for host in cluster.hosts}
    return (
        next(one.path for one in there.folders if one.moref == made.folder),
        next(one.path for one in there.pools if one.moref == made.pool),
        hosts.get(made.host or ""),
    )


def test_it_returns_to_its_folder_and_pool(two_clusters: tuple[Lab, StoredPoint]) -> None:
    lab, point = two_clusters
    assert place(lab, plan(lab, point, name="back")) == ("DC1/vm/production", "cluster1/Resources/gold", "esx1")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"folder": "DC1/vm/test"}, ("DC1/vm/test", "cluster1/Resources/gold", "esx1")),
        ({"folder": "test"}, ("DC1/vm/test", "cluster1/Resources/gold", "esx1")),
        ({"folder": "/DC1"}, ("DC1/vm", "cluster1/Resources/gold", "esx1")),
        ({"pool": "cluster2"}, ("DC1/vm/production", "cluster2/Resources", "esx3")),
        ({"pool": "cluster1/gold/inner"}, ("DC1/vm/production", "cluster1/Resources/gold/inner", "esx1")),
        ({"pool": "inner"}, ("DC1/vm/production", "cluster1/Resources/gold/inner", "esx1")),
        ({"host": "esx2"}, ("DC1/vm/production", "cluster1/Resources/gold", "esx2")),
        ({"host": "ESX3"}, ("DC1/vm/production", "cluster2/Resources", "esx3")),
        ({"pool": "cluster1", "host": "esx2"}, ("DC1/vm/production", "cluster1/Resources", "esx2")),
    ],
    ids=str,
)
def test_it_goes_where_it_is_told(
    two_clusters: tuple[Lab, StoredPoint], options: dict[str, str], expected: tuple[str, ...]
) -> None:
    lab, point = two_clusters
    assert place(lab, plan(lab, point, name="back", **options)) == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folder": "nowhere"}, "no folder 'nowhere' for VMs; there is DC1/vm, DC1/vm/production, DC1/vm/test"),
        (
            {"pool": "silver"},
            "no cluster or resource pool 'silver'; there is cluster1/Resources, cluster1/Resources/gold",
        ),
        ({"host": "esx9"}, "no ESXi host 'esx9'; there is esx1, esx2, esx3"),
        ({"pool": "cluster1", "host": "esx3"}, "host esx3 is not in cluster1, where the pool cluster1/Resources is"),
    ],
    ids=str,
)
def test_a_place_that_is_not_there_is_said_with_those_that_are(
    two_clusters: tuple[Lab, StoredPoint], options: dict[str, str], says: str
) -> None:
    lab, point = two_clusters
    with pytest.raises(CannotRestore) as caught:
        plan(lab, point, name="back", **options)
    assert says in caught.value.message


def test_of_a_point_that_does_not_know_the_pool_several_clusters_are_a_question(
    start_vcenter: Starts, tmp_path: Path
) -> None:
    lab = start_vcenter(machine(cluster="cluster1"), datacenter={"clusters": CLUSTERS})
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    with pytest.raises(CannotRestore, match="can run in several places: name one with `--pool` or `--host`"):
        plan(lab, point, name="back")


def test_a_host_that_makes_older_hardware_gets_the_newest_that_it_makes(two_clusters: tuple[Lab, StoredPoint]) -> None:
    lab, point = two_clusters
    assert plan(lab, point, name="back").machine.settings["version"] == "vmx-19"
    older = plan(lab, point, name="back", pool="cluster2")
    assert older.machine.settings["version"] == "vmx-17"
    assert any(change.what == "virtual hardware" and change.warn for change in older.changes)


def test_uuids_and_addresses_are_kept_only_when_the_vcenter_says_that_nobody_has_them(
    start_vcenter: Starts, tmp_path: Path
) -> None:
    network = {"network": "VM Network", "mac": "00:50:56:9A:10:01"}
    lab = start_vcenter(machine(networks=[network]), machine("other"))
    config, path = saved_of(lab, "pgtest1")
    held = plan(lab, point_in(tmp_path / "held", config, path), name="back", identity="keep")
    assert not {"uuid", "instanceUuid"} & held.machine.settings.keys()
    assert sum("VM pgtest1 (vm-" in change.why for change in held.changes) == 3
    gone = {
        **config,
        "instanceUuid": "50130000-0000-0000-0000-00000000000a",
        "uuid": "42130000-0000-0000-0000-00000000000a",
    }
    for device in gone["hardware"]["device"]:
        if "macAddress" in device:
            device["macAddress"] = "00:50:56:9a:10:77"
    free = plan(lab, point_in(tmp_path / "free", gone, path), name="back", identity="keep")
    assert free.machine.settings["instanceUuid"] == gone["instanceUuid"]
    assert [one.properties["macAddress"] for one in free.machine.devices if one.type == "VirtualVmxnet3"] == [
        "00:50:56:9a:10:77"
    ]


def test_a_vm_whose_devices_may_not_be_read_may_have_any_address(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(powered_on=False), machine("hidden", unreadable=["config"]))
    config, path = saved_of(lab, "pgtest1")
    config["instanceUuid"] = "50130000-0000-0000-0000-00000000000a"
    planned = plan(lab, point_in(tmp_path, config, path), name="back", identity="keep")
    (told,) = [change for change in planned.changes if change.what == "instance uuid"]
    assert "hidden (vm-" in told.why
    assert "instanceUuid" not in planned.machine.settings


BY_LEASE = ["VirtualMachine.Inventory.Create", "VApp.Import", "Datastore.AllocateSpace", "Network.Assign"]
OVER_VDDK = ["VirtualMachine.Provisioning.DiskRandomAccess", "Global.DisableMethods", "Resource.AssignVMToPool"]


@pytest.mark.parametrize(
    ("transport", "denied", "others"),
    [("lease", BY_LEASE, OVER_VDDK[:2]), ("vddk", OVER_VDDK, ["VApp.Import"])],
    ids=["lease", "vddk"],
)
def test_all_privileges_that_are_missing_are_named_at_once(
    start_vcenter: Starts, tmp_path: Path, transport: str, denied: list[str], others: list[str]
) -> None:
    old = machine(networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}])
    lab = start_vcenter(old, denied=[*denied, *others])
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    with pytest.raises(CannotRestore) as caught:
        plan(lab, point, name="back", transport=transport)
    assert all(one in caught.value.message for one in denied)
    assert not any(one in caught.value.message for one in others)


def test_a_power_on_takes_its_privilege_only_if_it_is_asked_for(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(denied=["VirtualMachine.Interact.PowerOn"])
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    plan(lab, point, name="back")
    with pytest.raises(CannotRestore, match=r"lacks VirtualMachine\.Interact\.PowerOn on folder DC1/vm"):
        plan(lab, point, name="back", power_on=True)


def test_a_damaged_configuration_is_a_sentence_without_what_is_in_it(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter()
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    Path(point.path, "vm", "config.json").write_text('{"extraConfig": "s3cret" ')
    with pytest.raises(StateError, match="is damaged") as caught:
        plan(lab, point, name="back")
    assert "s3cret" not in caught.value.message


def test_nothing_that_guests_are_given_in_secret_is_in_the_plan(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(annotation="s3cret", extra_config={"guestinfo.password": "s3cret"}))
    planned = plan(lab, point_in(tmp_path, *saved_of(lab, "pgtest1")), name="back")
    assert "guestinfo.password" in planned.machine.extra_config
    assert "s3cret" not in str(planned.to_json_value())
    assert unrecorded.read(lab.context(), planned).extra_config["guestinfo.password"] == "s3cret"


def test_an_esxi_host_by_itself_takes_a_vm(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(), product="esxi", datacenter={"name": "ha-datacenter"})
    planned = plan(lab, point_in(tmp_path, *saved_of(lab, "pgtest1")), name="back")
    assert planned.machine.datacenter == "ha-datacenter"
    assert planned.machine.host == "ha-host"
