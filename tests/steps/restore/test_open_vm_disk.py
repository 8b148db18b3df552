"""A disk of a VM that is off is opened: what it is looked at for before, and by which way it is read back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runner.base.units import MiB
from runner.step.preflight import Known
from steps.restore.open_vm_disk import OpenVmDisk, OpenVmDiskIn
from steps.source.choice import NoTransport
from steps.values.created_vm import CreatedDisk, MarkedVm
from steps.values.vm_disk import VmDiskServing
from steps.vsphere import find, snapshots
from steps.vsphere.attached import NotReady
from tests.marked_vms import marked, of_run, off, stored
from tests.vcenter import Lab, Starts, disk, vcenters
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

start_vcenter = vcenters

DISK = disk(2000, 0, size="3 MiB + 512 B", content={"pattern": 4})


@contextmanager
def opened(lab: Lab, vm: MarkedVm, key: int = 2000, **more: Any) -> Iterator[VmDiskServing]:
    ctx = lab.context("open")
    with ctx.closing:
        yield OpenVmDisk().run(ctx, inputs(vm, key, **more), OpenVmDisk.Live())


def inputs(vm: MarkedVm, key: int = 2000, **more: Any) -> OpenVmDiskIn:
    made = vm.disk(key)
    return OpenVmDiskIn.from_json_value(
        {"vm": vm.to_json_value(), "disk": stored(key, made.capacity).to_json_value(), **more}
    )


def content(serving: VmDiskServing) -> bytes:
    done = subprocess.run(["nbdcopy", serving.uris[0], "-"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_disk_of_a_vm_that_is_off_is_read_back_over_https(start_vcenter: Starts) -> None:
    lab = start_vcenter(off(DISK))
    with opened(lab, marked(lab), transport="https") as serving:
        assert (serving.transport, serving.read_only) == ("https", True)
        assert content(serving) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()


@pytest.mark.slow
def test_it_is_read_back_with_vddk_without_a_snapshot(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(off(DISK))
    vm = marked(lab)
    vddk.expect_lab(lab, "", vm.moref)
    with opened(lab, vm, vddk=vddk.options) as serving:
        assert (serving.transport, serving.extents) == ("vddk", True)
        assert content(serving) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()


def test_a_disk_that_neither_vddk_nor_https_reads_is_left_to_an_export_lease(start_vcenter: Starts) -> None:
    lab = start_vcenter(off(disk(datastore="vsan1")))
    with opened(lab, marked(lab), vddk={"plugin": "/nowhere.so"}) as serving:
        assert (serving.transport, serving.uris) == ("export", ())


def test_where_nothing_can_read_it_back_all_reasons_are_said(start_vcenter: Starts) -> None:
    lab = start_vcenter(off(disk(datastore="vsan1")), denied=["VApp.Export"])
    vm = marked(lab)
    with pytest.raises(NoTransport) as refused, opened(lab, vm, vddk={"plugin": "/nowhere.so"}):
        pass
    for said in ("over HTTPS: it is on vSAN", "nor with VDDK: ", "nor by an export lease: ", "VApp.Export on VM"):
        assert said in refused.value.message


def snapshot(lab: Lab, vm: MarkedVm) -> MarkedVm:
    snapshots.create(lab.client, vm.moref, "before the upgrade", "", quiesce=False)
    return vm


def another_uuid(lab: Lab, vm: MarkedVm) -> MarkedVm:
    return vm.model_copy(update={"disks": (vm.disks[0].model_copy(update={"backing_uuid": "6000C290-other"}),)})


def larger(lab: Lab, vm: MarkedVm) -> MarkedVm:
    return vm.model_copy(update={"disks": (vm.disks[0].model_copy(update={"capacity": 4 * MiB}),)})


def moved(lab: Lab, vm: MarkedVm) -> MarkedVm:
    return vm.model_copy(update={"disks": (vm.disks[0].model_copy(update={"file": "[ds1] a/a.vmdk"}),)})


def another_vm(lab: Lab, vm: MarkedVm) -> MarkedVm:
    return vm.model_copy(update={"instance_uuid": "5013e3a5-0000-0000-0000-000000000000"})


@pytest.mark.parametrize(
    ("becomes", "says"),
    [
        pytest.param(snapshot, "has snapshots", id="snapshot"),
        pytest.param(another_uuid, "its backing uuid is", id="another-disk"),
        pytest.param(larger, f"it has {3 * MiB + 512} bytes, not {4 * MiB}", id="grown"),
        pytest.param(moved, "is no longer in [ds1] a/a.vmdk: it was moved", id="moved"),
        pytest.param(another_vm, "it is another VM than the one", id="another-vm"),
    ],
)
def test_what_is_not_as_it_was_is_not_opened(start_vcenter: Starts, becomes: Any, says: str) -> None:
    lab = start_vcenter(off(DISK))
    vm = becomes(lab, marked(lab))
    with pytest.raises(NotReady) as refused, opened(lab, vm, transport="https"):
        pass
    assert says in refused.value.message
    (seen,) = OpenVmDisk().preflight(lab.context(), Known(inputs=inputs(vm, transport="https"))).observations
    assert (seen.state, seen.found) == ("wrong", refused.value.message)


def test_a_vm_that_is_on_is_not_opened(start_vcenter: Starts) -> None:
    lab = start_vcenter({**off(DISK), "powered_on": True})
    with pytest.raises(NotReady, match="is not powered off: power it off"), opened(lab, marked(lab)):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mark", "says"),
    [
        pytest.param(of_run("another"), "carries the mark of run another of pgtest1-restore on node", id="another-run"),
        pytest.param("by hand", "does not carry this run's mark", id="none"),
    ],
)
def test_a_vm_without_this_runs_mark_is_not_written_to(start_vcenter: Starts, vddk: Vddk, mark: str, says: str) -> None:
    lab = start_vcenter(off(DISK, mark=mark))
    with pytest.raises(NotReady, match=says), opened(lab, marked(lab), mode="write", vddk=vddk.options):
        pass


def test_writing_takes_vddk(start_vcenter: Starts) -> None:
    lab = start_vcenter(off(DISK))
    vm = marked(lab)
    with pytest.raises(NoTransport, match="it takes `vddk`"), opened(lab, vm, mode="write", transport="https"):
        pass
    with (
        pytest.raises(NoTransport, match=r"cannot be written with VDDK: .* has no plugin /nowhere\.so"),
        opened(lab, vm, mode="write", vddk={"plugin": "/nowhere.so"}),
    ):
        pass


def test_san_is_not_used_for_writing(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(off(DISK))
    vm = marked(lab)
    with (
        pytest.raises(NoTransport, match="cannot be written over `san` alone"),
        opened(lab, vm, mode="write", vddk={**vddk.options, "transports": ["san"]}),
    ):
        pass


PLANNED = MarkedVm(
    vcenter="prod",
    moref="",
    instance_uuid="",
    name="pgtest1 (restoring)",
    datacenter="DC1",
    folder="group-v1",
    mark="",
    vmx_file="[ds1] pgtest1/pgtest1.vmx",
    disks=(CreatedDisk(key=2000, new_key=2000, backing_uuid="", file="[vsan1] pgtest1/", capacity=MiB),),
)
"""Before anything was made; its disk will be on a datastore without flat files."""


def on(datastore: str, lab: Lab) -> MarkedVm:
    disks = (PLANNED.disks[0].model_copy(update={"file": f"[{datastore}] pgtest1/"}),)
    return PLANNED.model_copy(update={"disks": disks, "folder": find.root(lab.client)})


@pytest.mark.parametrize(
    ("datastore", "how"),
    [
        pytest.param("ds1", "over https: its file is a flat base file, and there is no VDDK", id="flat"),
        pytest.param("vsan1", "read back by an export lease", id="vsan"),
        pytest.param("vvol1", "read back by an export lease", id="vvol"),
    ],
)
def test_a_plan_says_how_a_disk_that_is_not_there_yet_will_be_read_back(
    start_vcenter: Starts, datastore: str, how: str
) -> None:
    lab = start_vcenter()
    known = Known(inputs=inputs(on(datastore, lab), vddk={"plugin": "/nowhere.so"}))
    seen = OpenVmDisk().preflight(lab.context(), known)
    assert seen.notes[0].startswith(how)
    assert all(one.state == "good" for one in seen.observations)


def test_a_plan_refuses_what_nothing_could_read_back(start_vcenter: Starts) -> None:
    lab = start_vcenter(denied=["VApp.Export"])
    known = Known(inputs=inputs(on("vsan1", lab), vddk={"plugin": "/nowhere.so"}))
    (seen,) = OpenVmDisk().preflight(lab.context(), known).observations
    assert seen.state == "wrong"
    assert "it is on vSAN, where no flat file exists; nor with VDDK" in seen.found
    assert "nor by an export lease: " in seen.found


def test_a_plan_refuses_to_write_where_there_is_no_vddk(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    known = Known(inputs=inputs(on("ds1", lab), mode="write", vddk={"plugin": "/nowhere.so"}))
    (seen,) = OpenVmDisk().preflight(lab.context(), known).observations
    assert (seen.state, "has no plugin /nowhere.so" in seen.found) == ("wrong", True)
