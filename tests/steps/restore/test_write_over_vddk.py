"""A disk is written through nbdkit's real plugin for VDDK, on a stand-in for VMware's library, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.step.context import Context
from steps.restore.check_vm_disk import CheckVmDisk, CheckVmDiskIn, CheckVmDiskLive
from steps.restore.open_point import OpenPoint, OpenPointIn
from steps.restore.open_vm_disk import OpenVmDisk, OpenVmDiskIn
from steps.restore.serve_image import ServeImage, ServeImageIn
from steps.restore.write_disk import WriteDisk, WriteDiskIn, WriteDiskLive
from steps.source.open_disks import OpenDisks
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing, VmDiskWritten
from tests.chains import Reference, full
from tests.hub import Hub
from tests.hub import disk as disk_of
from tests.marked_vms import marked, off
from tests.vcenter import Lab, Starts, disk, vcenters
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

pytestmark = pytest.mark.slow

start_vcenter = vcenters

CAPACITY = 4 * MiB + 512


@dataclass
class Scene:
    """Disk 2000 of a point, and a new VM whose disk 2000 is empty."""

    lab: Lab
    hub: Hub
    vddk: Vddk
    vm: MarkedVm
    stored: StoredDisk
    point: Reference

    @contextmanager
    def opened(self, mode: str) -> Iterator[tuple[Context, VmDiskServing]]:
        ctx = self.lab.context("open")
        inputs = OpenVmDiskIn.from_json_value(
            {
                "vm": self.vm.to_json_value(),
                "disk": self.stored.to_json_value(),
                "mode": mode,
                "transport": "vddk",
                "vddk": self.vddk.options,
            }
        )
        with ctx.closing:
            yield ctx, OpenVmDisk().run(ctx, inputs, OpenVmDisk.Live())

    def write(self) -> VmDiskWritten:
        """Raises what the run would be told: what the process that serves the disk knows of a failure."""
        ctx = self.hub.context()
        image = ServeImageIn.model_validate({"image": self.stored.image, "connections": 1})
        with ctx.closing, self.opened("write") as (process, into):
            source = ServeImage().run(ctx, image, ServeImage.Live())
            inputs = WriteDiskIn(vm=self.vm, disk=self.stored, window=MiB)
            try:
                return WriteDisk().run(self.hub.context(), inputs, WriteDiskLive(source=source, into=into))
            except SendenseError as error:
                for explain in process.explains:
                    raise explain(error) from error
                raise

    def check(self, written: VmDiskWritten) -> Any:
        with self.opened("read") as (_, view):
            inputs = CheckVmDiskIn(vm=self.vm, disk=self.stored, written=written)
            return CheckVmDisk().run(self.hub.context(), inputs, CheckVmDiskLive(view=view))

    @property
    def file(self) -> Path:
        return self.lab.simulator.disk_file("pgtest1", 2000)

    def is_equal(self) -> bool:
        return self.file.read_bytes() == self.point.disks[2000].read_bytes()


@pytest.fixture
def scene(start_vcenter: Starts, hub: Hub, vddk: Vddk, tmp_path: Path) -> Scene:
    point = full(hub, tmp_path / "references", disk_of(2000, CAPACITY))
    found = OpenPoint().run(hub.context(), OpenPointIn(repository="main", point=point.point.name), OpenPoint.Live())
    lab = start_vcenter(off(disk(2000, 0, size="4 MiB + 512 B")))
    vm = marked(lab)
    vddk.expect_lab(lab, "", vm.moref)
    return Scene(lab, hub, vddk, vm, found.disks[0], point)


def test_a_disk_is_written_flushed_and_read_back(scene: Scene) -> None:
    written = scene.write()
    assert scene.is_equal()
    assert sum(length for _, _, length in scene.vddk.requests("w")) == written.written < CAPACITY
    assert all(length <= 2 * MiB for _, _, length in scene.vddk.requests("w"))
    assert all(offset % 512 == length % 512 == 0 for _, offset, length in scene.vddk.requests("w"))
    assert scene.vddk.requests("f")
    checked = scene.check(written)
    assert (checked.blocks, checked.read_by) == (5, "vddk")
    assert scene.lab.warnings == scene.hub.warnings == []


@pytest.mark.parametrize("fail", ["write:14011:3", "flush:14011:2"], ids=["write", "flush"])
def test_a_session_that_is_lost_while_writing_is_made_again_and_it_resumes_there(scene: Scene, fail: str) -> None:
    scene.vddk.expect(fail=fail)
    with pytest.raises(SendenseError, match='cannot be written with VDDK: it says "The connection was lost"') as lost:
        scene.write()
    assert lost.value.transient
    scene.vddk.expect(fail="")
    before = len(scene.vddk.requests("w"))
    scene.check(scene.write())
    assert scene.is_equal()
    assert min(offset for _, offset, _ in scene.vddk.requests("w")[before:]) > 0


def test_an_esxi_host_without_buffers_gets_fewer_disks_at_once(scene: Scene) -> None:
    scene.vddk.expect(fail="write:5:2")
    with pytest.raises(SendenseError, match="has no NFC buffers left") as out:
        scene.write()
    assert out.value.transient
    disks: OpenDisks = scene.lab.shared[("open VDDK disks", "prod")]
    assert disks.limit("esxi.cluster1.example") == 1
    scene.vddk.expect(fail="")
    scene.check(scene.write())


def test_a_full_datastore_is_said_in_words_that_help(scene: Scene) -> None:
    scene.vddk.expect(fail="write:8:2")
    with pytest.raises(SendenseError, match="make room on datastore ds1 and run the same command again") as no_room:
        scene.write()
    assert not no_room.value.transient


def test_a_disk_that_something_else_writes_is_waited_for(scene: Scene) -> None:
    scene.vddk.expect(fail="open:15")
    with pytest.raises(SendenseError, match="a backup, or the VM itself, has the disk open") as busy:
        scene.write()
    assert busy.value.transient


def test_what_cannot_be_opened_at_all_is_permanent(scene: Scene) -> None:
    scene.vddk.expect(thumbprint="00:11")
    with pytest.raises(SendenseError, match="mostly a wrong thumbprint") as wrong:
        scene.write()
    assert not wrong.value.transient


def test_a_node_host_behind_ssh_writes_it_too(scene: Scene, ssh_host: Host) -> None:
    scene.lab.host = ssh_host
    scene.check(scene.write())
    assert scene.is_equal()
    assert scene.lab.warnings == []
