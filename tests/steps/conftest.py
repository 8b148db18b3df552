from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from tests.hub import Hub, hub_on
from tests.sshd import ssh_host, sshd

__all__ = ["any_hub", "hub", "hub_over_ssh", "ssh_host", "sshd"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A repository on this machine."""
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture
def hub_over_ssh(ssh_host: Host, tmp_path: Path) -> Iterator[Hub]:
    """A repository behind a real sshd."""
    with hub_on(ssh_host, str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture(params=["hub", "hub_over_ssh"], ids=["local", "ssh"])
def any_hub(request: pytest.FixtureRequest) -> Hub:
    return request.getfixturevalue(request.param)
