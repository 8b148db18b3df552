"""A disk of a restore point is written into a new disk of a VM, and read back: what is written, what is not, and what a
difference leads to. The disk is served as VDDK serves one: without zeroing, and without extents where a server has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from steps.copy.endpoint import RequestFailed
from steps.restore.check_vm_disk import CheckVmDisk, CheckVmDiskIn, CheckVmDiskLive, VmDiskDiffersError
from steps.restore.open_point import OpenPoint, OpenPointIn
from steps.restore.point_copy import PointDamagedError
from steps.restore.serve_image import ServeImage, ServeImageIn
from steps.restore.write_disk import SwappedDisksError, WriteDisk, WriteDiskIn, WriteDiskLive
from steps.values.created_vm import CreatedDisk, CreatedVm
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskChecked, VmDiskServing, VmDiskWritten
from tests.chains import Reference, full, incremental
from tests.hub import Hub, disk
from tests.nbd_servers import Servers, raw

CAPACITY = 6 * MiB + 512
FILE = "[ds1] pgtest1/pgtest1.vmdk"


@dataclass
class Restoring:
    """One disk, of an incremental, into the sparse file `disk`."""

    hub: Hub
    servers: Servers
    point: Reference
    stored: StoredDisk
    disk: Path
    log: Path

    @property
    def vm(self) -> CreatedVm:
        made = CreatedDisk(key=2000, new_key=2001, backing_uuid="6000C29a-new", file=FILE, capacity=CAPACITY)
        return CreatedVm(
            vcenter="prod",
            moref="vm-99",
            instance_uuid="5013e3a5-0000-4a5e-8b32-000000000001",
            name="pgtest1 (restoring)",
            datacenter="DC1",
            mark="{}",
            vmx_file="[ds1] pgtest1/pgtest1.vmx",
            disks=(made,),
        )

    def into(self, *filters: str, extents: bool = False, read_only: bool = False) -> VmDiskServing:
        names = ("log", *filters, "nozero", *(() if extents else ("noextents",)))
        options = [f"--filter={name}" for name in names] + (["--readonly"] if read_only else [])
        server = self.servers.nbdkit(*options, "file", str(self.disk), f"logfile={self.log}", "logappend=true")
        return VmDiskServing(
            vm="vm-99",
            disk_key=2000,
            file=FILE,
            capacity=CAPACITY,
            transport="vddk",
            uris=(server.uri,),
            read_only=read_only,
            extents=extents,
        )

    def into_a_disk_that_fails(self) -> VmDiskServing:
        """Where something beyond its first 4 MiB is written."""
        at, path = 4 * MiB, self.disk
        server = self.servers.nbdkit(
            "--filter=nozero",
            "eval",
            f"get_size=stat -c %s {path}",
            f"pread=dd if={path} iflag=skip_bytes,count_bytes,fullblock skip=$4 count=$3 status=none",
            f"pwrite=[ $4 -lt {at} ] || {{ echo EIO >&2; exit 1; }}; "
            f"dd of={path} conv=notrunc oflag=seek_bytes seek=$4 status=none",
            "flush=true",
            "can_write=true",
            "can_flush=true",
        )
        return self.into().model_copy(update={"uris": (server.uri,)})

    def source(self) -> Serving:
        ctx = self.hub.context()
        self.hub.stack.enter_context(ctx.closing)
        inputs = ServeImageIn.model_validate({"image": self.stored.image, "connections": 1})
        return ServeImage().run(ctx, inputs, ServeImage.Live())

    def write(self, into: VmDiskServing | None = None, *, window: int = 256 * MiB) -> VmDiskWritten:
        inputs = WriteDiskIn(vm=self.vm, disk=self.stored, window=window)
        live = WriteDiskLive(source=self.source(), into=into or self.into())
        return WriteDisk().run(self.hub.context(), inputs, live)

    def check(self, written: VmDiskWritten | None, view: VmDiskServing | None = None) -> VmDiskChecked:
        inputs = CheckVmDiskIn(vm=self.vm, disk=self.stored, written=written)
        live = CheckVmDiskLive(view=view or self.into(read_only=True))
        return CheckVmDisk().run(self.hub.context(), inputs, live)

    def moved(self, verb: str) -> list[tuple[int, int]]:
        """(offset, length) of the requests of that verb so far, without those of handshakes."""
        found = re.findall(rf" {verb} id=\d+ offset=0x([0-9a-f]+) count=0x([0-9a-f]+) ", self.log.read_text())
        return sorted((int(offset, 16), int(count, 16)) for offset, count in found)

    def bytes_moved(self, verb: str) -> int:
        return sum(length for _, length in self.moved(verb))

    def is_equal(self) -> bool:
        return self.disk.read_bytes() == self.point.disks[2000].read_bytes()


@pytest.fixture
def restoring(hub: Hub, tmp_path: Path) -> Iterator[Restoring]:
    first = full(hub, tmp_path / "references", disk(2000, CAPACITY))
    point = incremental(first, tmp_path / "references", seed=1)
    found = OpenPoint().run(hub.context(), OpenPointIn(repository="main", point=point.point.name), OpenPoint.Live())
    with Servers() as servers:
        yield Restoring(hub, servers, point, found.disks[0], raw(tmp_path / "new.raw", CAPACITY), tmp_path / "log")


def test_a_new_disk_gets_every_byte_of_content_and_no_zero(restoring: Restoring):
    written = restoring.write()
    assert restoring.is_equal()
    content = restoring.point.disks[2000].read_bytes()
    parts = {at // (64 * KiB) for at in range(0, CAPACITY, 512) if any(content[at : at + 512])}
    assert {offset // (64 * KiB) for offset, _ in restoring.moved("Write")} <= parts
    assert restoring.bytes_moved("Write") == written.written <= len(parts) * 64 * KiB
    assert restoring.moved("Extents") == [], "nobody asks VDDK what is known"
    checked = restoring.check(written)
    assert (checked.blocks, checked.read, checked.read_by) == (7, 7, "vddk")


def test_requests_are_of_whole_sectors(restoring: Restoring):
    restoring.write()
    assert all(offset % 512 == 0 and length % 512 == 0 for offset, length in restoring.moved("Write"))


def test_of_a_disk_that_knows_its_holes_only_what_was_written_is_read_back(restoring: Restoring):
    written = restoring.write()
    checked = restoring.check(written, restoring.into(extents=True, read_only=True))
    assert checked.blocks == 7
    assert 0 < checked.read < 7
    (statement,) = CheckVmDisk().report(checked).statements
    assert "all 7 blocks of 1 MiB were read back from vSphere with VDDK" in statement.text
    assert f"({7 - checked.read} blocks of them were never written, says vSphere)" in statement.text


def spoil(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x99" * 512)


@pytest.mark.parametrize("offset", [0, 2 * MiB, CAPACITY - 512], ids=["content", "hole", "tail"])
def test_a_difference_is_named_and_only_it_is_written_again(restoring: Restoring, offset: int):
    written = restoring.write()
    spoil(restoring.disk, offset)
    with pytest.raises(VmDiskDiffersError, match=f"does not match its digest at offset {offset // MiB * MiB}: ") as bad:
        restoring.check(written)
    assert bad.value.exit_code == 5
    assert bad.value.invalidates == ("written",)
    restoring.log.unlink()
    restoring.check(restoring.write())
    assert restoring.is_equal()
    assert restoring.moved("Write") == [(offset // (64 * KiB) * 64 * KiB, min(64 * KiB, CAPACITY - offset))]


def test_a_vm_that_was_imported_is_made_again(restoring: Restoring):
    with pytest.raises(VmDiskDiffersError, match="the same command, which makes the VM again") as bad:
        restoring.check(None)
    assert bad.value.invalidates == ("vm",)


def test_what_stands_in_the_point_otherwise_than_it_was_read_is_not_called_restored(restoring: Restoring):
    image = Path(restoring.stored.image.images[-1])
    content = image.read_bytes()
    assert bytes([99]) * 4096 in content
    image.write_bytes(content.replace(bytes([99]) * 4096, bytes([98]) * 4096))
    with pytest.raises(PointDamagedError) as damaged:
        restoring.write()
    assert damaged.value.exit_code == 5
    image.write_bytes(content)
    restoring.log.unlink()
    restoring.write()
    assert restoring.is_equal()
    assert restoring.bytes_moved("Read") >= CAPACITY, "what it has is not known any more"


def test_it_resumes_inside_the_disk(restoring: Restoring):
    with pytest.raises(RequestFailed):
        restoring.write(restoring.into_a_disk_that_fails(), window=MiB)
    restoring.write(window=MiB)
    assert restoring.is_equal()
    assert min(offset for offset, _ in restoring.moved("Write")) >= 2 * MiB


def test_a_ledger_that_the_disk_belies_has_the_disk_read_whole(restoring: Restoring):
    """Somebody wrote to it: what it holds beside that is not known either."""
    with pytest.raises(RequestFailed):
        restoring.write(restoring.into_a_disk_that_fails(), window=MiB)
    spoil(restoring.disk, 512)
    spoil(restoring.disk, 5 * MiB)
    restoring.write(window=MiB)
    assert restoring.is_equal()
    assert any("the ledger of this disk is not trusted" in warning for warning in restoring.hub.warnings)


def test_what_is_open_must_be_the_disk_that_is_meant(restoring: Restoring):
    into = restoring.into()
    for wrong, why in (
        ({"disk_key": 2001}, "is open as disk 2001"),
        ({"file": "[ds1] other/other.vmdk"}, r"\[ds1\] other/other.vmdk of VM vm-99 is open as disk 2000"),
        ({"vm": "vm-98"}, "of VM vm-98 is open as disk 2000"),
        ({"read_only": True}, "is open for reading only"),
        ({"capacity": CAPACITY + 512}, f"its export {CAPACITY + 512}"),
    ):
        with pytest.raises(SwappedDisksError, match=f"{why}; nothing was written"):
            restoring.write(into.model_copy(update=wrong))
    assert restoring.moved("Write") == []
