"""check-restored: the file that was restored has the bytes that were read at the source."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from runner.base.errors import DifferenceError
from runner.base.model import JobModel
from runner.events.step_report import Cell, Row, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy import nbd
from steps.copy.compare import BlockDifference, Compared, Comparison, compare
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.points.stored import receive_digests
from steps.restore.target_files import WrongPairError, is_delivered
from steps.values.checked import Checked
from steps.values.restored import Restored
from steps.values.serving import Serving
from steps.values.target import Target


class CheckRestoredIn(JobModel):
    restored: Restored
    """What was restored"""


class CheckRestoredLive(JobModel):
    view: Serving
    """A read-only view of the file"""


class RestoredDiffersError(DifferenceError):
    """A block that reads back otherwise than it was read at the source: the disk is restored again."""

    invalidates = ("restored",)

    def __init__(self, target: Target, difference: BlockDifference) -> None:
        super().__init__(
            f"disk {target.disk.key} of {target.disk.point} in {target.image.path} on {target.image.host} "
            f"does not match its digest at offset {difference.offset}: BLAKE3 {difference.expected} was "
            f"read at the source, {difference.found} is read back; run the same command to restore it again",
            details={"offset": difference.offset, "disk": target.disk.key},
        )


class CheckRestored(Step[CheckRestoredIn, CheckRestoredLive, Checked]):
    """Reads a restored file back and compares every block with its digest, which was made when the block was
    read at the source. The digests file is first compared with the digest in the point's manifest."""

    name = "check-restored"
    lifetime = Lifetime.KEEP
    In = CheckRestoredIn
    Live = CheckRestoredLive
    Out = Checked
    tools = (nbd.LIBNBD,)
    example = (
        'uses: check-restored, each: {disk: "${{ point.disks }}"}, '
        'with: {restored: "${{ restore }}", view: "${{ view }}"}'
    )
    errors = (
        "a block differs: disk, offset and both digests are named, and the disk is restored again (exit 5)",
        "the point's digests file is not the one that its manifest names (exit 5)",
    )

    def check(self, ctx: Context, inputs: CheckRestoredIn, recorded: Checked | None) -> Checked | None:
        if recorded is None:
            return None
        host, target = ctx.host(recorded.target.image.host), recorded.target
        path = target.final if is_delivered(host, target) else target.image.path
        return recorded if _state(host, path) == (recorded.size, recorded.mtime_ns) else None

    def run(self, ctx: Context, inputs: CheckRestoredIn, live: CheckRestoredLive) -> Checked:
        target, view = inputs.restored.target, live.view
        if view.image != target.image or not view.read_only:
            raise WrongPairError(target.disk, view, target.image.path)
        host = ctx.host(target.image.host)
        # Of before the comparison: a write in the middle of it then makes what was found void.
        size, mtime_ns = _state(host, target.image.path)
        compared = _compare(ctx, target, view)
        return Checked(
            target=target,
            blocks=compared.compared,
            cached=view.cached,
            size=size,
            mtime_ns=mtime_ns,
            at=datetime.now(UTC),
        )

    def report(self, out: Checked) -> StepReport:
        key = out.target.disk.key
        past = "from the host, perhaps from its page cache" if out.cached else "past the host's page cache"
        said = (
            f"Disk {key}: all {out.blocks} blocks of 1 MiB were read back {past} and equal the BLAKE3 "
            "digests made while reading the source."
        )
        return StepReport(
            rows=(Row(table="Disks", key=str(key), cells={"Verified": Cell(value="every block")}),),
            statements=(Statement(about="verified", text=said),),
        )


def _compare(ctx: Context, target: Target, view: Serving) -> Comparison:
    disk = target.disk
    name = f"{target.image.path} on {target.image.host}"
    with receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / "digests") as digests:
        try:
            with GrowingEndpoint(ctx, view.uris, view.wire, name) as endpoint:

                def progressed(now: Compared) -> None:
                    ctx.progress(f"disk {disk.key}", "verify", **asdict(now))
                    endpoint.moved(now.read, now.total - now.done)

                return compare(endpoint, digests, stop=ctx.stop, on_progress=progressed)
        except BlockDifference as difference:
            raise RestoredDiffersError(target, difference) from difference


def _state(host: Host, path: str) -> tuple[int, int]:
    """Size and time of last change; zeroes if it is gone, which no file is."""
    found = host.stat(path)
    return (found.size, found.mtime_ns) if found else (0, 0)
