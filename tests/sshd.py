"""Fixtures: a real sshd on loopback, and a host behind it. One sshd for each test process; a test that breaks its
sshd makes one of its own with `steps.lab.sshd.Sshd`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from runner.hosts.connect import connect
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.lab.sshd import Sshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ssh_host(sshd: Sshd) -> Iterator[Host]:
    host = connect("hub", sshd.spec)
    yield host
    host.close()


@pytest.fixture(name="host", scope="module", params=["local", "ssh"])
def either_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """This machine, and then one behind sshd."""
    if request.param == "local":
        yield LocalHost("here")
        return
    server: Sshd = request.getfixturevalue("sshd")
    with closing(connect("hub", server.spec)) as behind:
        yield behind
