"""What a server leaves unset: whatever it is, a backup works without it, or says so in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVmomi.VmomiSupport import DataObject

from runner.base.errors import SendenseError, UsageError
from runner.step.preflight import Known
from steps.backup.discover import Discover, DiscoverIn
from steps.backup.snapshot import Snapshot
from steps.vsphere import cbt, datastores, machine, privileges, properties, snapshots, tasks
from steps.vsphere.client import vcenter
from steps.vsphere.errors import VSphereError
from tests.vcenter import Lab, Starts, disk, vcenters
from tests.vcenter import machine as vm

pytestmark = pytest.mark.slow

start_vcenter = vcenters

OPTIONAL = frozenset(
    f"{kind}.{name}"
    for kind, names in {
        "AboutInfo": "apiVersion fullName",
        "Datastore": "summary",
        "DatastoreSummary": "accessible capacity freeSpace type",
        "Description": "label",
        "DiskChangeInfo": "changedArea startOffset",
        "ManagedEntity": "recentTask",
        "ObjectContent": "missingSet",
        "RetrieveResult": "token",
        "TaskInfo": "error",
        "VirtualController": "busNumber",
        "VirtualDevice": "deviceInfo",
        "VirtualDeviceDeviceBackingInfo": "deviceName",
        "VirtualDiskFlatVer2BackingInfo": "diskMode keyId parent sharing thinProvisioned",
        "VirtualEthernetCard": "macAddress",
        "VirtualHardware": "memoryMB numCPU",
        "VirtualMachine": "datastore layoutEx network parentVApp",
        "VirtualMachineConfigInfo": "changeTrackingEnabled flags firmware guestFullName guestId instanceUuid keyId template uuid version",
        "VirtualMachineFlagInfo": "snapshotDisabled snapshotLocked",
        "VirtualMachineRuntimeInfo": "connectionState consolidationNeeded faultToleranceState question",
        "VirtualSCSIController": "sharedBus",
        "VirtualMachineSnapshotTree": "childSnapshotList description quiesced",
    }.items()
    for name in names.split()
)
"""What a backup reads here and can do without. (A VM's directory in a repository is made of its instance uuid, which is asked for there.)"""

EITHER = frozenset({"OptionValue.key", "OptionValue.value", "VirtualMachineConfigInfo.extraConfig"})
"""Those that it can do without, but not also without layoutEx: one of the two says where the NVRAM is."""

NAMED = (
    "UserSession.key",
    "Task.info",
    "TaskInfo.result",
    "VirtualMachineSnapshot.config",
    "VirtualMachineSnapshotTree.createTime",
    "VirtualMachineFileInfo.vmPathName",
    "ServiceContent.about",
    "ServiceContent.authorizationManager",
)
"""Of the others, some whose sentence must hold the property's name."""

NETWORK = {"network": "VM Network", "mac": "00:50:56:9a:10:02"}


def backup(lab: Lab) -> None:
    """All that a backup asks the API for, with a client of its own."""
    lab.shared.clear()
    with lab.stack:
        found = lab.discover()
        client = vcenter(lab.context(), "prod")
        Discover().preflight(lab.context(), Known(inputs=DiscoverIn(vcenter="prod", vm="pgtest1")))
        Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found, cbt="enable")))
        taken = lab.snapshot(found, cbt="enable")
        first = taken.disks[0]
        list(cbt.areas(client, taken.vm, taken.moref, first.key, first.capacity, first.change_id or "none"))
        snapshots.configuration(client, taken.moref)
        machine.esxi_host(client, taken.vm)
        client.download(taken.datacenter, datastores.file_of(client, taken.vm, taken.nvram or "[ds1] x"))
        datastores.file_of(client, taken.vm, str(machine.vmx_file(client, taken.vm)))
        privileges.require(client, privileges.on_files(client, taken.vm, taken.datacenter, first.datastore))
        privileges.require(client, privileges.on_vcenter(client))
        list(snapshots.named(client, "sendense-"))
        lab.undo(found, taken)


def owner(kind: Any, name: str) -> str:
    """``VirtualDisk.capacityInBytes``: the property by the type that declares it; empty if none does."""
    declares = [base for base in kind.__mro__ if name in base.__dict__.get("_propInfo", {})]
    return f"{declares[0]._wsdlName}.{name}" if declares else ""


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The properties that our code reads meanwhile: attributes of what the API sends, and paths that it asks for."""
    seen: set[str] = set()

    def read(self: Any, name: str) -> Any:
        module = str(sys._getframe(1).f_globals.get("__name__"))
        if module.startswith("steps.") and "simulator" not in module and not module.endswith(".configuration"):
            seen.add(owner(type(self), name))
        return object.__getattribute__(self, name)

    contents = properties.contents

    def asked(session: Any, objects: Any, wanted: Any) -> Any:
        for kind, path in ((kind, path) for kind, paths in wanted.items() for path in paths):
            at = kind
            for step in path.partition("[")[0].split("."):
                seen.add(owner(at, step))
                at = at._GetPropertyInfo(step).type
        return contents(session, objects, wanted)

    with monkeypatch.context() as patched:
        patched.setattr(DataObject, "__getattribute__", read, raising=False)
        patched.setattr(properties, "contents", asked)
        yield seen
    seen.discard("")


def test_what_a_backup_cannot_do_without_is_a_sentence_and_all_else_may_be_unset(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FIRST_LOOK", 0.001)
    lab = start_vcenter(vm(disks=[disk()], networks=[NETWORK], change_tracking=True))
    with watched(monkeypatch) as read:
        backup(lab)
    assert read > OPTIONAL
    lab.simulator.unset(*OPTIONAL)
    backup(lab)
    told = {}
    for one in sorted(read - OPTIONAL - EITHER):
        lab.simulator.unset(one)
        with pytest.raises(SendenseError) as caught:
            backup(lab)
        told[one] = caught.value.message
        lab.simulator.unset()
        lab.simulator.remove_snapshots("pgtest1")
    for one in NAMED:
        assert one.partition(".")[2] in told[one]


@pytest.mark.parametrize(
    ("unset", "says"),
    [
        pytest.param("VirtualDisk.capacityInBytes", "no capacityInBytes for disk 2000 (Hard disk 1)", id="capacity"),
        pytest.param("VirtualDevice.backing", "no backing for disk 2000 (Hard disk 1)", id="backing"),
        pytest.param("VirtualDeviceFileBackingInfo.fileName", "no fileName for disk 2000 (Hard disk 1)", id="file"),
        pytest.param("VirtualDevice.unitNumber", "no unitNumber for disk 2000 (Hard disk 1)", id="unit"),
        pytest.param("VirtualDiskFlatVer2BackingInfo.uuid", "disk 2000 (Hard disk 1) has no backing.uuid", id="uuid"),
        pytest.param("VirtualMachineConfigInfo.hardware", "no config.hardware.device for VM vm-", id="hardware"),
    ],
)
def test_a_disk_is_named_with_the_property_that_it_lacks(start_vcenter: Starts, unset: str, says: str) -> None:
    lab = start_vcenter(vm(disks=[disk()]), unset=[unset])
    with pytest.raises(VSphereError) as caught:
        lab.discover()
    assert says in str(caught.value)


def test_disks_whose_keys_are_left_out_cannot_be_told_apart(start_vcenter: Starts) -> None:
    controllers = [{"key": 0, "kind": "pvscsi"}]
    disks = [disk(2000, 0, controller=0), disk(2001, 1, controller=0)]
    lab = start_vcenter(vm(controllers=controllers, disks=disks), unset=["VirtualDevice.key"])
    with pytest.raises(VSphereError, match=r"the key 0 to 2 disks \(Hard disk 1, Hard disk 2\)"):
        lab.discover()


def test_a_property_that_the_api_does_not_have_cannot_be_unset(start_vcenter: Starts) -> None:
    with pytest.raises(UsageError, match=r"no property 'VirtualDisk\.size'"):
        start_vcenter(unset=["VirtualDisk.size"])
