"""Disks are read back under export leases: in turns, to the last block, from the simulated ESXi host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.copy.digests import Digests, digest_of
from steps.restore.check_vm_disk import CheckVmDisk, CheckVmDiskIn, CheckVmDiskLive, VmDiskDiffersError
from steps.restore.open_vm_disk import OpenVmDisk, OpenVmDiskIn
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskChecked
from tests.marked_vms import marked, off, stored
from tests.vcenter import Lab, Starts, disk, vcenters

start_vcenter = vcenters

PIECES = {"pieces": [{"offset": 0, "length": 512, "seed": 1}, {"offset": -512, "length": 512, "seed": 2}]}
DISKS = (
    disk(2000, 0, size="3 MiB + 512 B", datastore="vsan1", content=PIECES),
    disk(2001, 1, size="2 MiB", datastore="vsan1", content={"pattern": 8}),
)


def of_point(lab: Lab, key: int, file: Path) -> StoredDisk:
    """As a backup of the disk as it is now would have it."""
    content = file.read_bytes()
    path = lab.scratch / f"{key}.blake3"
    with Digests.create(path, len(content)) as digests:
        for at in range(0, len(content), MiB):
            if any(block := content[at : at + MiB]):
                digests.put(at, digest_of(block))
        digest = digests.digest()
    return stored(key, len(content)).model_copy(update={"digests": str(path), "digest": digest})


def check(lab: Lab, vm: MarkedVm, of: StoredDisk) -> VmDiskChecked:
    lab.host = LocalHost()
    ctx = lab.context(f"view-{of.key}")
    values: dict[str, Any] = {"vm": vm.to_json_value(), "disk": of.to_json_value()}
    with ctx.closing:
        inputs = OpenVmDiskIn.from_json_value({**values, "vddk": {"plugin": "/nowhere.so"}})
        view = OpenVmDisk().run(ctx, inputs, OpenVmDisk.Live())
        assert view.transport == "export"
        node = lab.context(f"check-{of.key}")
        node.scratch = lab.scratch / f"scratch-{of.key}"
        node.scratch.mkdir()
        return CheckVmDisk().run(node, CheckVmDiskIn.from_json_value(values), CheckVmDiskLive(view=view))


def test_every_block_is_compared_and_what_no_stream_has_is_zeroes(start_vcenter: Starts) -> None:
    lab = start_vcenter(off(*DISKS))
    vm = marked(lab)
    points = [of_point(lab, key, lab.simulator.disk_file("pgtest1", key)) for key in (2000, 2001)]
    with ThreadPoolExecutor() as both:  # a VM has one lease at a time
        found = list(both.map(lambda of: check(lab, vm, of), points))
    assert [(one.blocks, one.read, one.read_by) for one in found] == [(4, 2, "export"), (2, 2, "export")]
    assert lab.simulator.calls["HttpNfcLeaseComplete"] == 2


@pytest.mark.parametrize("offset", [0, 2 * MiB, 3 * MiB], ids=["content", "hole", "tail"])
def test_a_difference_is_named(start_vcenter: Starts, offset: int) -> None:
    lab = start_vcenter(off(*DISKS))
    vm = marked(lab)
    of = of_point(lab, 2000, lab.simulator.disk_file("pgtest1", 2000))
    lab.simulator.write("pgtest1", 2000, offset, b"\x99" * 512)
    with pytest.raises(VmDiskDiffersError, match=f"does not match its digest at offset {offset}: "):
        check(lab, vm, of)
