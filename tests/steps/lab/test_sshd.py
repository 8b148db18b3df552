from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.hosts import process
from steps.lab.sshd import Sshd
from tests.eventually import children_of_ours


def fingerprint_at(port: int) -> str:
    return process.run(("ssh-keyscan", "-t", "ed25519", "-p", str(port), "127.0.0.1"), ok=None).stdout.decode()


def test_it_shows_its_key_until_it_is_stopped(tmp_path: Path) -> None:
    before = children_of_ours()
    server = Sshd(tmp_path / "a dü")
    server.start()
    assert server.host_key in fingerprint_at(server.port)
    server.stop()
    assert fingerprint_at(server.port) == "" and children_of_ours() == before
    server.stop()


def test_port_and_keys_stay_over_a_restart(tmp_path: Path) -> None:
    server = Sshd(tmp_path)
    server.start()
    spec = server.spec
    server.restart()
    assert server.spec == spec and server.host_key in fingerprint_at(spec.port)
    server.stop()


def test_another_process_may_stop_a_detached_one(tmp_path: Path) -> None:
    server = Sshd(tmp_path)
    server.start(detached=True)
    other = Sshd(tmp_path)
    assert other.spec == server.spec
    other.stop()
    assert fingerprint_at(server.port) == ""


def test_a_pid_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        (tmp_path / "pid").write_text(f"{other.pid}\n")
        Sshd(tmp_path).stop()
        assert other.poll() is None
        other.kill()


def test_a_bad_option_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SendenseError, match="Bad configuration option: NoSuchOption"):
        Sshd(tmp_path, {"NoSuchOption": "yes"}).start()
