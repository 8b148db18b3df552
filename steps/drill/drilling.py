"""A drill that was planned, carried out: the point's disks are served for reading only, its machine is booted
and watched, and what was seen is recorded with the point."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from datetime import UTC, datetime

from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot.request import BootRequest
from steps.drill import keeping, words
from steps.nbd.image_server import serve
from steps.qemu import nbd_server
from steps.repository import layout, verification_records
from steps.repository.verification_records import Drill
from steps.values.drill import Drilled, Evidence
from steps.values.planned_drill import PlannedDrill
from steps.values.stored_point import StoredDisk
from steps.watch.boot import boot
from steps.watch.seen import Seen

CONNECTIONS = 2
"""ssh processes for each disk that is read on another machine than it is on: a guest reads little at a
time."""


BESIDES = 384 * MiB
"""Memory that QEMU takes beside the guest's: up to 256 MiB of translated code, see
`steps.boot.accelerator.TRANSLATED`, and its devices and firmware. A small Linux took 109 MiB in all with
BIOS, and 125 with EFI (``python -m tests.bench.drilling``)."""


def drill(ctx: Context, planned: PlannedDrill) -> Drilled:
    """Raises BootError where it could not be booted or watched, NoMemoryError, NoRoomError, and what `serve`
    does, all of which record nothing; PointGoneError."""
    with ctx.taking(planned.host, **takes(planned)), ctx.scope():
        begun = datetime.now(UTC)
        seen = boot(ctx, ctx.host(planned.host), _request(ctx, planned))
    here = None if seen.picture is None else ctx.picture(seen.picture)
    found = _record(ctx, planned, begun, seen)
    host, point = _repository_host(ctx, planned), planned.point.path
    if not verification_records.can_be_written(host, point):
        ctx.warn(verification_records.unrecorded(host, point))
        return told(planned, found, here)
    return told(planned, keeping.keep(host, point, found, seen.picture, seen.serial), here)


def takes(planned: PlannedDrill) -> dict[str, int]:
    """Bytes of its host's memory and disk, as `Context.taking` and `Context.shortfall` count them."""
    return {"memory": planned.machine.memory + BESIDES, "disk": planned.limits.overlay}


def not_made(
    ctx: Context, planned: PlannedDrill | None, host: Host, point: str, error: SendenseError
) -> None:
    """Records that the point in the directory `point` was to be drilled, and what kept it from that."""
    record = Drill(
        at=datetime.now(UTC),
        verdict="undecided",
        why=error.message,
        host="" if planned is None else planned.host,
        accelerator=None,
        run=ctx.run.id,
    )
    keeping.keep(host, point, record, None, b"")


def finished(ctx: Context, planned: PlannedDrill) -> Drilled | None:
    """What came of a drill of this very run, which was killed before it could say so."""
    known = verification_records.drill(_repository_host(ctx, planned), planned.point.path)
    return None if known is None or known.run != ctx.run.id else told(planned, known, None)


def told(planned: PlannedDrill, record: Drill, picture_here: str | None) -> Drilled:
    """What the record says."""

    def beside(name: str | None) -> str | None:
        return None if name is None else posixpath.join(layout.marks(planned.point.path), name)

    return Drilled(
        source=planned.source,
        path=planned.point.path,
        repository_host=planned.point.host,
        host=record.host,
        verdict=record.verdict,
        why=record.why,
        evidence=tuple(Evidence(**one.model_dump()) for one in record.evidence),
        accelerator=record.accelerator,
        accelerator_why=record.accelerator_why,
        firmware=record.firmware,
        qemu=record.qemu,
        seconds=record.seconds,
        written=record.written,
        changes=record.changes,
        not_tried=record.not_tried,
        picture=beside(record.picture),
        serial_log=beside(record.serial_log),
        picture_here=picture_here,
    )


def _repository_host(ctx: Context, planned: PlannedDrill) -> Host:
    return ctx.host(planned.point.host)


def _request(ctx: Context, planned: PlannedDrill) -> BootRequest:
    wanted = {disk.key for disk in planned.machine.disks}
    return BootRequest(
        machine=planned.machine,
        disks=_readable(ctx, planned, [disk for disk in planned.point.disks if disk.key in wanted]),
        expect=planned.expect,
        limits=planned.limits,
        accelerator=planned.accelerator,
        guest_address=planned.guest_address,
        within=planned.within,
    )


def _readable(ctx: Context, planned: PlannedDrill, disks: Sequence[StoredDisk]) -> dict[int, str]:
    """The NBD URI of each on the host that boots it, by its key; good until `ctx` ends. Raises
    LendingForbidden."""
    there, host = _repository_host(ctx, planned), ctx.host(planned.host)
    served = {disk.key: serve(ctx, there, disk.image, "read-only", CONNECTIONS) for disk in disks}
    if planned.host == planned.point.host:
        return {key: one.there for key, one in served.items()}
    # This machine reaches both; where they are the same host under two names, the data makes a detour.
    exports = [nbd_server.parsed(one.uris[0]) for one in served.values()]
    sockets = ctx.closing.enter_context(host.lend([str(socket) for socket, _ in exports]))
    uris = [nbd_server.uri(socket, export) for socket, (_, export) in zip(sockets, exports, strict=True)]
    return dict(zip(served, uris, strict=True))


def _record(ctx: Context, planned: PlannedDrill, begun: datetime, seen: Seen) -> Drill:
    return Drill(
        at=begun,
        verdict=seen.verdict,
        why=seen.why,
        evidence=tuple(verification_records.Seen(**one.model_dump()) for one in seen.evidence),
        host=planned.host,
        accelerator=seen.accelerator,
        accelerator_why=seen.accelerator_why,
        firmware=seen.firmware,
        qemu=seen.qemu,
        seconds=seen.seconds,
        written=seen.written,
        changes=tuple(change.sentence for change in planned.machine.changes if change.kind != "kept"),
        not_tried=words.not_tried(planned),
        run=ctx.run.id,
    )
