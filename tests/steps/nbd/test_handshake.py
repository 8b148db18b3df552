from __future__ import annotations

import time

import pytest

from runner.base.errors import HostError, Interrupted
from runner.hosts.host import Host
from steps.copy.endpoint import ConnectFailed
from steps.nbd.handshake import handshake, handshake_through
from tests.hub import Hub

NOWHERE = "nbd+unix:///export?socket=/nonexistent/socket"


def test_it_tries_until_its_time_is_over(hub: Hub) -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectFailed, match="no NBD handshake with disk 2000"):
        handshake(hub.context(), NOWHERE, "disk 2000", timeout=0.3)
    assert 0.3 <= time.monotonic() - begun < 5


@pytest.mark.timeout(30)
def test_a_stop_ends_it(hub: Hub) -> None:
    hub.stop.set()
    with pytest.raises(Interrupted):
        handshake(hub.context(), NOWHERE, "disk 2000", timeout=600)


@pytest.mark.timeout(30)
def test_a_forward_that_died_ends_it_at_once_with_what_ssh_said(hub: Hub, ssh_host: Host) -> None:
    with ssh_host.forward(["/nonexistent/socket"]) as forwards:
        forwards.children[0].stop()
        uri = f"nbd+unix:///export?socket={forwards.sockets[0]}"
        with pytest.raises(HostError, match="ssh to hub failed"):
            handshake_through(hub.context(), "hub", forwards, uri, "disk 2000", timeout=600)


def test_a_forward_to_nothing_is_explained(hub: Hub, ssh_host: Host) -> None:
    with ssh_host.forward(["/nonexistent/socket"]) as forwards:
        uri = f"nbd+unix:///export?socket={forwards.sockets[0]}"
        with pytest.raises(HostError, match="nothing listens") as caught:
            handshake_through(hub.context(), "hub", forwards, uri, "disk 2000", timeout=0.3)
    assert caught.value.transient
