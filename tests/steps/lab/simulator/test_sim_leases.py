"""Import leases: their states and urls, what ends them, and what goes with them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from steps.lab.simulator import Inventory
from tests.eventually import eventually
from tests.lease_client import EMPTY, STATE, import_vapp, post, ready, send, url_of
from tests.simulation import machine, running
from tests.vm_specs import config_spec, controller, disk

device: Any = vim.vm.device


def two_disks(name: str = "new", **more: Any) -> Any:
    return config_spec(name, deviceChange=[controller(), disk(0, 4 * MiB), disk(1, MiB)], **more)


def names(client: Any) -> set[str]:
    return {one.name for one in client.vm("DC1/vm").childEntity}


def directories(client: Any) -> set[str]:
    return {path.name for path in (client.sim.directory / "datastores" / "ds1").iterdir()}


@pytest.fixture
def lease(client):
    """A ready one, of the VM `new` with two disks."""
    made = import_vapp(client, two_disks())
    ready(made)
    return made


@pytest.fixture
def aged(simulate):
    """(client, clock): a lease lasts 60 seconds of the clock, a list of its one time."""
    clock = [1000.0]
    return simulate(options={"lease_timeout": 60, "clock": lambda: clock[0]}), clock


@pytest.mark.behaviour(35, "documented")
def test_a_lease_is_initializing_then_ready_then_done(client):
    """As vcsim's do (govmomi, simulator/http_nfc_lease.go)."""
    client.sim.fault("slow-task", method="ImportVApp", seconds=0.2)
    lease = import_vapp(client, two_disks())
    assert (lease.state, lease.info, lease.initializeProgress) == (STATE.initializing, None, 0)
    information = ready(lease)
    assert (information.entity, information.totalDiskCapacityInKB) == (client.vm("DC1/vm/new"), 5 * 1024)
    lease.HttpNfcLeaseProgress(40)
    assert (lease.initializeProgress, lease.transferProgress, lease.mode) == (100, 40, "pushOrGet")
    lease.HttpNfcLeaseComplete()
    assert (lease.state, lease.error, lease.info) == (STATE.done, None, None)
    assert client.vm("DC1/vm/new").runtime.powerState == "poweredOff"


@pytest.mark.behaviour(35, "reported")
def test_a_lease_lasts_five_minutes_from_one_progress_to_the_next(client, lease):
    """pyvmomi-community-samples issue 417, and vcsim."""
    assert lease.info.leaseTimeout == 300


@pytest.mark.behaviour(35, "documented")
def test_a_lease_without_progress_times_out_and_takes_the_vm_with_it(aged):
    """Imports died after five minutes without it: pyvmomi-community-samples issue 368."""
    client, clock = aged
    before = names(client), directories(client)
    lease = import_vapp(client, two_disks())
    assert ready(lease).leaseTimeout == 60
    for _ in range(3):
        clock[0] += 50
        lease.HttpNfcLeaseProgress(10)
    assert "new" in names(client)
    clock[0] += 61
    for call in (lease.HttpNfcLeaseComplete, lease.HttpNfcLeaseAbort, lease.HttpNfcLeaseGetManifest):
        with pytest.raises(vim.fault.Timedout):
            call()
    with pytest.raises(vim.fault.Timedout):
        lease.HttpNfcLeaseProgress(20)
    assert lease.state == STATE.error
    assert isinstance(lease.error, vim.fault.Timedout)
    assert (names(client), directories(client)) == before


def test_a_lease_times_out_though_nobody_asks(simulate):
    client = simulate(options={"lease_timeout": 0.2})
    ready(import_vapp(client, two_disks()))
    assert eventually(lambda: directories(client) == {"db"})


@pytest.mark.behaviour(35, "assumed")
def test_after_its_end_every_call_is_invalid_state(client, lease):
    """By the API reference alone: vcsim forgets a lease at its end."""
    lease.HttpNfcLeaseComplete()
    for call in (lease.HttpNfcLeaseComplete, lease.HttpNfcLeaseAbort, lease.HttpNfcLeaseGetManifest):
        with pytest.raises(vim.fault.InvalidState):
            call()
    assert "new" in names(client)


@pytest.mark.behaviour(35, "assumed")
def test_while_a_lease_holds_a_vm_nothing_else_changes_it(client, lease):
    """By the API reference alone, which does not say with which fault."""
    vm = lease.info.entity
    for call in (vm.PowerOnVM_Task, vm.Destroy_Task, lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(name="x"))):
        with pytest.raises(vim.fault.TaskInProgress):
            call()
    lease.HttpNfcLeaseComplete()
    client.wait(vm.PowerOnVM_Task())


@pytest.mark.behaviour(39, "documented")
@pytest.mark.parametrize(
    ("spec", "folder", "error"),
    [
        pytest.param(two_disks(), None, vmodl.fault.NotSupported, id="no folder"),
        pytest.param(vim.vApp.VAppImportSpec(name="a"), "DC1/vm", vmodl.fault.InvalidArgument, id="another spec"),
        pytest.param(two_disks("db"), "DC1/vm", vim.fault.DuplicateName, id="a name that is taken"),
        pytest.param(two_disks("x" * 80), "DC1/vm", vim.fault.InvalidName, id="a name that is too long"),
        pytest.param(two_disks(path="[ds9]"), "DC1/vm", vim.fault.InvalidDatastore, id="an unknown datastore"),
    ],
)
def test_what_cannot_be_made_is_said_in_the_lease_and_leaves_nothing(client, spec, folder, error):
    """NotSupported for want of a folder was seen in a lease: pyvmomi issue 281."""
    before = names(client), directories(client)
    if isinstance(spec, vim.vApp.VAppImportSpec):
        spec.vAppConfigSpec, spec.resourcePoolSpec = (
            vim.vApp.VAppConfigSpec(),
            vim.ResourceConfigSpec(
                cpuAllocation=vim.ResourceAllocationInfo(), memoryAllocation=vim.ResourceAllocationInfo()
            ),
        )
    lease = import_vapp(client, spec, folder=folder)
    with pytest.raises(error):
        ready(lease)
    assert (lease.state, lease.info) == (STATE.error, None)
    assert (names(client), directories(client)) == before
    with pytest.raises(vim.fault.InvalidState):
        lease.HttpNfcLeaseAbort()


@pytest.mark.behaviour(39, "documented")
def test_any_fault_of_the_api_can_end_a_lease_before_it_is_ready(client):
    """Such as vim-rest-api issue 2 saw."""
    client.sim.fault("fail-task", method="ImportVApp", fault="InsufficientResourcesFault")
    with pytest.raises(vim.fault.InsufficientResourcesFault):
        ready(import_vapp(client, two_disks()))


@pytest.mark.parametrize(
    "privilege",
    [
        "VApp.Import",
        "VirtualMachine.Inventory.Create",
        "VirtualMachine.Config.AddNewDisk",
        "Resource.AssignVMToPool",
        "Datastore.AllocateSpace",
    ],
)
def test_an_import_takes_its_own_privilege_and_those_of_creating_a_vm(simulate, privilege):
    client = simulate(denied=[privilege])
    with pytest.raises(vim.fault.NoPermission) as caught:
        import_vapp(client, two_disks())
    assert caught.value.privilegeId == privilege
    assert names(client) == {"db"}


@pytest.mark.behaviour(40, "reported")
def test_urls_are_of_the_host_and_name_disks_by_controller_bus_and_unit(client):
    """pyvmomi-community-samples issues 392 and 417; harvester's table of keys."""
    changes = [
        controller(-1),
        disk(0, MiB, on=-1),
        controller(-2, device.VirtualLsiLogicController, bus=1),
        disk(3, MiB, on=-2),
        controller(-3, device.VirtualAHCIController),
        disk(1, MiB, on=-3),
        controller(-4, device.VirtualNVMEController),
        disk(0, MiB, on=-4),
        disk(0, MiB, on=200),
    ]
    information = ready(import_vapp(client, config_spec("My VM", deviceChange=changes)))
    places = {
        "ParaVirtualSCSIController0:0",
        "VirtualLsiLogicController1:3",
        "VirtualAHCIController0:1",
        "VirtualNVMEController0:0",
        "VirtualIDEController0:0",
    }
    moid = information.entity._moId
    assert {one.importKey for one in information.deviceUrl} == {f"/My VM/{place}" for place in places}
    assert {one.key for one in information.deviceUrl} == {f"/{moid}/{place}" for place in places}
    for one in information.deviceUrl:
        place, _, name = one.url.rpartition("/")
        assert place.startswith("https://127.0.0.1:")
        assert f":{client.sim.port}/" not in one.url
        assert (one.targetId, one.datastoreKey, one.fileSize, one.disk) == (name, f"{place}/", None, True)
        assert send(client, one, "GET")[0] == 405  # its certificate is the one that its thumbprint names
    (store,) = information.hostMap
    assert store.datastoreKey == information.deviceUrl[0].datastoreKey
    assert store.datastoreKey.startswith(f"{store.hosts[0].url}nfc/")


@pytest.mark.behaviour(40, "reported")
def test_urls_do_not_come_in_the_order_of_the_spec(client, lease):
    """Disks that were paired by it were swapped: cloudstack issues 4547 and 13922."""
    assert [one.importKey.rpartition(":")[2] for one in lease.info.deviceUrl] == ["1", "0"]


@pytest.mark.behaviour(40, "documented")
def test_a_host_by_itself_has_a_star_for_its_name(tmp_path):
    """vcsim does so too; seen with /ha-nfc: pyvmomi issue 645."""
    datacenter = {"name": "ha-datacenter", "datastores": [{"name": "ds1"}], "vms": [machine()]}
    inventory = Inventory.from_json_value({"product": "esxi", "datacenters": [datacenter]})
    with running(inventory, tmp_path) as client:
        information = ready(import_vapp(client, two_disks()))
        assert all(one.url.startswith("https://*/ha-nfc/") for one in information.deviceUrl)
        assert post(client, url_of(information, "ParaVirtualSCSIController0:0"), EMPTY) == (200, "")


@pytest.mark.behaviour(43, "documented")
@pytest.mark.parametrize("fault", [None, vim.fault.FileNotFound(file="x")])
def test_abort_removes_all_that_was_made(client, lease, fault):
    """Without it half a VM stayed until the time-out: govmomi issue 3554."""
    assert ("new" in names(client), directories(client)) == (True, {"db", "new"})
    lease.HttpNfcLeaseAbort(fault)
    assert (names(client), directories(client)) == ({"db"}, {"db"})
    assert isinstance(lease.error, vim.fault.FileNotFound if fault else vmodl.fault.RequestCanceled)
    for call in (lease.HttpNfcLeaseAbort, lease.HttpNfcLeaseComplete):
        with pytest.raises(vim.fault.InvalidState):
            call()


def test_a_lease_may_be_aborted_before_it_is_ready(client):
    client.sim.fault("slow-task", method="ImportVApp", seconds=0.2)
    lease = import_vapp(client, two_disks())
    lease.HttpNfcLeaseAbort()
    assert lease.state == STATE.error
    assert eventually(lambda: all(thread.name != lease._moId for thread in threading.enumerate()))
    assert (names(client), directories(client)) == ({"db"}, {"db"})


@pytest.mark.behaviour(43, "assumed")
def test_a_lease_ends_with_its_session(client, lease):
    client.content.sessionManager.Logout()
    client._content = None
    assert (names(client), directories(client)) == ({"db"}, {"db"})
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vim.HttpNfcLease(lease._moId, client.service._stub).HttpNfcLeaseProgress(1)


@pytest.mark.behaviour(43, "assumed")
@pytest.mark.parametrize("private", [True, False])
def test_another_session_can_end_a_lease_or_not_by_switch(simulate, private):
    client = simulate(private_leases=private)
    lease = import_vapp(client, two_disks())
    ready(lease)
    other = vim.HttpNfcLease(lease._moId, client.service._stub)
    if private:
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            other.HttpNfcLeaseAbort()
    else:
        other.HttpNfcLeaseAbort()
    assert lease.state == (STATE.ready if private else STATE.error)


@pytest.mark.behaviour(43, "reported")
def test_a_lease_that_ended_long_ago_is_gone(aged):
    """oslo.vmware tolerates it; vcsim's are gone at once."""
    client, clock = aged
    lease = import_vapp(client, two_disks())
    ready(lease)
    lease.HttpNfcLeaseComplete()
    clock[0] += 601
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        lease.HttpNfcLeaseProgress(1)


@pytest.mark.parametrize("fault", ["lease-timeout", "lease-idle"])
def test_a_time_out_can_be_armed(client, lease, fault):
    lease.HttpNfcLeaseProgress(0)
    client.sim.fault(fault)
    with pytest.raises(vim.fault.Timedout):
        lease.HttpNfcLeaseProgress(0)
    assert (names(client), directories(client)) == ({"db"}, {"db"})


def test_a_simulator_that_stops_leaves_nothing_of_a_lease(tmp_path, simulate):
    client = simulate()
    ready(import_vapp(client, two_disks()))
    client.sim.stop()
    assert directories(client) == {"db"}


def test_thick_disks_for_which_there_is_no_room_are_not_made(simulate):
    client = simulate(
        datacenters=[{"name": "DC1", "datastores": [{"name": "ds1", "free": "4 MiB"}], "vms": [machine()]}]
    )
    thick = config_spec(deviceChange=[controller(), disk(0, 8 * MiB, thin=False)])
    with pytest.raises(vim.fault.NoDiskSpace) as caught:
        ready(import_vapp(client, thick))
    assert (caught.value.datastore, directories(client)) == ("ds1", {"db"})


def test_a_lease_is_renewed_by_a_percentage_alone(client, lease):
    with pytest.raises(vmodl.fault.InvalidArgument):
        lease.HttpNfcLeaseProgress(101)
