"""What VMware's library writes to a simulated VM's disk: refused while the VM is on, seen by tracking or not."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbd
import pytest
from pyVmomi import vim

from runner.base.units import KiB, MiB
from tests.eventually import eventually
from tests.simulation import PASSWORD, USER, Client, disk, machine
from tests.vddk_library import Vddk, vddk, vddk_distribution

pytestmark = pytest.mark.slow

__all__ = ["vddk", "vddk_distribution"]

TRACKED = machine(powered_on=False, change_tracking=True, disks=[disk(2000)])


@contextmanager
def opened(client: Client, vddk: Vddk) -> Iterator[nbd.NBD]:
    """Disk 2000 of `db` at an nbdkit that opens it with the library, to write."""
    moref, thumbprint = f"moref={client.vm()._moId}", ":".join(["00"] * 20)
    root = str(client.sim.directory / "datastores")
    vddk.expect(user=USER, password=PASSWORD, thumbprint=thumbprint, vm=moref, snapshot="", transports="", root=root)
    short = tempfile.TemporaryDirectory()  # a socket's path has 107 bytes at most
    socket, ready, password = (Path(short.name) / name for name in ("nbd.sock", "pid", "password"))
    password.write_text(PASSWORD)
    login = ("server=127.0.0.1", f"user={USER}", f"password=+{password}", f"vm={moref}", f"thumbprint={thumbprint}")
    argv = [
        "nbdkit",
        "-f",
        "-U",
        str(socket),
        "-P",
        str(ready),
        vddk.plugin,
        f"libdir={vddk.libdir}",
        *login,
        "[ds1] db/db.vmdk",
    ]
    child = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        assert eventually(ready.exists)
        handle = nbd.NBD()
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.connect_unix(str(socket))
        yield handle
        handle.shutdown()
    finally:
        child.terminate()
        child.wait(20)
        short.cleanup()


def areas(client: Client, change_id: str) -> list[tuple[int, int]]:
    found = client.vm().QueryChangedDiskAreas(None, 2000, 0, change_id)
    return [(one.start, one.length) for one in found.changedArea]


def changed(client: Client) -> str:
    return str(client.disks(client.vm().config)[2000].backing.changeId)


@pytest.mark.behaviour(52, "assumed")
@pytest.mark.parametrize("seen", [pytest.param(True, id="seen"), pytest.param(False, id="not seen")])
def test_a_write_reaches_the_disk_and_tracking_sees_it_or_not(simulate: Any, vddk: Vddk, seen: bool) -> None:
    """Whether a real vCenter's tracking sees it is documented nowhere."""
    client = simulate(TRACKED)
    client.wait(client.snapshot(client.vm()).RemoveSnapshot_Task(False))
    if seen:
        client.sim.see_vddk_writes(vddk.libdir / "requests")
    before = changed(client)
    with opened(client, vddk) as handle:
        handle.pwrite(b"\x01" * 64 * KiB, MiB)
        handle.flush()
    assert client.sim.read("db", 2000, MiB, 64 * KiB) == b"\x01" * 64 * KiB
    assert vddk.requests("w") == [("db-flat.vmdk", MiB, 64 * KiB)]
    assert len(vddk.requests("f")) >= 1
    assert areas(client, before) == ([(MiB, 64 * KiB)] if seen else [])


@pytest.mark.behaviour(52, "assumed")
def test_the_disk_of_a_vm_that_is_on_does_not_open(simulate: Any, vddk: Vddk) -> None:
    client = simulate(machine(disks=[disk(2000, content={"pattern": 1})]))
    before = client.sim.disk_file("db", 2000).read_bytes()
    with pytest.raises(nbd.Error), opened(client, vddk):
        pass
    assert client.sim.disk_file("db", 2000).read_bytes() == before


@pytest.mark.behaviour(52, "assumed")
def test_a_vm_does_not_start_while_its_disk_is_written(simulate: Any, vddk: Vddk) -> None:
    client = simulate(machine(powered_on=False, disks=[disk(2000)]))
    with opened(client, vddk), pytest.raises(vim.fault.FileLocked):
        client.wait(client.vm().PowerOnVM_Task())
    client.wait(client.vm().PowerOnVM_Task())


def test_what_was_never_written_stays_a_hole(simulate: Any, vddk: Vddk) -> None:
    client = simulate(machine(powered_on=False, disks=[disk(2000, size="8 MiB")]))
    found: list[int] = []
    with opened(client, vddk) as handle:
        handle.pwrite(bytes(64 * KiB), 4 * MiB)  # zeroes are data
        handle.block_status(8 * MiB, 0, lambda context, offset, entries, error: found.extend(entries) or 0)
    assert found == [4 * MiB, nbd.STATE_HOLE | nbd.STATE_ZERO, 64 * KiB, 0, 4 * MiB - 64 * KiB, found[1]]
    assert client.sim.disk_file("db", 2000).stat().st_blocks * 512 == 64 * KiB


def test_a_write_fails_when_it_is_told_to(simulate: Any, vddk: Vddk) -> None:
    client = simulate(machine(powered_on=False, disks=[disk(2000)]))
    vddk.expect(fail="write:14010:2")
    with opened(client, vddk) as handle:
        handle.pwrite(b"1" * 512, 0)
        with pytest.raises(nbd.Error):
            handle.pwrite(b"2" * 512, 512)
    assert client.sim.read("db", 2000, 0, 1024) == b"1" * 512 + bytes(512)
