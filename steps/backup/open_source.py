"""open-source: NBD URIs on which the frozen disk can be read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.base.model import HOW, HostName, JobModel
from runner.events.check_results import good, wrong
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.nbd.growing_endpoint import most_connections
from steps.source import choice, nbdkit, nbdkit_curl
from steps.source.choice import Choice, NoTransport
from steps.source.disk_file import of_snapshot
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.snapshot import SnapshotTaken, frozen_disk
from steps.values.source import Source
from steps.vsphere.client import vcenter
from steps.vsphere.errors import WrongDisk
from steps.vsphere.inventory import Disk, FrozenDisk

__all__ = ["NoTransport", "OpenSource", "OpenSourceIn", "Source", "WrongDisk", "frozen_disk"]


class OpenSourceIn(JobModel):
    snapshot: SnapshotTaken
    """The moment that is read."""
    disk: Disk
    """Which disk of it."""
    host: Annotated[HostName, HOW] = "local"
    """Where the disk is read, near vSphere."""
    transport: Annotated[Literal["auto", "https", "vddk"], HOW] = "auto"
    """How the disk is read: `https` takes the datastore's files, `vddk` VMware's library; `auto` takes `vddk`
    where the host has it, else `https` where the disk allows it."""
    connections: Annotated[int, Field(ge=1, le=16), HOW] = 4
    """That read the disk over HTTPS at most: it begins with one, and the others come once 16 MiB were read.
    VDDK has one connection a disk."""
    vddk: Annotated[VddkOptions, HOW] = VddkOptions()
    """Where VMware's library is, and how it is to read: `libdir`, `plugin`, `transports` (nbdssl, nbd, san,
    hotadd), `compression` (none, zlib, fastlz, skipz), `nfc-host-port`."""


class OpenSource(Step[OpenSourceIn, Empty, Source]):
    """Makes one disk of the snapshot readable over NBD.

    It is read on the host that is near vSphere. The disk is taken by its key and backing uuid out of the
    snapshot's own configuration. With VDDK, one nbdkit reads it through VMware's library, which anyone who
    uses it brings; it logs in with the job's user and password, which it gets in a file that is gone once it
    runs, and a disk over what its ESXi host can serve at once waits for its turn. Over HTTPS, nbdkit reads
    its flat file from the datastore, over several connections where much is read; the session's cookie
    reaches it in a file that is rewritten after each login. TLS is verified as the job says. It ends with
    this run, however it ends."""

    name = "open-source"
    lifetime = Lifetime.PROCESS
    In = OpenSourceIn
    Out = Source
    tools = (nbdkit_curl.NBDKIT_CURL, nbdkit.NBDKIT)
    example = (
        'uses: open-source, each: {disk: "${{ discover.disks }}"}, '
        'with: {snapshot: "${{ snapshot }}", disk: "${{ disk }}", host: node}'
    )
    errors = (
        "the host has no nbdkit plugin for VDDK, or no library (what to install and to write is shown)",
        "neither transport can read the disk (both reasons are shown)",
        "the snapshot has no such disk, or one of another size or backing",
        "the disk's file is not a flat base file, so HTTPS cannot read it",
        "the datastore refuses the file (its status and the privileges it takes are shown)",
        "VDDK refuses: certificate, account, snapshot, ports, the ESXi host's buffers (its words and a "
        "remedy are shown)",
        "nbdkit ended at once (its standard error is shown)",
    )

    def run(self, ctx: Context, inputs: OpenSourceIn, live: Empty) -> Source:
        disk = frozen_disk(inputs.snapshot, inputs.disk)
        chosen = choose(ctx, inputs, disk)
        server, uris = choice.open_server(
            ctx,
            ctx.host(inputs.host),
            vcenter(ctx, inputs.snapshot.vcenter),
            of_snapshot(inputs.snapshot, disk),
            chosen,
            options=inputs.vddk,
            connections=inputs.connections,
        )
        return Source(
            snapshot=inputs.snapshot.moref,
            created=inputs.snapshot.created,
            disk_key=disk.key,
            backing_uuid=disk.backing_uuid,
            capacity=disk.capacity,
            transport=chosen.transport,
            why=chosen.why,
            uris=uris,
            # nbdkit offers base:allocation for every plugin; for curl it calls the whole disk allocated.
            extents=chosen.extents,
            wire=server.wire,
        )

    def preflight(self, ctx: Context | None, known: Known[OpenSourceIn, Source]) -> Preflight[Source]:
        if ctx is None:
            return Preflight()
        if known.inputs is None:
            return Preflight(observations=choice.observed_early(ctx, known.told))
        inputs, disk = known.inputs, frozen_disk(known.inputs.snapshot, known.inputs.disk)
        host = ctx.host(inputs.host)
        subject, looked_at = f"disk {disk.key}", f"how it can be read from host {host.name}"
        try:
            chosen = choose(ctx, inputs, disk)
        except NoTransport as error:
            return Preflight(observations=(wrong(subject, looked_at, error.message),))
        how = f"over {chosen.transport}: {chosen.why}"
        client, file = vcenter(ctx, inputs.snapshot.vcenter), of_snapshot(inputs.snapshot, disk)
        stands_on = choice.observed(ctx, host, client, file, chosen.transport, inputs.vddk)
        return Preflight(observations=(good(subject, looked_at, how), *stands_on), notes=(how,))

    def report(self, out: Source) -> StepReport:
        most = most_connections(out.wire, out.uris)
        several = f"at most {most} connections" if most > 1 else "1 connection"
        text = (
            f"Disk {out.disk_key} was read from snapshot {out.snapshot} over {out.transport}, {several}: "
            f"{out.why}."
        )
        return StepReport(statements=(Statement(about="how", text=text),))


def choose(ctx: Context, inputs: OpenSourceIn, disk: FrozenDisk) -> Choice:
    """As `choice.choose`."""
    name = f"disk {disk.key} of snapshot {inputs.snapshot.name} ({disk.file})"
    return choice.choose(ctx, ctx.host(inputs.host), inputs.transport, inputs.vddk, name, disk.why_not_flat)
