"""The inventory file, the tree made of it, and how things are found in it."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from runner.base.errors import UsageError
from steps.lab.simulator import DEFAULT_INVENTORY, Simulator, load_inventory
from tests.simulation import USER, disk, estate, machine, running


@pytest.fixture
def odd(tmp_path):
    with running(load_inventory(DEFAULT_INVENTORY), tmp_path) as client:
        yield client


def test_the_default_inventory_has_the_odd_hardware(odd):
    config = odd.vm("DC1/vm/production/odd hardware").config
    disks = odd.disks(config)
    assert {2000, 2001, 2016, 16000, 32000} <= set(disks)
    assert (disks[2000].unitNumber, disks[2016].unitNumber) == (0, 0)
    assert disks[2001].capacityInBytes == (1 << 20) + 512
    assert isinstance(disks[2018].backing, vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo)
    assert disks[2018].backing.compatibilityMode == "physicalMode"
    assert disks[2017].backing.diskMode == "independent_persistent"
    kinds = {type(one).__name__.rsplit(".", 1)[-1] for one in config.hardware.device}
    assert {
        "VirtualLsiLogicSASController",
        "ParaVirtualSCSIController",
        "VirtualAHCIController",
        "VirtualNVMEController",
    } <= kinds


def test_the_default_inventory_is_found_by_path_and_uuid(odd):
    search = odd.content.searchIndex
    vm = odd.vm("DC1/vm/production/pgtest1")
    assert search.FindByUuid(None, vm.config.instanceUuid.upper(), True, True) == vm
    assert search.FindByUuid(None, vm.config.uuid, True, False) == vm
    assert search.FindByUuid(None, vm.config.uuid, True, True) is None
    assert search.FindByInventoryPath("DC1/vm/nowhere") is None
    assert search.FindAllByUuid(None, vm.config.uuid, True, False) == [vm]
    assert search.FindAllByUuid(None, "00000000-0000-0000-0000-000000000000", True, False) == []


def test_a_vm_is_found_by_its_guests_name_and_by_its_file(simulate):
    client = simulate(machine("db", powered_on=True), machine("off", powered_on=False))
    search, vm = client.content.searchIndex, client.vm()
    datacenter = client.vm("DC1")
    assert search.FindByDatastorePath(datacenter, "[ds1] db/db.vmx") == vm
    assert search.FindByDatastorePath(datacenter, "[ds1] db/other.vmx") is None
    assert search.FindByDnsName(None, "DB", True) == vm
    assert search.FindByDnsName(datacenter, "db", True) == vm
    assert search.FindByDnsName(None, "off", True) is None, "its Tools do not run"
    host = vm.runtime.host
    assert search.FindAllByDnsName(None, host.name, False) == [host]
    assert search.FindByDnsName(None, host.name, True) is None


def test_a_users_privileges_are_told_for_each_object(simulate):
    client = simulate(denied=["VApp.Import"])
    vm, folder = client.vm(), client.vm("DC1/vm")
    granted = client.content.authorizationManager.FetchUserPrivilegeOnEntities([vm, folder], USER)
    assert [one.entity for one in granted] == [vm, folder]
    assert all("VirtualMachine.Config.ChangeTracking" in one.privileges for one in granted)
    assert not any("VApp.Import" in one.privileges for one in granted)
    assert client.content.authorizationManager.FetchUserPrivilegeOnEntities([vm], "nobody")[0].privileges == []


@pytest.mark.behaviour(5, "documented")
def test_names_with_slashes_are_escaped_and_found(simulate):
    client = simulate(machine("a/b 100%"), machine(".."))
    vm = client.vm("DC1/vm/a%2fb 100%25")
    assert vm.name == "a%2fb 100%25"
    assert client.vm("DC1/vm/a%2Fb 100%25") == vm
    assert vm.config.files.vmPathName == "[ds1] a_b 100_/a_b 100_.vmx"
    assert client.vm("DC1/vm/..").config.files.vmPathName == "[ds1] vm/vm.vmx"


@pytest.mark.behaviour(5, "documented")
def test_two_vms_of_one_name_live_apart(simulate):
    client = simulate(machine("db", folder="x"), machine("db", folder="y", uuid="42370000-0000-0000-0000-000000000001"))
    one, two = client.vm("DC1/vm/x/db"), client.vm("DC1/vm/y/db")
    assert one.config.files.vmPathName != two.config.files.vmPathName
    assert one.config.instanceUuid != two.config.instanceUuid
    with pytest.raises(UsageError, match="2 VMs called 'db'"):
        client.sim.snapshots("db")
    assert client.sim.snapshots("DC1/vm/y/db") == []


def test_a_directory_taken_on_another_datastore_is_not_shared(simulate):
    elsewhere = machine("db", folder="x", disks=[disk(2000), disk(2001, 1, datastore="nfs1")])
    client = simulate(elsewhere, machine("db", folder="y", datastore="nfs1"))
    assert client.vm("DC1/vm/y/db").config.files.vmPathName == "[nfs1] db_1/db_1.vmx"


def test_identities_are_the_same_after_a_restart_and_disks_keep_their_bytes(tmp_path):
    seen = []
    for _ in range(2):
        with running(estate(machine(powered_on=False)), tmp_path) as client:
            config = client.vm().config
            seen.append(
                (config.instanceUuid, client.disks(config)[2000].backing.uuid, client.content.about.instanceUuid)
            )
            client.sim.write("db", 2000, 4096, b"kept")
    assert seen[0] == seen[1]
    with running(estate(), tmp_path) as client:
        assert client.sim.read("db", 2000, 4096, 4) == b"kept"


def test_snapshots_are_merged_at_the_end_so_that_another_can_go_on(tmp_path):
    with running(estate(), tmp_path) as client:
        client.snapshot(client.vm())
        client.sim.write("db", 2000, 4096, b"later")
        client.snapshot(client.vm())
        client.sim.write("db", 2000, 4096, b"last")
    with running(estate(), tmp_path) as client:
        assert client.sim.read("db", 2000, 4096, 5) == b"lastr"
        assert client.sim.disk_file("db", 2000).read_bytes()[4096:4101] == b"lastr"


def test_a_directory_with_a_snapshot_of_one_that_was_killed_is_refused(tmp_path):
    with running(estate(), tmp_path) as client:
        flat = client.sim.disk_file("db", 2000)
    flat.with_name("db-000001-delta.vmdk").touch()
    with pytest.raises(UsageError, match=r"-000001-delta\.vmdk is a snapshot's file"), running(estate(), tmp_path):
        pass


def test_a_disk_file_of_another_size_is_refused(tmp_path):
    with running(estate(), tmp_path):
        pass
    smaller = estate(machine(disks=[disk(2000, size="2 MiB")]))
    with pytest.raises(UsageError, match="start with an empty directory"), running(smaller, tmp_path):
        pass


def test_content_is_a_pattern_with_data_at_both_ends_and_holes(client):
    flat = client.sim.disk_file("db", 2000)
    content = flat.read_bytes()
    assert (len(content), any(content[:512]), any(content[-512:])) == (4 << 20, True, True)
    blocks = [any(content[start : start + 4096]) for start in range(0, len(content), 4096)]
    assert 0.2 < sum(blocks) / len(blocks) < 0.8


def test_content_comes_from_a_file_beside_the_inventory(tmp_path):
    (tmp_path / "seed.raw").write_bytes(b"first" + bytes(4096) + b"last")
    (tmp_path / "inventory.yaml").write_text(
        """
datacenters:
  - name: DC1
    datastores: [{name: ds1}]
    vms:
      - name: db
        datastore: ds1
        controllers: [{key: 1000, kind: nvme}]
        disks:
          - {key: 32000, controller: 1000, unit: 0, size: 8 KiB + 512 B, content: {file: seed.raw, pieces: [{offset: -512, length: 512}]}}
"""
    )
    with running(load_inventory(tmp_path / "inventory.yaml"), tmp_path / "lab") as client:
        assert client.sim.read("db", 32000, 0, 5) == b"first"
        assert client.sim.read("db", 32000, 4101, 4) == b"last"
        assert any(client.sim.read("db", 32000, 8192, 512))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("datacenters: []\nmore: 1", "more: Extra inputs are not permitted", id="unknown field"),
        pytest.param("a: [", r"inventory\.yaml:2:1: not YAML", id="not yaml"),
        pytest.param("datacenters: []\ndatacenters: []", "'datacenters'", id="key twice"),
        pytest.param("datacenters: &a [*a]", "inside the value it stands for", id="alias in itself"),
        pytest.param("datacenters: !!python/name:os.system x", "tag", id="tag"),
        pytest.param(
            "datacenters: [{name: D, datastores: [{name: d, capacity: lots}]}]", "'lots' is not a size", id="size"
        ),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence(tmp_path, text, said):
    (tmp_path / "inventory.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_inventory(tmp_path / "inventory.yaml")


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        pytest.param({"disks": [disk(2000), disk(2000, 1)]}, "device key 2000 is there 2 times", id="key twice"),
        pytest.param({"disks": [disk(2000), disk(2001)]}, "controller and unit", id="unit twice"),
        pytest.param({"disks": [disk(2000, 7)]}, "at unit 7", id="the controller's own unit"),
        pytest.param({"disks": [disk(2000, controller=9)]}, "names controller 9", id="no such controller"),
        pytest.param({"disks": [disk(2000, size="1000 B")]}, "multiple of 512", id="half a sector"),
        pytest.param({"disks": [disk(2000, datastore="ds9")]}, "names datastore ds9", id="no such datastore"),
    ],
)
def test_hardware_that_cannot_be_is_refused(vm, said):
    with pytest.raises(ValueError, match=said):
        estate(machine(**vm))


@pytest.mark.parametrize("name", ["data", "db_1"], ids=["both given", "given as another's default"])
def test_two_disks_have_two_files(tmp_path, name):
    first = disk(2000, file=name)
    second = disk(2001, 1, file=name) if name == "data" else disk(2001, 1)
    with pytest.raises(UsageError, match=f"disks 2000 and 2001 of db have one file, {name}.vmdk"):
        Simulator(estate(machine(disks=[first, second])), tmp_path, username="u", password="p")


def test_names_that_look_like_something_else_are_text(tmp_path):
    (tmp_path / "inventory.yaml").write_text("datacenters: [{name: 2026-01-01, datastores: [{name: no}]}]")
    (made,) = load_inventory(tmp_path / "inventory.yaml").datacenters
    assert (made.name, made.datastores[0].name) == ("2026-01-01", "no")


def test_write_past_the_end_and_unknown_names_are_sentences(client):
    with pytest.raises(UsageError, match="has 4194304 bytes"):
        client.sim.write("db", 2000, (4 << 20) - 1, b"xx")
    with pytest.raises(UsageError, match="has no disk 9; it has 2000, 2001"):
        client.sim.write("db", 9, 0, b"x")
    with pytest.raises(UsageError, match="there is no VM 'dbx'; there are db"):
        client.sim.write("dbx", 2000, 0, b"x")


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        pytest.param("nonsense", {}, "there is no fault 'nonsense'", id="name"),
        pytest.param("slow-task", {"minutes": 1}, "no parameter 'minutes'; it has method, seconds", id="parameter"),
        pytest.param("slow-task", {"seconds": "long"}, "cannot be 'long'", id="not a number"),
        pytest.param("slow-task", {"seconds": "nan"}, "a number from 0 on, not 'nan'", id="nan"),
        pytest.param("slow-task", {"seconds": "inf"}, "a number from 0 on, not 'inf'", id="infinity"),
        pytest.param("http-cut", {"after": "-1"}, "a number from 0 on, not '-1'", id="negative"),
        pytest.param(
            "fail-task", {"method": "CreateSnapshotTask"}, "did you mean 'CreateSnapshot_Task'", id="no method"
        ),
        pytest.param("quiesce-fault", {"fault": "x"}, "is one of application, filesystem", id="choice"),
        pytest.param("fail-task", {"fault": "Nonsense"}, "the vSphere API has no fault 'Nonsense'", id="no fault"),
        pytest.param(
            "fail-call", {"fault": "VirtualDisk"}, "the vSphere API has no fault 'VirtualDisk'", id="no fault type"
        ),
    ],
)
def test_a_fault_that_cannot_be_armed_is_a_sentence(client, name, parameters, said):
    with pytest.raises(UsageError, match=said):
        client.sim.fault(name, **parameters)
    assert client.sim.armed == {}


def test_parameters_of_faults_may_come_as_text(client):
    client.sim.fault("slow-task", 2, seconds="0.1")
    assert client.sim.armed == {"slow-task": 2}


def test_a_pattern_has_four_kib_alone_in_a_hole(client):
    content = client.sim.disk_file("db", 2000).read_bytes()
    middle = len(content) // 2
    assert any(content[middle : middle + 4096])
    assert not any(content[middle - 4096 : middle])
    assert not any(content[middle + 4096 : middle + 8192])


@pytest.mark.behaviour(56, "assumed")
def test_a_property_that_is_to_be_unset_is_in_no_answer(client):
    disk = client.disks(client.vm().config)[2000]
    assert disk.capacityInBytes and disk.backing.fileName
    client.sim.unset("VirtualDisk.capacityInBytes", "VirtualDeviceFileBackingInfo.fileName")
    disk = client.disks(client.vm().config)[2000]
    assert (disk.capacityInBytes, disk.backing.fileName) == (None, "")
    client.sim.unset()
    assert client.disks(client.vm().config)[2000].capacityInBytes
