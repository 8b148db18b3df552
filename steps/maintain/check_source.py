"""check-source: what the VM did not write since a restore point is compared with the digests made when that
was read."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import DifferenceError, StateError
from runner.base.model import JobModel, SectionName
from runner.events.result import Amount, Result
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.changes import Changes
from steps.copy.differences import Differences, count, differences
from steps.copy.digests import Digests
from steps.copy.extents import BLOCK, gaps
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.points import stored
from steps.repository import identities, manifest, verification_records
from steps.repository.identities import Adoption
from steps.repository.manifest import Manifest, PointDisk
from steps.repository.section import locate
from steps.repository.verification_records import Comparison, DiskCompared
from steps.source.disk_file import source_name
from steps.values.point_checked import DIFFERENCES, PointChecked
from steps.values.snapshot import SnapshotTaken
from steps.values.source import Source
from steps.values.source_checked import SourceChecked
from steps.vsphere import cbt
from steps.vsphere.client import vcenter
from steps.vsphere.errors import TrackingError, TrackingLost, TrackingOff
from steps.vsphere.inventory import VM


class CheckSourceIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository that has the point, an entry of `repositories`"""
    checked: PointChecked
    """The point, which is whole by itself"""
    vm: VM
    """The VM that it is a point of"""
    snapshot: SnapshotTaken
    """The moment of the VM that is compared with"""


class CheckSourceLive(JobModel):
    sources: tuple[Source, ...]
    """The disks of that moment"""


class SourceDiffersError(DifferenceError):
    def __init__(self, path: str, host: Host, disks: tuple[DiskCompared, ...]) -> None:
        said = "; ".join(_difference(disk) for disk in disks if not disk.passed)
        super().__init__(
            f"{path} on {host.name} differs from the VM where changed block tracking says that nothing was "
            f"written since: {said}; either tracking missed a write or the point was read wrongly: the "
            "point is no longer trusted, and the next backup of that disk is a full"
        )


class CheckSource(Step[CheckSourceIn, CheckSourceLive, SourceChecked]):
    """Compares a restore point with the VM as it is now. Of each disk, all blocks are read from a new
    snapshot that changed block tracking says were not written since the point, and compared with the point's
    digests; what was written is counted. A disk whose tracking does not reach back to the point is named and
    not compared. What comes of it is recorded beside the manifest: what differed stands until those very
    blocks were compared again and are equal."""

    name = "check-source"
    lifetime = Lifetime.KEEP
    In = CheckSourceIn
    Live = CheckSourceLive
    Out = SourceChecked
    tools = (nbd.LIBNBD,)
    example = (
        'uses: check-source, with: {repository: main, checked: "${{ check }}", vm: "${{ discover.vm }}", '
        'snapshot: "${{ snapshot }}", sources: "${{ source }}"}'
    )
    errors = (
        "a block differs, or did before and could not be compared again: disk and offset are named, the "
        "point is marked and no longer trusted (exit code 5)",
        "the point is of another VM",
        "the vCenter's answer for the changed areas contradicts itself",
    )

    def check(
        self, ctx: Context, inputs: CheckSourceIn, recorded: SourceChecked | None
    ) -> SourceChecked | None:
        return recorded

    def run(self, ctx: Context, inputs: CheckSourceIn, live: CheckSourceLive) -> SourceChecked:
        host, root = locate(ctx, inputs.repository)
        path = inputs.checked.path
        made = manifest.read(host, path)
        if made is None:
            raise StateError(f"{path} on {host.name} no longer has a manifest")
        adopted = identities.read(host, posixpath.dirname(path))
        _refuse_another_vm(made, inputs.vm, adopted)
        strange = identities.why_not_believed(made.point, made.vm, inputs.vm, adopted)
        begun = datetime.now(UTC)
        sources = {source.disk_key: source for source in live.sources}
        seen = [_disk(ctx, inputs, root, disk, sources.get(disk.key), begun, strange) for disk in made.disks]
        # Only now: all of that took hours, and what another comparison found meanwhile stands as well.
        before = verification_records.read(host, path).against_source
        known = {disk.key: None if before is None else before.disk(disk.key) for disk in made.disks}
        disks = tuple(_with_unseen(disk, written, known[disk.key]) for disk, written in seen)
        found = Comparison(disks=tuple(disk.upon(known[disk.key]) for disk in disks))
        verification_records.write(host, path, found)
        if not found.passed:
            raise SourceDiffersError(path, host, found.disks)
        return SourceChecked(path=path, host=host.name, disks=disks, at=begun)

    def report(self, out: SourceChecked) -> StepReport:
        compared = sum(disk.compared for disk in out.disks)
        changed = sum(disk.changed for disk in out.disks)
        cells = {
            "As in the VM": Cell(value=compared, unit="count"),
            "Changed": Cell(value=changed, unit="count"),
        }
        text = (
            f"{out.path} on {out.host} against the VM: {compared} blocks of 1 MiB that were not written "
            f"since are equal; {changed} that may have been were not compared."
        )
        left_out = [
            Statement(
                about="noted", text=f"{posixpath.basename(out.path)}: {_left_out(disk.key, disk.why_not)}."
            )
            for disk in out.disks
            if disk.why_not
        ]
        return StepReport(
            rows=(Row(table="Points", key=posixpath.basename(out.path), cells=cells),),
            statements=(Statement(about="verified", text=text), *left_out),
            result=Result(
                act="compare",
                subject="against the VM" if compared else "against the VM nothing could be compared",
                noun="comparison with the VM",
                parts=(
                    Amount(value=compared, noun="block", label="equal", always=False),
                    Amount(value=changed, noun="block", label="written since", always=False),
                ),
                bytes=compared * BLOCK,
            ),
        )


def _refuse_another_vm(made: Manifest, vm: VM, adopted: Sequence[Adoption]) -> None:
    known = adopted[-1].new if adopted else made.vm
    if not identities.is_known(known, vm):
        raise StateError(
            f"{made.point} is of VM {made.vm.name} (instance uuid {known.instance_uuid} in vCenter "
            f"{known.vcenter_uuid}), not of {vm.name} ({vm.instance_uuid} in {vm.vcenter_uuid}), so they are "
            "not compared"
        )


def _disk(
    ctx: Context,
    inputs: CheckSourceIn,
    root: str,
    disk: PointDisk,
    source: Source | None,
    begun: datetime,
    strange: str | None,
) -> tuple[DiskCompared, Sequence[tuple[int, int]]]:
    """What is found now, and the ranges that the VM may have written, which are not compared. `strange`: why
    it cannot be asked for them."""
    blank = DiskCompared(key=disk.key, at=begun, blocks=-(-disk.capacity // BLOCK), compared=0, changed=0)
    try:
        if strange is not None:
            raise TrackingLost(strange)
        changes = _changes(ctx, inputs, disk)
        if source is None:
            raise TrackingLost("it is not read from the VM's new snapshot")
    except TrackingError as error:
        ctx.warn(f"{inputs.checked.path}: {_left_out(disk.key, error.message)}")
        return blank.model_copy(update={"why_not": error.message}), ()
    host, path = ctx.host(inputs.checked.host), inputs.checked.path
    (found,) = stored.read(host, root, path, (disk.key,)).disks
    with ExitStack() as stack:
        local = ctx.scratch / f"{found.point}-{disk.key}"
        digests = stack.enter_context(stored.receive_digests(host, found, local))
        stack.callback(local.unlink)
        written = changes.blocks()
        seen = _compare(ctx, source, digests, written, f"{found.point} disk {disk.key}")
    update = {"compared": seen.compared, "changed": count(written), "different": seen.offsets}
    return blank.model_copy(update=update), written


def _with_unseen(
    now: DiskCompared, written: Sequence[tuple[int, int]], before: DiskCompared | None
) -> DiskCompared:
    """With the blocks that differed `before` and were not compared again: that the VM wrote them since says
    nothing of what the point has. What began to be compared after this did is the later word on all of its
    blocks."""
    if before is None or now.why_not is not None:
        return now
    unseen = (
        offset
        for offset in before.different
        if before.at >= now.at or any(start <= offset < start + length for start, length in written)
    )
    return now.model_copy(update={"different": tuple(sorted({*now.different, *unseen})[:DIFFERENCES])})


def _changes(ctx: Context, inputs: CheckSourceIn, disk: PointDisk) -> Changes:
    """What was written since the point. Raises TrackingError with the reason why that is unknown."""
    snapshot, since = inputs.snapshot, disk.change_id
    now = next((frozen for frozen in snapshot.disks if frozen.key == disk.key), None)
    if now is None:
        raise TrackingLost("the VM's new snapshot does not have it")
    if now.backing_uuid != disk.backing_uuid:
        raise TrackingLost("it is another disk now")
    if now.capacity != disk.capacity:
        raise TrackingLost(f"it has {now.capacity} bytes, in the point it had {disk.capacity}")
    if since is None:
        raise TrackingOff("changed block tracking was off when the point was made")
    if now.change_id is None:
        raise TrackingOff("changed block tracking is off for it")
    if now.rolled_back != disk.rolled_back:
        raise TrackingLost("a rollback wrote to it since, which tracking need not have seen")
    if why := cbt.why_lost(since, now.change_id):
        raise TrackingLost(why)
    client = vcenter(ctx, snapshot.vcenter)
    return Changes(
        cbt.areas(client, snapshot.vm, snapshot.moref, disk.key, disk.capacity, since), disk.capacity
    )


def _compare(
    ctx: Context, source: Source, digests: Digests, written: Sequence[tuple[int, int]], label: str
) -> Differences:
    """Of the blocks outside of `written`."""
    with NbdEndpoint(source.uris, source_name(source.disk_key), stop=ctx.stop) as endpoint:
        return differences(
            endpoint,
            digests,
            stop=ctx.stop,
            most=DIFFERENCES,
            ranges=gaps(digests.capacity, written),
            on_progress=lambda now: ctx.progress(label, "compare", **asdict(now)),
        )


def _left_out(key: int, why: str) -> str:
    return f"disk {key} was not compared with the VM: {why}"


def _difference(disk: DiskCompared) -> str:
    return (
        f"disk {disk.key}: {len(disk.different)} of {disk.blocks} blocks of 1 MiB, the first at offset "
        f"{disk.different[0]}"
    )
