"""open-source: NBD URIs on which the frozen disk can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from runner.base.model import HOW, HostName, JobModel
from runner.events.check_results import Observation, good, observe, wrong
from runner.events.step_report import Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from runner.step.tools import ToolMissing
from steps.nbd import forwards
from steps.nbd.growing_endpoint import most_connections
from steps.source import nbdkit, nbdkit_curl, nbdkit_vddk, reachability
from steps.source.https import HttpsServer
from steps.source.nbdkit_vddk import VddkOptions
from steps.source.server import SourceServer
from steps.source.vddk import VddkServer
from steps.values.snapshot import SnapshotTaken, frozen_disk
from steps.values.source import Source
from steps.vsphere import privileges
from steps.vsphere.client import vcenter
from steps.vsphere.errors import VSphereError, WrongDisk
from steps.vsphere.inventory import Disk, FrozenDisk

__all__ = ["NoTransport", "OpenSource", "OpenSourceIn", "Source", "WrongDisk", "frozen_disk"]


Transport = Literal["https", "vddk"]

PROGRAMS = {"https": nbdkit_curl.NBDKIT_CURL, "vddk": nbdkit.NBDKIT}


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


class NoTransport(VSphereError):
    pass


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
        choice = choose(ctx, inputs, disk)
        host, client = ctx.host(inputs.host), vcenter(ctx, inputs.snapshot.vcenter)
        server: SourceServer
        if choice.transport == "vddk":
            server = VddkServer(ctx, host, client, inputs.snapshot, disk, inputs.vddk)
        else:
            server = HttpsServer(ctx, host, client, inputs.snapshot, disk, inputs.connections)
        PROGRAMS[choice.transport].require(ctx, host)
        uris = server.open()
        if choice.transport == "vddk":
            ctx.uses(f"VDDK on {host.name}", str(choice.version))
        return Source(
            snapshot=inputs.snapshot.moref,
            created=inputs.snapshot.created,
            disk_key=disk.key,
            backing_uuid=disk.backing_uuid,
            capacity=disk.capacity,
            transport=choice.transport,
            why=choice.why,
            uris=uris,
            # nbdkit offers base:allocation for every plugin; for curl it calls the whole disk allocated.
            extents=choice.extents,
            wire=server.wire,
        )

    def preflight(self, ctx: Context | None, known: Known[OpenSourceIn, Source]) -> Preflight[Source]:
        if ctx is None:
            return Preflight()
        if known.inputs is None:
            return Preflight(observations=_observed_early(ctx, known.told))
        inputs, disk = known.inputs, frozen_disk(known.inputs.snapshot, known.inputs.disk)
        host = ctx.host(inputs.host)
        subject, looked_at = f"disk {disk.key}", f"how it can be read from host {host.name}"
        try:
            choice = choose(ctx, inputs, disk)
        except NoTransport as error:
            return Preflight(observations=(wrong(subject, looked_at, error.message),))
        how = f"over {choice.transport}: {choice.why}"
        observations = (good(subject, looked_at, how), *_observed(ctx, inputs, host, disk, choice.transport))
        return Preflight(observations=observations, notes=(how,))

    def report(self, out: Source) -> StepReport:
        most = most_connections(out.wire, out.uris)
        several = f"at most {most} connections" if most > 1 else "1 connection"
        text = (
            f"Disk {out.disk_key} was read from snapshot {out.snapshot} over {out.transport}, {several}: "
            f"{out.why}."
        )
        return StepReport(statements=(Statement(about="how", text=text),))


def look_for_vddk(ctx: Context, host: Host, options: VddkOptions) -> nbdkit_vddk.Found:
    """What the host has of it, asked once a run. Raises HostError, CommandError."""
    try:
        nbdkit.NBDKIT.require(ctx, host)
    except ToolMissing as error:
        return nbdkit_vddk.Found(error.message)
    return ctx.once(("VDDK", host.name, options), lambda: nbdkit_vddk.look(host, options))


def _observed(
    ctx: Context, inputs: OpenSourceIn, host: Host, disk: FrozenDisk, transport: Transport
) -> tuple[Observation, ...]:
    client, vm = vcenter(ctx, inputs.snapshot.vcenter), inputs.snapshot.vm

    def permitted() -> str:
        place = vm, inputs.snapshot.datacenter, disk.datastore
        over_vddk = transport == "vddk"
        wanted = privileges.on_vcenter(client) if over_vddk else privileges.on_files(client, *place)
        return privileges.require(client, wanted)

    stands_on = _stands_on(ctx, host, transport)
    if transport == "vddk":
        reached = reachability.examine_vddk(ctx, host, client, vm, inputs.vddk)
    else:
        reached = reachability.examine_https(ctx, host, client, inputs.snapshot, disk)
    return (
        *stands_on,
        *(() if any(one.state == "wrong" for one in stands_on) else reached),
        observe(f"disk {disk.key}", "privileges to read it", permitted),
    )


def _observed_early(ctx: Context, told: Mapping[str, Any]) -> tuple[Observation, ...]:
    """By what the job file alone tells. Where the disk's file decides how it is read, what HTTPS takes."""
    if not told.keys() >= {"host", "transport", "vddk"}:
        return ()
    host, asked = ctx.host(told["host"]), told["transport"]
    missing = "" if asked == "https" else look_for_vddk(ctx, host, told["vddk"]).missing
    if asked == "vddk" and missing:
        return (wrong(f"host {host.name}", "VMware's VDDK", missing),)
    return _stands_on(ctx, host, "https" if asked == "https" or missing else "vddk")


def _stands_on(ctx: Context, host: Host, transport: Transport) -> tuple[Observation, ...]:
    program = PROGRAMS[transport].observe(ctx, host)
    return (
        (program,)
        if host.local or program.state == "wrong"
        else (program, forwards.examine_sockets(ctx, host))
    )


@dataclass(frozen=True)
class Choice:
    """Of VMware's library, for `vddk`: its major `version`, and whether it can tell holes (`extents`)."""

    transport: Transport
    why: str
    version: int = 0
    extents: bool = False


def choose(ctx: Context, inputs: OpenSourceIn, disk: FrozenDisk) -> Choice:
    """How the disk is to be read, by looking at what the host has; changes nothing. Raises NoTransport,
    HostError."""
    name, asked = f"disk {disk.key} of snapshot {inputs.snapshot.name} ({disk.file})", inputs.transport
    not_flat = "" if disk.flat else f"over HTTPS: {disk.why_not_flat}"
    if asked == "https":
        if not_flat:
            raise NoTransport(
                f"{name} cannot be read {not_flat}; such a disk takes VMware's VDDK: `transport: vddk`"
            )
        return Choice("https", "the job says so")
    host = ctx.host(inputs.host)
    found = look_for_vddk(ctx, host, inputs.vddk)
    if not found.missing:
        why = "the job says so" if asked == "vddk" else f"VDDK {found.version} is on host {host.name}"
        return Choice("vddk", why, found.version, found.extents)
    if asked == "vddk":
        raise NoTransport(f"{name} cannot be read with VDDK: {found.missing}")
    if not_flat:
        raise NoTransport(f"{name} cannot be read {not_flat}; nor with VDDK: {found.missing}")
    return Choice(
        "https", f"its file is a flat base file, and there is no VDDK: {found.missing.partition(':')[0]}"
    )
