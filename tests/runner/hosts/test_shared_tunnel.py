"""The one ssh process that the small forwards of a host share."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.base.errors import HostError, Interrupted
from runner.base.waiting import NEVER
from runner.hosts import process, shared_tunnel, ssh_control
from runner.hosts.secrets import FromFile
from runner.hosts.shared_tunnel import SharedTunnel
from runner.hosts.tunnel import carried, explain
from steps.lab.sshd import Sshd
from tests.eventually import children_of_ours, eventually, ssh_processes
from tests.runner.hosts.test_tunnel import connections_to, echo, running, say

__all__ = ["echo"]

pytestmark = pytest.mark.slow


@pytest.fixture
def tunnel(sshd: Sshd) -> Iterator[SharedTunnel]:
    made = SharedTunnel("hub", sshd.spec)
    yield made
    made.close()


def test_many_forwards_at_once_and_one_after_another_are_one_login(sshd: Sshd, echo: str) -> None:
    logins, before = sshd.logins(), children_of_ours()
    tunnel = SharedTunnel("hub", sshd.spec)
    try:
        with ExitStack() as stack, ThreadPoolExecutor(8) as workers:
            opening = [workers.submit(lambda: stack.enter_context(tunnel.forward([echo, echo]))) for _ in range(8)]
            sockets = [socket for one in opening for socket in one.result().sockets]
            assert len(set(sockets)) == 16
            assert [say(socket) for socket in sockets] == [b"hello"] * 16
            assert {oct(Path(socket).stat().st_mode & 0o777) for socket in sockets} == {"0o600"}
            assert max(map(len, sockets)) <= 40
        assert not any(Path(socket).exists() for socket in sockets)
        with tunnel.forward([echo]) as forwards:
            assert say(forwards.sockets[0]) == b"hello"
        assert sshd.logins() - logins == 1
    finally:
        tunnel.close()
    assert children_of_ours() == before
    assert not Path(sockets[0]).parent.exists()


def test_a_forward_that_ended_is_taken_from_the_living_ssh(tunnel: SharedTunnel, echo: str) -> None:
    """Else a run of many disks would fill its table of descriptors."""
    with tunnel.forward([echo]) as forwards:
        (pid,) = ssh_processes()
        held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for _ in range(3):
        with tunnel.forward([echo]):
            assert eventually(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= held)
    assert forwards.children[0].poll() is None


def test_no_program_is_started_for_a_forward_of_a_living_ssh(
    tunnel: SharedTunnel, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel.forward([echo]):
        monkeypatch.setattr("subprocess.Popen", None)
        with tunnel.forward([echo, echo]) as forwards:
            assert [say(path) for path in forwards.sockets] == [b"hello"] * 2


def test_what_ssh_refuses_is_told_in_its_words(tunnel: SharedTunnel, echo: str) -> None:
    with tunnel.forward([echo]) as first:
        Path(first.sockets[0]).with_name("1").mkdir()
        refused = pytest.raises(HostError, match="ssh to hub adds no forward: Port forwarding failed")
        with refused as caught, tunnel.forward([echo]):
            raise AssertionError("it opened")
        assert caught.value.transient
        assert say(first.sockets[0]) == b"hello"


def test_what_failed_before_is_not_said_of_a_later_forward(tunnel: SharedTunnel, echo: str, tmp_path: Path) -> None:
    with tunnel.forward([f"{tmp_path}/nobody"]) as first:
        assert say(first.sockets[0]) == b""
        assert eventually(lambda: explain("hub", first))
        assert carried(first) is True
        with tunnel.forward([echo]) as second:
            assert explain("hub", second) is None
            assert carried(second) is None
            assert say(second.sockets[0]) == b"hello"


def test_an_ssh_that_died_is_replaced_by_the_next_forward(tunnel: SharedTunnel, sshd: Sshd, echo: str) -> None:
    logins = sshd.logins()
    with tunnel.forward([echo]) as first:
        (pid,) = ssh_processes()
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: first.children[0].poll() is not None)
        error = explain("hub", first)
        assert error is not None and error.transient
        with tunnel.forward([echo]) as second:
            assert say(second.sockets[0]) == b"hello"
    assert sshd.logins() - logins == 2
    assert len(ssh_processes()) == 1


def test_one_that_carries_nothing_is_retired_and_ends_with_its_last_forward(tunnel: SharedTunnel, echo: str) -> None:
    with tunnel.forward([echo]) as first:
        before = ssh_processes()
        first.retire()
        with tunnel.forward([echo]) as second:
            assert say(second.sockets[0]) == b"hello"
            assert say(first.sockets[0]) == b"hello"
            assert len(ssh_processes()) == 2
    assert eventually(lambda: len(ssh_processes()) == 1 and not ssh_processes() & before)


def test_an_ssh_that_does_not_answer_is_waited_for_once(
    tunnel: SharedTunnel, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_tunnel, "ANSWER_TIMEOUT", 1.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(tunnel.forward([echo]))
        (pid,) = ssh_processes()
        os.kill(pid, signal.SIGSTOP)
        asked: list[str] = []
        ask = ssh_control.ask
        monkeypatch.setattr(ssh_control, "ask", lambda control, *more: (asked.append(control), ask(control, *more))[1])
    assert len(asked) == 1
    assert eventually(lambda: not ssh_processes())


def test_an_ssh_that_does_not_answer_gets_no_more_forwards(
    tunnel: SharedTunnel, sshd: Sshd, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_tunnel, "ANSWER_TIMEOUT", 1.0)
    logins = sshd.logins()
    with tunnel.forward([echo]):
        (pid,) = ssh_processes()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(HostError, match="ssh to hub did not answer") as caught, tunnel.forward([echo]):
            raise AssertionError("it opened")
        assert caught.value.transient
        with tunnel.forward([echo]) as forwards:
            assert say(forwards.sockets[0]) == b"hello"
    assert sshd.logins() - logins == 2
    assert len(ssh_processes()) == 1


def test_a_login_that_is_refused_is_told_to_all_who_wait_for_it(sshd: Sshd, tmp_path: Path) -> None:
    process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/stranger"))
    before = children_of_ours()
    tunnel = SharedTunnel("hub", sshd.spec.model_copy(update={"identity": FromFile(file=f"{tmp_path}/stranger")}))

    def fail() -> HostError:
        with pytest.raises(HostError, match="Permission denied") as caught, tunnel.forward(["/tmp/x"]):
            raise AssertionError("it opened")
        return caught.value

    with ThreadPoolExecutor(4) as workers:
        assert not any(error.transient for error in workers.map(lambda _: fail(), range(4)))
    tunnel.close()
    assert children_of_ours() == before


def test_a_stop_ends_the_login_of_its_own_work_only(tunnel: SharedTunnel, sshd: Sshd, echo: str) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted), tunnel.forward([echo], stop):
        raise AssertionError("it opened")
    with tunnel.forward([echo], NEVER) as forwards:
        assert say(forwards.sockets[0]) == b"hello"


def test_what_is_small_does_not_wait_for_acknowledgements_at_either_end(tmp_path: Path, echo: str) -> None:
    with running(tmp_path) as server:
        tunnel = SharedTunnel("hub", server.spec)
        with tunnel.forward([echo]) as forwards:
            assert say(forwards.sockets[0]) == b"hello"
            assert eventually(lambda: connections_to(server.port) == {"ssh": True, "sshd": True})
        tunnel.close()


@pytest.mark.parametrize(
    "options",
    [{"PermitTTY": "no"}, {"MaxSessions": "1"}],
    ids=["no terminal", "one session"],
)
def test_a_server_of_few_sessions_carries_it(tmp_path: Path, echo: str, options: dict[str, str]) -> None:
    with running(tmp_path, **options) as server:
        tunnel = SharedTunnel("hub", server.spec)
        with tunnel.forward([echo]) as one, tunnel.forward([echo, echo]) as more:
            assert [say(path) for path in (*one.sockets, *more.sockets)] == [b"hello"] * 3
        tunnel.close()


def test_a_jump_host_is_logged_in_to_once(sshd: Sshd, tmp_path: Path, echo: str) -> None:
    assert sshd.spec.identity is not None
    allowed = Path(sshd.spec.identity.file).with_name("authorized_keys")
    with running(tmp_path / "jump", AuthorizedKeysFile=str(allowed)) as jump:
        (tmp_path / "known").write_text(f"[127.0.0.1]:{jump.port} {jump.host_key}\n")
        changes = {"jump": f"{jump.spec.user}@127.0.0.1:{jump.port}", "known_hosts": str(tmp_path / "known")}
        tunnel = SharedTunnel("hub", sshd.spec.model_copy(update=changes))
        with tunnel.forward([echo]) as one, tunnel.forward([echo]) as two:
            assert [say(forwards.sockets[0]) for forwards in (one, two)] == [b"hello"] * 2
        tunnel.close()
        assert jump.logins() == 1
