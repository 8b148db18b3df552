"""A VM whose restore points are locked: everything works that only needs to read them, and says so where it cannot do more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.events.events import Warned
from steps.repository import layout
from tests.estate import of
from tests.hub import tree
from tests.locked_repository import mounted
from tests.rollbacks import Rolling, rolling
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]


@contextmanager
def locked(*points: Path) -> Iterator[None]:
    subprocess.run(["chattr", "-R", "+i", *points], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-R", "-i", *points], check=True, timeout=60)


@pytest.fixture
def on_ext4(vddk: Vddk) -> Iterator[Rolling]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems and makes files immutable")
    with mounted("ext4", 512 << 20) as top, rolling(top, vddk) as made:
        yield made


@pytest.mark.skipif("TORTURE" not in os.environ, reason="takes eight seconds: make torture")
def test_what_reads_a_locked_point_works_and_what_becomes_known_of_it_stands_beside_it(on_ext4: Rolling) -> None:
    roll, first = on_ext4, on_ext4.point
    then = roll.live()
    with locked(first):
        before = tree(first)
        assert roll.sendense("protect", first.name, "--until", "2099-12-31", "--reason", "audit") == 0
        assert roll.sendense("verify", first.name) == 0
        beside = Path(layout.marks(str(first)))
        assert {path.name for path in beside.iterdir()} == {"protected.json", "verified.json"}
        assert roll.sendense("protect", first.name, "--lift") == 0
        assert {path.name for path in beside.iterdir()} == {"verified.json"}
        assert roll.sendense("restore", first.name, "--to", str(roll.estate.directory / "back")) == 0
        # Incrementals are made on it, and retention rebuilds none for a point that cannot go.
        roll.change(2000)
        library = {"vddk_libdir": str(roll.vddk.libdir), "vddk_plugin": roll.vddk.plugin}
        job = roll.estate.job(cbt="enable", retention={"keep-last": 1}, **library)
        warned: list[str] = []
        second = roll.estate.backup(job, lambda event: warned.append(event.text) if isinstance(event, Warned) else None)
        assert any(f"{first.name} on local is kept: it is immutable" in text for text in warned), warned
        assert (of(second, 2000).parent, of(second, 2001).parent) == (first.name, first.name)
        with locked(second):
            assert roll.rollback("--yes") == 0
            assert roll.live() == then
            assert {first.name, second.name} <= {path.name for path in roll.points()}
        assert tree(first) == before
    assert not list(first.parent.glob(f"*{layout.REBUILT}"))
    roll.estate.assert_all_equal()
