"""The open-source step with VDDK: nbdkit's real plugin on a stand-in for VMware's library, at the simulator's certificate."""

from __future__ import annotations

import subprocess
from typing import Any

from runner.units import MiB
from steps.snapshot import SnapshotTaken
from tests.sshd import ssh_host, sshd
from tests.vcenter import Lab, Starts, disk, machine, vcenters
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["ssh_host", "sshd", "vddk", "vddk_distribution"]

start_vcenter = vcenters

PIECES = {"pieces": [{"offset": 0, "length": 512, "seed": 1}, {"offset": -512, "length": 512, "seed": 2}]}
SPARSE = disk(2000, 0, size="3 MiB + 512 B", content=PIECES)
OTHER = disk(2001, 1, size="2 MiB", content={"pattern": 8})


def prepared(lab: Lab, vddk: Vddk, **changes: str) -> tuple[Any, SnapshotTaken]:
    found = lab.discover()
    taken = lab.snapshot(found)
    vddk.expect_lab(lab, taken.moref, found.vm.moref)
    vddk.expect(**changes)
    return found, taken


def read_all(uri: str) -> bytes:
    done = subprocess.run(["nbdcopy", uri, "-"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def holes(uri: str) -> int:
    """Bytes that the source says read as zeroes."""
    done = subprocess.run(["nbdinfo", "--map", "--totals", uri], capture_output=True, timeout=60, check=True, text=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines() if "hole,zero" in line)


def test_bytes_and_holes_read_through_vddk_are_those_of_the_disks_file(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[SPARSE, OTHER]))
    found, taken = prepared(lab, vddk, config="vixDiskLib.nfcAio.Session.BufCount=4")
    for key in (2000, 2001):
        with lab.source(found, taken, key, vddk=vddk.options) as opened:
            source = opened.source
            assert (source.transport, source.why) == ("vddk", "VDDK 8 is on host local")
            (uri,) = source.uris
            assert read_all(uri) == lab.simulator.disk_file("pgtest1", key).read_bytes()
            assert source.extents
            assert holes(uri) == (3 * MiB - 64 * 1024 if key == 2000 else 0)
