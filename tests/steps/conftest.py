from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from tests.hub import Hub, hub_on
from tests.sshd import ssh_host, sshd

__all__ = ["any_hub", "hub", "ssh_host", "sshd"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A repository on this machine."""
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


@pytest.fixture(params=["local", "ssh"])
def any_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    """A repository on this machine, and one behind a real sshd."""
    host = LocalHost("hub") if request.param == "local" else request.getfixturevalue("ssh_host")
    with hub_on(host, str(tmp_path / "repository"), tmp_path) as opened:
        yield opened
