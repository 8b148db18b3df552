from __future__ import annotations

from runner.base.units import MiB
from steps.commands.serve import lines
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage, StoredPoint


def test_what_the_printed_guest_is_like_is_said() -> None:
    image = DiskImage(
        key=2000, capacity=MiB, host="hub", images=("/r/vm/point/disk-2000.qcow2",), export="vm-disk-2000"
    )
    uri = "nbd+unix:///vm-disk-2000?socket=/tmp/s"
    served = Serving(image=image, there=uri, uris=(uri,), size=MiB, read_only=True, cached=False)
    point = StoredPoint(vm="vm", point="point", path="/r/vm/point", host="hub", disks=(), notes=())
    said = lines(point, [served])
    assert said[-1].startswith("  qemu-system-x86_64 -m 2G -snapshot -drive ")
    assert "BIOS" in said[-2] and "virtio" in said[-2] and "vm/config.json" in said[-2]
