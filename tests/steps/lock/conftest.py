from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.locked_repository import LockedRepository, mounted


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LockedRepository]:
    """On a file system of its own, of the account that attackers have the key of."""
    with mounted(request.param) as top:
        yield LockedRepository.create(top, tmp_path)


@pytest.fixture
def on_ext4(tmp_path: Path) -> Iterator[LockedRepository]:
    with mounted("ext4") as top:
        yield LockedRepository.create(top, tmp_path)


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems and makes files immutable")
