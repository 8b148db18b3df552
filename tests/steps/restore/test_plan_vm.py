"""What a restored VM is to be is decided by what was saved and what the vCenter has, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyVmomi import SoapAdapter
from pyVmomi.VmomiSupport import newestVersions

from steps.restore.plan_vm import CannotRestore
from steps.vsphere import specs
from steps.vsphere.vm_spec import Unrecorded
from tests.new_vms import plan, point_in, saved_of
from tests.vcenter import Starts, disk, machine, vcenters

start_vcenter = vcenters


def test_a_vm_comes_back_as_it_was_under_another_name(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter(machine(networks=[{"network": "VM Network", "mac": "00:50:56:9a:10:01"}]))
    point = point_in(tmp_path, *saved_of(lab, "pgtest1"))
    planned = plan(lab, point, name="back")
    assert (planned.machine.name, planned.machine.datastore) == ("back", "ds1")
    assert [(one.key, one.new.unit, one.new.datastore) for one in planned.disks] == [(2000, 0, "ds1")]
    assert planned.config == f"{point.path}/vm/config.json"


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
    assert "has a VirtualMachine vm-16 called pgtest1 already" in told
    assert "Hard disk 1 cannot go to datastore nowhere" in told
    assert "ds1, vsan1, vvol1" in told
    assert "Resource.AssignVMToPool, VApp.Import on resource pool" in told
