"""Restore points as a run makes them, without the copying: publish is given what transfer and verify would have said."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from blake3 import blake3
from pyVmomi import vim, vmodl

from runner.base.units import MiB
from steps.backup.publish import Publish
from steps.backup.snapshot import FrozenDisk
from steps.backup.unpublished import Unpublished
from steps.repository import layout
from steps.values.copied import Copied
from steps.values.image import Image
from steps.values.published import Published
from steps.values.snapshot import SnapshotTaken
from steps.values.verified import Verified
from steps.vsphere.inventory import VM, Disk
from steps.vsphere.names import DatastoreFile
from tests.hub import CREATED, RUN, Hub, disk, vm

SNAPSHOT = "snapshot-31"


class StandInVcenter:
    """What publish asks of a vCenter. Stands in where the test is about the repository; `test_publish` also asks a real
    one, over TLS."""

    version = "a vCenter (API 8.0.3.0)"
    answers = None
    config = vim.vm.ConfigInfo(name="pgtest1", extraConfig=[vim.option.OptionValue(key="guestinfo.k", value="secret")])

    def until(self, stop: object) -> StandInVcenter:
        return self

    def ask(self, key: object, doing: str, work: object) -> list[Any]:
        return self.call(doing, work)

    def call(self, doing: str, work: object) -> list[Any]:
        """The one property that publish reads: a snapshot's configuration."""
        entry = vmodl.DynamicProperty(name="config", val=self.config)
        return [vmodl.query.PropertyCollector.ObjectContent(propSet=[entry])]

    def download(self, datacenter: str, file: DatastoreFile) -> bytes:
        return f"{datacenter} {file}".encode()


def frozen(of: Disk) -> FrozenDisk:
    return FrozenDisk(
        key=of.key,
        backing_uuid=of.backing_uuid,
        capacity=of.capacity,
        file=f"[ds1] pgtest1/pgtest1_{of.key}.vmdk",
        datastore="ds1",
        flat=True,
        why_not_flat="",
        change_id="52 de ad be ef 00 00 00-00 00 00 00 00 00 00 01/4",
    )


def snapshot(disks: Sequence[Disk], machine: VM, **changes: Any) -> SnapshotTaken:
    return SnapshotTaken(
        vcenter=machine.vcenter,
        vm=machine.moref,
        moref=SNAPSHOT,
        name=f"sendense-{RUN}",
        created=CREATED,
        quiesced="yes",
        datacenter=machine.datacenter,
        disks=tuple(frozen(of) for of in disks),
        nvram=f"[ds1] {machine.name}/{machine.name}.nvram",
    ).model_copy(update=changes)


def verified(image: Image, **changes: Any) -> Verified:
    """Writes the digests file and the markers beside `image`, as transfer and verify do."""
    digests = Path(image.directory) / layout.digests(image.disk.key)
    digests.write_bytes(bytes(32))
    digests.chmod(0o600)
    copied = Copied(
        image=image,
        snapshot=SNAPSHOT,
        digests=str(digests),
        digest=blake3(digests.read_bytes()).hexdigest(),
        data=image.capacity // 4,
        zero=image.capacity - image.capacity // 4,
        seconds=1.5,
        moved=image.capacity // 4,
    )
    for name in layout.markers(image.disk.key):
        (Path(image.directory) / name).write_bytes(b"{}")
    blocks = -(-image.capacity // MiB)
    made = Verified(copied=copied, level="full", blocks=blocks, compared=blocks, cached=False, leaks=0, at=CREATED)
    return made.model_copy(update=changes)


def inputs(hub: Hub, *disks: Disk, machine: VM | None = None, run: str | None = None, **changes: Any) -> Unpublished:
    """With images made, and what transfer and verify leave; `changes` are of the snapshot, and `level` of every disk."""
    machine = machine or vm()
    disks = disks or (disk(),)
    level = {"level": changes.pop("level")} if "level" in changes else {}
    images = [hub.image(of, machine=machine, run=run) for of in disks]
    return Unpublished(
        vm=machine,
        snapshot=snapshot(disks, machine, **changes),
        disks=tuple(verified(image, **level) for image in images),
    )


def publish(hub: Hub, *disks: Disk, machine: VM | None = None, run: str | None = None, **changes: Any) -> Published:
    hub.share(("vcenter", "prod"), lambda: nullcontext(StandInVcenter()))
    given = inputs(hub, *disks, machine=machine, run=run, **changes)
    return Publish().run(hub.context(run=run), given, Publish.Live())
