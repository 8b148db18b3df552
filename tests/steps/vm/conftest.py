"""A vCenter to start, and a repository for what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.repository import marker
from tests.vcenter import vcenters

start_vcenter = vcenters


@pytest.fixture
def root(tmp_path: Path) -> Path:
    marker.init(LocalHost(), str(tmp_path / "repository"))
    return tmp_path / "repository"
