"""A guest whose disk is served to be copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nbd_servers import Servers
from tests.transfers import Guest


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers() as started:
        yield started


@pytest.fixture
def guest(servers: Servers, tmp_path: Path) -> Guest:
    return Guest(servers, tmp_path)
