"""Connections and ssh processes that a disk gets once much of it has moved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.base.units import MiB
from runner.step.context import Context
from steps.backup.open_tunnel import OpenTunnel, OpenTunnelIn, OpenTunnelLive
from steps.backup.start_nbd import StartNbd, StartNbdIn
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.nbd import growing_endpoint
from steps.nbd.growing_endpoint import MUCH, SOME, GrowingEndpoint
from steps.values.tunnel import Tunnel
from tests.eventually import eventually, ssh_processes
from tests.hub import Hub, disk

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr("steps.copy.nbd.NbdChannel.answer_time", lambda *_: 0.0001)


@contextmanager
def opened(hub: Hub) -> Iterator[tuple[Context, Tunnel]]:
    context = hub.context("tunnel")
    with context.closing:
        export = StartNbd().run(context, StartNbdIn(image=hub.image(disk(2000, 4 * MiB))), StartNbd.Live())
        yield context, OpenTunnel().run(context, OpenTunnelIn(), OpenTunnelLive(export=export))


def write(endpoint: NbdEndpoint) -> None:
    """One block through each connection."""
    for channel in endpoint.channels:
        done: list[object] = []
        channel.write(0, memoryview(bytes(MiB)), done.append)
        while not done:
            channel.advance(channel.wanted())
        assert done == [None]


def test_they_come_once_much_has_moved_and_much_may_come_and_end_with_the_copy(hub_over_ssh: Hub) -> None:
    with opened(hub_over_ssh) as (context, tunnel):
        before = ssh_processes()
        with GrowingEndpoint(context, tunnel.uris, tunnel.wire, "image") as endpoint:
            endpoint.moved(MUCH - 1, 1000 * MUCH)
            endpoint.moved(1000 * MUCH, MUCH - 1)
            assert not eventually(lambda: len(endpoint.channels) > 1, 0.3)
            endpoint.moved(MUCH, MUCH)
            assert eventually(lambda: len(endpoint.channels) == 2)
            write(endpoint)
            endpoint.moved(2 * MUCH, MUCH)
            assert len(ssh_processes() - before) == 1
        assert ssh_processes() == before


def test_a_copy_that_ends_meanwhile_waits_for_none(hub_over_ssh: Hub) -> None:
    with opened(hub_over_ssh) as (context, tunnel):
        before = ssh_processes()
        with GrowingEndpoint(context, tunnel.uris, tunnel.wire, "image") as endpoint:
            endpoint.moved(MUCH, MUCH)
        assert ssh_processes() == before
        assert len(endpoint.channels) <= 2


def test_a_copy_goes_on_without_those_that_cannot_be_had(hub_over_ssh: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing_endpoint, "PAUSE", 0.01)
    with opened(hub_over_ssh) as (context, tunnel):
        assert tunnel.wire is not None
        wire = tunnel.wire.model_copy(update={"address": "/tmp/nobody"})
        with GrowingEndpoint(context, tunnel.uris, wire, "image") as endpoint:
            endpoint.moved(MUCH, MUCH)
            assert eventually(lambda: hub_over_ssh.warnings)
            write(endpoint)
        assert hub_over_ssh.warnings[0].startswith(
            "the image gets no more connections, which may make it slower: no NBD"
        )


def test_without_another_host_there_is_nothing_to_open(hub: Hub) -> None:
    with opened(hub) as (context, tunnel):
        assert tunnel.wire is None
        threads = threading.active_count()
        with GrowingEndpoint(context, tunnel.uris, tunnel.wire, "image") as endpoint:
            endpoint.moved(MUCH, MUCH)
            assert threading.active_count() == threads


def test_further_connections_come_once_some_bytes_moved_and_more_may_come(hub: Hub) -> None:
    with opened(hub) as (context, tunnel):
        uris = tunnel.uris[:1] * 4
        with GrowingEndpoint(context, uris, None, "image") as endpoint:
            endpoint.moved(SOME - 1, 1000 * SOME)
            endpoint.moved(1000 * SOME, SOME - 1)
            assert not eventually(lambda: len(endpoint.channels) > 1, 0.3)
            endpoint.moved(SOME, SOME)
            assert eventually(lambda: len(endpoint.channels) == 4)
            endpoint.moved(2 * SOME, SOME)
            write(endpoint)
        assert len(endpoint.channels) == 4
