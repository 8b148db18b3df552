from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.base.units import MiB
from runner.step.context import Context
from steps.backup.open_tunnel import OpenTunnel, OpenTunnelIn, OpenTunnelLive, TooManyConnectionsError
from steps.backup.start_nbd import StartNbd, StartNbdIn
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.nbd.exporter import WrongSizeError
from steps.values.export import Export
from steps.values.tunnel import Tunnel
from tests.eventually import ssh_processes
from tests.hub import Hub, disk

pytestmark = pytest.mark.slow

STEP = OpenTunnel()


@contextmanager
def exported(hub: Hub, key: int = 2000) -> Iterator[Export]:
    context = hub.context("export")
    inputs = {"image": hub.image(disk(key, (key - 1998) * 2 * MiB)).to_json_value()}
    with context.closing:
        yield StartNbd().run(context, StartNbdIn.from_json_value(inputs), StartNbd.Live())


def open_tunnel(context: Context, export: Export, connections: int = 4) -> Tunnel:
    return STEP.run(context, OpenTunnelIn(connections=connections), OpenTunnelLive(export=export))


def test_it_passed_a_handshake(any_hub: Hub) -> None:
    context = any_hub.context()
    with exported(any_hub) as export, context.closing:
        tunnel = open_tunnel(context, export)
        assert len(set(tunnel.uris)) == 1
        assert (tunnel.size, tunnel.multi_conn) == (4 * MiB, True)
        assert {probe(uri, 10).size for uri in tunnel.uris} == {4 * MiB}
        assert STEP.probe(context, tunnel)
    assert not STEP.probe(context, tunnel)


def test_the_disks_of_a_host_share_one_ssh_until_much_is_moved(hub_over_ssh: Hub) -> None:
    before = ssh_processes()
    context = hub_over_ssh.context()
    with exported(hub_over_ssh) as one, exported(hub_over_ssh, key=2001) as two, context.closing:
        tunnels = [open_tunnel(context, export) for export in (one, two)]
        assert len(ssh_processes() - before) == 1
        assert [len(set(tunnel.uris)) for tunnel in tunnels] == [1, 1]
        assert [probe(tunnel.uris[0], 10).size for tunnel in tunnels] == [4 * MiB, 6 * MiB]


@pytest.mark.parametrize(
    ("round_trip", "processes"), [pytest.param(0.0001, 1, id="short"), pytest.param(0.1, 4, id="long")]
)
def test_how_many_ssh_processes_it_may_get_depends_on_the_measured_round_trip(
    hub_over_ssh: Hub, monkeypatch: pytest.MonkeyPatch, round_trip: float, processes: int
) -> None:
    monkeypatch.setattr("steps.copy.nbd.NbdChannel.answer_time", lambda *_: round_trip)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    context = hub_over_ssh.context()
    with exported(hub_over_ssh) as export, context.closing:
        tunnel = open_tunnel(context, export)
        wire = tunnel.wire
        assert wire is not None and (wire.host, wire.ssh_processes) == (export.host, processes)
    (said,) = STEP.report(tunnel).statements
    over = {1: "1 NBD connection over one ssh process", 4: "8 NBD connections over 4 ssh processes"}[processes]
    took = f"(a round trip took {round_trip * 1000:.1f} ms), in requests of 1.0 MiB at most."
    assert said.text == f"Disk 2000 is written through at most {over} {took}"


def test_anothers_export_is_refused_by_its_size(any_hub: Hub) -> None:
    context = any_hub.context()
    with exported(any_hub) as one, exported(any_hub, key=2001) as two, context.closing:
        swapped = one.model_copy(update={"socket": two.socket, "export": two.export})
        with pytest.raises(WrongSizeError, match=f"disk 2000 on hub has {6 * MiB} bytes .* {4 * MiB}"):
            open_tunnel(context, swapped)


def test_more_connections_than_the_server_takes_are_refused_before_one_hangs(hub: Hub) -> None:
    context = hub.context()
    refused = pytest.raises(TooManyConnectionsError, match="set connections: 5 on the start-nbd step")
    with exported(hub) as export, context.closing, refused:
        open_tunnel(context, export, 5)


def test_a_dead_exporter_is_a_transient_error(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steps.nbd.exporter.REACH_TIMEOUT", 0.2)
    with exported(hub) as export:
        pass
    context = hub.context()
    with context.closing, pytest.raises(ConnectFailed, match="no NBD handshake with the export of disk 2000") as caught:
        open_tunnel(context, export)
    assert caught.value.transient
