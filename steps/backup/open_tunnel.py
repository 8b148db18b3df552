"""open-tunnel: local sockets that lead to an export, one ssh process each; ready by NBD handshake through
each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.base.errors import SendenseError
from runner.base.model import HOW, JobModel
from runner.step.context import Context
from runner.step.step import Lifetime, Step
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.nbd import exporter
from steps.qemu import nbd_server
from steps.values.export import Export
from steps.values.tunnel import Tunnel

PROBE_TIMEOUT = 10.0


class OpenTunnelIn(JobModel):
    connections: Annotated[int, HOW, Field(ge=1, le=32)] = 4
    """ssh processes at most, which carry two NBD connections each: on a short wire, no more of them than this
    machine has cores. A single one leaves a core idle, since it waits on its channels' windows."""


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
    """Leads local unix sockets to an export. That goes through SSH where the export is on another host, and
    each socket is proved by an NBD handshake. An exporter without multi-conn (qemu before 7.1) gets one
    connection."""

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
        # All at once, since logging in takes longest; an exporter of before qemu 7.1 leaves the others
        # unused.
        expected = exporter.ExpectedExport(
            export.image.key, export.address, export.export, export.image.capacity
        )
        uris, seen = exporter.reach(ctx, host, expected, inputs.connections)
        if not seen.multi_conn:
            # A FLUSH covers its own connection only.
            uris = uris[:1]
        return Tunnel(
            image=export.image,
            uris=uris,
            size=seen.size,
            multi_conn=seen.multi_conn,
        )

    def probe(self, ctx: Context, out: Tunnel) -> bool:
        try:
            return all(probe(uri, PROBE_TIMEOUT).size == out.size for uri in set(out.uris))
        except ConnectFailed:
            return False


def _taken(export: Export) -> int:
    """Forwards that an exporter has room for."""
    return (export.shared - nbd_server.SPARE_CONNECTIONS) // nbd_server.CONNECTIONS_PER_FORWARD
