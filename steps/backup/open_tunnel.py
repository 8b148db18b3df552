"""open-tunnel: a local socket that leads to an export; ready by NBD handshake through it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.base.errors import SendenseError
from runner.base.model import HOW, JobModel
from runner.base.units import counted, human_bytes
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy.endpoint import ConnectFailed
from steps.copy.extents import BLOCK
from steps.copy.nbd import probe
from steps.nbd import exporter
from steps.qemu import nbd_server
from steps.values.export import Export
from steps.values.tunnel import Tunnel

PROBE_TIMEOUT = 10.0


class OpenTunnelIn(JobModel):
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """ssh processes at most, which carry two NBD connections each. It begins with one, which all disks on
    that host share, and a disk of which much is moved gets more: on a short wire, no more than this machine
    has cores."""


class OpenTunnelLive(JobModel):
    export: Export
    """What the sockets lead to."""


class TooManyConnectionsError(SendenseError):
    def __init__(self, export: Export, connections: int) -> None:
        taken = _taken(export)
        super().__init__(
            f"{connections} connections were asked for, but the exporter of disk {export.image.key} takes "
            f"{taken}: set connections: {connections} on the start-nbd step too"
        )


class OpenTunnel(Step[OpenTunnelIn, OpenTunnelLive, Tunnel]):
    """Leads a local unix socket to an export. That goes through SSH where the export is on another host, and
    the socket is proved by an NBD handshake. All disks on a host share one ssh process until much of a disk
    is moved. An exporter without multi-conn (qemu before 7.1) gets one connection."""

    name = "open-tunnel"
    lifetime = Lifetime.PROCESS
    In = OpenTunnelIn
    Live = OpenTunnelLive
    Out = Tunnel
    example = (
        'uses: open-tunnel, each: {disk: "${{ discover.disks }}"}, with: {export: "${{ export }}", '
        "connections: 4}"
    )
    errors = (
        "no NBD handshake through a forward (sshd may not allow it: AllowStreamLocalForwarding, PermitOpen)",
        "the export has another size than the disk",
        "more connections than the exporter takes",
    )

    def run(self, ctx: Context, inputs: OpenTunnelIn, live: OpenTunnelLive) -> Tunnel:
        export, host = live.export, ctx.host(live.export.host)
        if inputs.connections > _taken(export):
            raise TooManyConnectionsError(export, inputs.connections)
        expected = exporter.ExpectedExport(
            export.image.key, export.address, export.export, export.image.capacity
        )
        uris, seen, wire = exporter.reach(ctx, host, expected, inputs.connections)
        return Tunnel(
            image=export.image,
            uris=uris,
            size=seen.size,
            multi_conn=seen.multi_conn,
            wire=wire,
        )

    def report(self, out: Tunnel) -> StepReport:
        wire = out.wire
        several = len(out.uris) if wire is None else wire.connections
        text = f"Disk {out.image.key} is written through at most {counted(several, 'NBD connection')}"
        if wire is not None:
            over = "one ssh process" if wire.ssh_processes == 1 else f"{wire.ssh_processes} ssh processes"
            text += f" over {over} (a round trip took {wire.round_trip * 1000:.1f} ms)"
        text += f", in requests of {human_bytes(BLOCK)} at most."
        return StepReport(statements=(Statement(about="how", text=text),))

    def probe(self, ctx: Context, out: Tunnel) -> bool:
        try:
            return all(probe(uri, PROBE_TIMEOUT).size == out.size for uri in set(out.uris))
        except ConnectFailed:
            return False


def _taken(export: Export) -> int:
    """Forwards that an exporter has room for."""
    return (export.shared - nbd_server.SPARE_CONNECTIONS) // nbd_server.CONNECTIONS_PER_FORWARD
