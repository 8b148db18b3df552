"""What find says of a directory that changes while it is listed: of names that are gone again, none says that it is absent."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from runner.base.errors import HostError
from runner.hosts.script import Script
from runner.hosts.ssh.files import _LIST, RemoteFiles, ScriptError
from tests.bad_reads import library

__all__ = ["library"]


def test_a_name_that_is_gone_again_does_not_make_its_directory_absent(library: Path, tmp_path: Path) -> None:
    for name in ("stays", "gone"):
        (tmp_path / name).touch()
    under = ("env", f"LD_PRELOAD={library}", "BAD_READS=;lose gone;")
    done = subprocess.run([*under, *_LIST.argv(str(tmp_path))], capture_output=True, timeout=60, check=False)
    assert b"No such file or directory" in done.stderr
    with pytest.raises(HostError) as told:
        Answers(ScriptError(done.returncode, done.stderr.decode())).listdir(str(tmp_path))
    assert told.value.transient


class Answers(RemoteFiles):
    """A host that gives one answer."""

    name = "hub"

    def __init__(self, answer: ScriptError) -> None:
        self._answer = answer

    def script(self, script: Script, *args: str, **options: object) -> bytes:
        raise self._answer

    def stream(self, script: Script, *args: str) -> Generator[bytes, None, None]:
        raise self._answer
