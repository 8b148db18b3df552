"""What a guest writes has a bound that holds, and reaches nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.base.units import GiB, MiB
from runner.hosts.files import NoSpaceError
from runner.hosts.local import LocalHost
from steps.boot import overlays
from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.boot.start import start
from steps.watch.resume import resume
from tests.eventually import eventually
from tests.guests.boot_sectors import disk, sector
from tests.hub import Hub
from tests.steps.boot.machines import CAPACITY, OVERLAY, machine, needs_qemu, one_disk, opened, qemu, request


def test_one_disk_has_all_that_is_allowed():
    assert overlays.shares(machine(1), 8 * GiB) == {2000: 8 * GiB}


@pytest.mark.parametrize("disks", [2, 3, 7, 60])
def test_the_disk_that_boots_has_half_and_the_others_share_the_rest(disks: int):
    found = overlays.shares(machine(disks), 8 * GiB)
    assert found[2000] == 4 * GiB
    assert len(set(found.values())) <= 2, "the others have the same"
    assert 8 * GiB - disks * 64 * 1024 < sum(found.values()) <= 8 * GiB


def test_the_disk_that_boots_is_the_firmwares_first():
    found = machine(3)
    swapped = [one.model_copy(update={"boot": {2001: 0, 2000: 1}.get(one.key)}) for one in found.disks]
    assert overlays.shares(found.model_copy(update={"disks": tuple(swapped)}), 8 * GiB)[2001] == 4 * GiB


def test_too_little_for_so_many_disks_is_said_before_anything_is_started():
    with pytest.raises(BootError, match="too little for 60 disks: raise `overlay` of the limits to 472"):
        overlays.shares(machine(60), 64 * MiB)
    assert overlays.shares(machine(60), 472 * MiB)


def test_a_machine_without_disks_has_no_overlays(hub: Hub):
    assert overlays.shares(machine(0), OVERLAY) == {}
    overlays.make(hub.host, hub.root, machine(0), {})


@needs_qemu
@pytest.mark.parametrize("disks", [1, 7])
def test_no_disk_takes_more_than_its_share_however_much_is_written(hub: Hub, tmp_path: Path, disks: int):
    source = disk(tmp_path / "source.raw", sector("hangs"), CAPACITY)
    of = machine(disks)
    ctx = hub.context()
    with start(ctx, ctx.host("hub"), request(of, {one.key: str(source) for one in of.disks})) as running:
        for one in of.disks:
            fill(running, one.key)
        assert "No space left on device" in running.child.stderr()
        files = [path.stat() for name, path in opened(qemu(running)).items() if ".qcow2" in name]
    assert sorted(file.st_size for file in files) == sorted(overlays.shares(of, OVERLAY).values())
    assert len(files) == disks
    assert OVERLAY * 0.95 < sum(file.st_blocks * 512 for file in files) <= OVERLAY, "they are full"


def fill(running: Running, key: int) -> None:
    """As the disk's controller would."""
    for at in range(CAPACITY // MiB):
        write = f'qemu-io -d drive-{key} "write -P 1 {at}M 1M"'
        running.monitor.execute("human-monitor-command", **{"command-line": write})


@needs_qemu
@pytest.mark.parametrize("controller", ["pvscsi", "ich9-ahci", "nvme"])
def test_a_guest_that_fills_its_overlay_is_told_of_and_its_source_is_untouched(hub: Hub, tmp_path: Path, controller):
    source = disk(tmp_path / "source.raw", sector("writes", "done"), CAPACITY)
    before = source.read_bytes()
    ctx = hub.context()
    of = machine(controller=controller)
    with start(ctx, ctx.host("hub"), request(of, {2000: str(source)})) as running:
        resume(running, (), ctx.stop)
        told = []

        def full() -> bool:
            told.extend(running.monitor.events())
            return any(event.name == "BLOCK_IO_ERROR" for event in told)

        assert eventually(full, 60)
        found = next(event for event in told if event.name == "BLOCK_IO_ERROR")
        assert found.data["nospace"] is True
        assert found.data["node-name"] == "disk-2000"
        descriptor = opened(qemu(running))[str(source)].name
        flags = Path(f"/proc/{qemu(running)}/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    assert source.read_bytes() == before


@needs_qemu
def test_a_source_that_another_process_writes_to_is_not_booted(hub: Hub, tmp_path: Path):
    source = disk(tmp_path / "source.raw", sector("hangs"), CAPACITY)
    ctx = hub.context()
    argv = ("qemu-nbd", "--persistent", f"--socket={tmp_path}/nbd", "--format=raw", str(source))
    writer = LocalHost().popen(argv)
    try:
        assert eventually(lambda: (tmp_path / "nbd").exists())
        with pytest.raises(BootError, match="lock"), start(ctx, ctx.host("hub"), one_disk(source)):
            raise AssertionError("it was started")
    finally:
        writer.stop()


@needs_qemu
def test_a_file_system_without_room_for_it_is_named(hub: Hub, small: Path):
    with (small / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, os.statvfs(small).f_bavail * 4096)
    with pytest.raises(NoSpaceError, match=str(small)):
        overlays.make(hub.host, str(small), machine(), {2000: OVERLAY})
