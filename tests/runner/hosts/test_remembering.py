"""A look at a host asks for each thing once, and waits for what is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.remembering import READING, remembering

ASKED = {
    "run": lambda host, at: host.run(("cat", f"{at}/file")).stdout,
    "stat": lambda host, at: host.stat(f"{at}/file").size,
    "exists": lambda host, at: host.exists(f"{at}/file"),
    "listdir": lambda host, at: host.listdir(at),
    "read": lambda host, at: host.read(f"{at}/file"),
    "free_bytes": lambda host, at: host.free_bytes(at),
    "reach": lambda host, at: host.reach("127.0.0.1", 1, timeout=1.0),
}


class Noting:
    """Notes which verbs it is asked for."""

    def __init__(self) -> None:
        self.name = "here"
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        verb = getattr(LocalHost(), name)

        def ask(*args: object, **more: object) -> object:
            self.asked.append(name)
            return verb(*args, **more)

        return ask


@pytest.mark.parametrize("verb", sorted(READING))
def test_the_same_question_is_asked_once(tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("content")
    host = Noting()
    look = remembering(cast("Host", host), {})
    assert ASKED[verb](look, tmp_path) == ASKED[verb](look, tmp_path)
    assert host.asked == [verb]


def test_another_question_is_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    look = remembering(LocalHost(), {})
    assert look.read(f"{tmp_path}/file", limit=10) == look.read(f"{tmp_path}/file") == b"content"
    assert look.run(("echo", "one")).stdout != look.run(("echo", "two")).stdout


def test_an_argv_may_be_a_list(tmp_path: Path) -> None:
    """Which a step of somebody else's may have."""
    (tmp_path / "file").write_text("content")
    host = Noting()
    look = remembering(cast("Host", host), {})
    for _ in range(2):
        assert look.run(["cat", f"{tmp_path}/file"], ok=[0]).stdout == b"content"
    assert host.asked == ["run"]


def test_what_is_waited_for_is_seen_when_it_comes(tmp_path: Path) -> None:
    look = remembering(LocalHost(), {})
    assert not look.exists(f"{tmp_path}/socket") and look.stat(f"{tmp_path}/socket") is None
    (tmp_path / "socket").touch()
    assert look.exists(f"{tmp_path}/socket") and look.stat(f"{tmp_path}/socket") is not None


def test_nothing_is_remembered_over_a_change(tmp_path: Path) -> None:
    look = remembering(LocalHost(), {})
    look.write(f"{tmp_path}/file", b"before")
    assert look.read(f"{tmp_path}/file") == b"before"
    look.write(f"{tmp_path}/file", b"after")
    assert look.read(f"{tmp_path}/file") == b"after"
