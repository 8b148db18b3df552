"""A server that tells by itself when it is ready, with the shells that a machine may call sh."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.nbd.announced import Announced
from tests.eventually import children_of_ours, eventually

SERVER = 'echo "opening $1"; [ -e "$2" ] || exec sleep 600; : >"$1"; echo serving; exec sleep 600'


@pytest.fixture(params=["dash", "bash", "busybox"], autouse=True)
def _sh(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sh` is that shell; nothing that was started is left."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to(found)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    before = children_of_ours()
    yield
    assert eventually(lambda: children_of_ours() <= before)


def serve(file: Path, needs: Path) -> Announced:
    return Announced(LocalHost(), ("sh", "-c", SERVER, "sh", str(file), str(needs)), str(file))


def test_a_server_is_ready_once_its_file_is_there_and_says_nothing_of_ours(tmp_path: Path) -> None:
    server = serve(tmp_path / "it's a $file", tmp_path)
    assert eventually(server.ready)
    assert eventually(lambda: "serving" in server.stderr())
    assert server.stderr() == f"opening {tmp_path}/it's a $file\nserving\n"
    server.stop()
    assert server.poll() == 143


def test_a_server_that_is_not_ready_is_stopped_at_once(tmp_path: Path) -> None:
    server = serve(tmp_path / "pid", tmp_path / "absent")
    assert eventually(lambda: "opening" in server.stderr())
    assert not server.ready()
    server.stop()
    assert server.poll() == 143 and not server.ready()


def test_a_server_that_dies_early_tells_how(tmp_path: Path) -> None:
    server = Announced(LocalHost(), ("sh", "-c", "echo no disk >&2; exit 7"), str(tmp_path / "pid"))
    assert eventually(lambda: server.poll() == 7)
    assert server.stderr() == "no disk\n" and not server.ready()
    server.stop()
