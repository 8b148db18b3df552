"""Logging in to a server, and what happens when it refuses, restarts or breaks off."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest

from runner.base import workers
from runner.base.errors import CommandError, HostError, LockedError
from runner.hosts import process
from runner.hosts.connect import connect
from runner.hosts.script import Script
from runner.hosts.secrets import FromFile
from runner.hosts.spec import SshSpec
from runner.hosts.ssh import files
from runner.hosts.ssh.host import SshHost
from runner.hosts.ssh.link import Link
from runner.hosts.ssh.login import log_in
from runner.hosts.ssh.session import Ended, Session
from runner.hosts.stray_processes import end, look
from runner.hosts.supervisor import first_line, mark_of
from steps.lab.sshd import Sshd
from tests.eventually import eventually

pytestmark = pytest.mark.slow

Make = Callable[..., Sshd]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with contextlib.ExitStack() as stopping:

        def make(**options: str) -> Sshd:
            server = Sshd(tmp_path / "server", options)
            stopping.callback(server.stop)
            server.start()
            return server

        yield make


@contextlib.contextmanager
def behind(spec: SshSpec) -> Iterator[SshHost]:
    with contextlib.closing(connect("hub", spec)) as host:
        assert isinstance(host, SshHost)
        yield host


def key_at(path: Path, *, passphrase: str = "") -> FromFile:
    process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)))
    return FromFile(file=str(path))


def known_hosts(path: Path, server: Sshd) -> str:
    path.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    return str(path)


def refusal(spec: SshSpec) -> HostError:
    with behind(spec) as host, pytest.raises(HostError) as caught:
        host.run(("true",))
    return caught.value


def test_another_host_key_is_final(sshd: Sshd, tmp_path: Path) -> None:
    key_at(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    error = refusal(sshd.spec.model_copy(update={"host_key": other}))
    assert not error.transient
    assert f"hub (127.0.0.1 port {sshd.port}) shows another host key" in str(error)


def test_an_unknown_host_is_refused_and_its_fingerprint_said(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known").write_text("")
    error = refusal(sshd.spec.model_copy(update={"host_key": None, "known_hosts": str(tmp_path / "known")}))
    fingerprint = process.run(("ssh-keygen", "-lf", "-"), stdin=sshd.host_key.encode()).stdout.decode().split()[1]
    assert not error.transient and fingerprint in str(error)
    assert (tmp_path / "known").read_text() == ""


def test_a_known_host_is_accepted(sshd: Sshd, tmp_path: Path) -> None:
    known = known_hosts(tmp_path / "known", sshd)
    with behind(sshd.spec.model_copy(update={"host_key": None, "known_hosts": known})) as host:
        assert host.run(("echo", "hi")).stdout == b"hi\n"


def test_a_host_key_that_is_none_is_named(sshd: Sshd) -> None:
    assert "`host-key` of hub" in str(refusal(sshd.spec.model_copy(update={"host_key": "SHA256:abc"})))


def test_a_refused_key_is_final_and_named(sshd: Sshd, tmp_path: Path) -> None:
    error = refusal(sshd.spec.model_copy(update={"identity": key_at(tmp_path / "stranger")}))
    assert not error.transient and f"refuses the key {tmp_path}/stranger" in str(error)


def test_a_key_with_a_passphrase_says_what_to_do(sshd: Sshd, tmp_path: Path) -> None:
    error = refusal(sshd.spec.model_copy(update={"identity": key_at(tmp_path / "locked", passphrase="geheim")}))
    assert not error.transient and "ssh-agent" in str(error)


def test_a_key_that_is_not_there_or_none_is_named(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("not a key")
    for name, words in (("absent", "No such file"), ("none", "is not a private key")):
        error = refusal(sshd.spec.model_copy(update={"identity": FromFile(file=f"{tmp_path}/{name}")}))
        assert not error.transient and f"{tmp_path}/{name}" in str(error) and words in str(error)


def test_an_unreachable_server_is_transient_and_named(sshd: Sshd) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        error = refusal(sshd.spec.model_copy(update={"port": port}))
    assert error.transient and f"hub (127.0.0.1 port {port}) cannot be reached" in str(error)


def test_a_server_that_hangs_up_is_transient(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude, ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: rude.accept()[0].close())
        assert refusal(sshd.spec.model_copy(update={"port": rude.getsockname()[1]})).transient


def test_threads_that_wait_for_a_connection_share_its_failure(sshd: Sshd) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        spec = sshd.spec.model_copy(update={"port": nobody.getsockname()[1]})
        with behind(spec) as host, ThreadPoolExecutor(8) as threads:
            running = [threads.submit(host.run, ("true",)) for _ in range(8)]
        errors = [each.exception() for each in running]
    assert {type(error) for error in errors} == {HostError}


def test_a_jump_host_leads_there(sshd: Sshd, make: Make, tmp_path: Path) -> None:
    assert sshd.spec.identity is not None
    jump = make(AuthorizedKeysFile=str(Path(sshd.spec.identity.file).with_name("authorized_keys")))
    known = known_hosts(tmp_path / "known", jump)
    changes = {"jump": f"{jump.spec.user}@127.0.0.1:{jump.port}", "known_hosts": known}
    with behind(sshd.spec.model_copy(update=changes)) as host:
        child = host.popen(("sleep", "600"))
        jump.stop()
        assert eventually(lambda: child.poll() == 255)
        child.stop()
    error = refusal(sshd.spec.model_copy(update=changes))
    assert error.transient and "hub" in str(error)


def test_a_restarted_server_is_used_again(make: Make) -> None:
    server = make()
    with behind(server.spec) as host:
        host.run(("true",))
        server.restart()
        assert eventually(lambda: host.run(("echo", "again")).stdout == b"again\n")


def test_a_connection_that_breaks_under_a_command_is_transient(make: Make, tmp_path: Path) -> None:
    server = make()
    with behind(server.spec) as host, ThreadPoolExecutor(1) as threads:
        running = threads.submit(host.run, ("sh", "-c", f"touch {tmp_path}/runs; exec sleep 600"), timeout=900)
        assert eventually((tmp_path / "runs").exists)
        server.drop_connections()
        error = running.exception(timeout=20)
    assert isinstance(error, HostError) and error.transient and "broke while sh ran" in str(error)


def test_a_connection_that_breaks_while_a_lock_is_taken_is_transient(make: Make, tmp_path: Path) -> None:
    server, path = make(), f"{tmp_path}/lock"
    with behind(server.spec) as host, ThreadPoolExecutor(1) as threads, Path(path).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # the session waits for the name of its holder
        taking = threads.submit(host.lock, path, "us")
        assert eventually(lambda: shells_about(path))
        server.drop_connections()
        error = taking.exception(timeout=20)
    assert isinstance(error, HostError) and error.transient and "broke" in str(error)


def test_a_connection_that_breaks_under_a_session_is_no_bug_whatever_it_does_then(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> None:
        raise EOFError

    with behind(make().spec) as host:
        finish = lambda session: session.finish([b"."], time.monotonic() + 10)  # noqa: E731
        receive = lambda session: session.receive(10)  # noqa: E731
        for act in (finish, receive):
            session = host._connections.start(("sh", "-c", "head -c 3000000 /dev/zero; sleep 600"))
            # What paramiko meets for a moment, before its own thread has told the channels. Where it can be met: in what is
            # sent, and in what is read, which tells sshd that there is room again.
            monkeypatch.setattr(session._channel.transport.packetizer, "send_message", gone)
            with pytest.raises(HostError, match="ssh session to hub broke") as failed:
                while act(session):
                    pass
            assert failed.value.transient
            with pytest.raises(BrokenPipeError):
                session.send(b"TERM")
            session.hang_up()
            session.close()
            session._channel.transport.close()


def test_a_broken_connection_shows_in_locks_and_children(make: Make, tmp_path: Path) -> None:
    server = make()
    with behind(server.spec) as host:
        lock = host.lock(f"{tmp_path}/lock", "us")
        child = host.popen(("sleep", "600"))
        with host.tempdir() as directory:
            server.drop_connections()
            assert eventually(lambda: not lock.alive())
            assert eventually(lambda: child.poll() == 255)
            assert child.stderr() == "the ssh session to hub broke\n"
            assert eventually(lambda: not Path(directory).exists())
            host.lock(f"{tmp_path}/lock", "us again").release()
        lock.release()
        child.stop()


def test_a_directory_whose_keeper_died_with_its_host_is_removed_at_the_end(make: Make) -> None:
    with behind(make().spec) as host, host.tempdir() as directory:
        keeper = Path(directory, ".owner").read_text().split()[2]
        os.kill(int(keeper), signal.SIGKILL)
    assert not Path(directory).exists()


@contextlib.contextmanager
def silent(server: Sshd) -> Iterator[None]:
    """Its connections: TCP is acknowledged, nobody answers, nothing is closed. New ones are taken."""
    frozen = server.connections()
    assert frozen
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an answer as long as for a real server."""
    monkeypatch.setattr("runner.hosts.supervisor.START_TIMEOUT", 1.0)
    monkeypatch.setattr("runner.hosts.ssh.session.SESSION_TIMEOUT", 1.0)
    monkeypatch.setattr("runner.hosts.ssh.link.SESSION_TIMEOUT", 1.0)
    monkeypatch.setattr("runner.hosts.ssh.files.RECORD_TIMEOUT", 1.0)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("verb", ["append", "write"])
def test_a_write_that_meets_silence_is_transient_and_never_comes_through_later(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """It goes silent in the middle: the script waits for its content."""
    server, path = make(), f"{tmp_path}/record"
    finish = Session.finish
    with contextlib.ExitStack() as silence, behind(server.spec) as host:

        def in_silence(*arguments: Any, **named: Any) -> Ended:
            monkeypatch.setattr(Session, "finish", finish)
            assert eventually(lambda: shells_about(path))
            silence.enter_context(silent(server))
            return finish(*arguments, **named)

        host.run(("true",))
        monkeypatch.setattr(Session, "finish", in_silence)
        with pytest.raises(HostError, match=f"{path} on hub: no answer within 1 s") as caught:
            getattr(host, verb)(path, b"old")
        assert caught.value.transient
        getattr(host, verb)(path, b"new")
        silence.close()
        assert eventually(lambda: not shells_about(path))
        assert host.read(path) == b"new"
        assert host.listdir(str(tmp_path)) == ["record", "server"]


@pytest.mark.usefixtures("soon")
def test_a_server_that_goes_silent_before_it_starts_a_command_is_left(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, before_the_command = make(), "runner.hosts.ssh.connections.hold_still"
    with contextlib.ExitStack() as silence, behind(server.spec) as host:
        host.run(("true",))
        monkeypatch.setattr(before_the_command, lambda: silence.enter_context(silent(server)))
        with pytest.raises(HostError, match="hub did not start a command: no answer in 1 s") as caught:
            host.run(("true",))
        assert caught.value.transient
        monkeypatch.setattr(before_the_command, lambda: None)
        assert host.run(("echo", "again")).stdout == b"again\n"


def test_a_command_that_follows_another_waits_for_nothing_but_its_output(make: Make) -> None:
    server = make()
    with behind(server.spec) as host:
        host.run(("true",))
        link = host._connections._links[0]
        assert eventually(lambda: link._ahead is not None and link._ahead.done())
        with silent(server):
            session = host._connections.start(("echo", "hi"))
        assert session.finish(None, time.monotonic() + 10).stdout == b"hi\n"
    assert server.log().count("Accepted publickey") == 1


@pytest.mark.usefixtures("soon")
def test_a_command_that_comes_later_asks_first_whether_its_server_is_there(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not lost to a connection that went silent meanwhile."""
    server = make()
    with behind(server.spec) as host:
        host.run(("true",))
        monkeypatch.setattr("runner.hosts.ssh.link.FRESH", 0.0)
        with silent(server):
            assert host.run(("echo", "again")).stdout == b"again\n"


def test_commands_go_on_where_no_thread_is_left_to_open_the_next_session(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = workers.start

    def full(work: Callable[[], object], name: str) -> None:
        if name == "next session":
            raise RuntimeError("can't start new thread")
        start(work, name)

    monkeypatch.setattr(workers, "start", full)
    with behind(make().spec) as host:
        for word in ("one", "two"):
            assert host.run(("echo", word)).stdout.decode() == f"{word}\n"


def shells_about(path: str) -> list[Path]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.encode() in place.read_bytes().split(b"\0"):
                found.append(place)
    return found


@pytest.mark.parametrize("script", [files._APPEND, files._WRITE_SPARSE], ids=["whole", "sparse"])
def test_a_write_whose_runner_is_frozen_in_the_middle_can_be_ended(sshd: Sshd, tmp_path: Path, script: Script) -> None:
    """It waits for content that does not come, and nothing hangs up."""
    path = f"{tmp_path}/record"
    with behind(sshd.spec) as host, behind(sshd.spec) as frozen:
        arguments = (path, str(tmp_path), f"{path}.new", "100", "600", "6000")
        session = frozen._connections.start(script.argv(*arguments, name=mark_of("R", "1")))
        assert eventually(lambda: Path(f"{path}.new").exists())
        end(host, (one.process for one in look(host).processes if path in one.command))
        session.close()
    assert not Path(path).exists()


def test_a_shell_that_says_nothing_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.hosts.supervisor.START_TIMEOUT", 0.1)
    with contextlib.closing(process.PipeWire(("sleep", "600"))) as wire:
        with pytest.raises(CommandError) as caught:
            first_line("hub", ("flock",), wire)
        wire._process.kill()
        wire.wait(10)
    assert caught.value.transient


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("by", ["the next one", "the end"])
def test_a_program_whose_session_went_silent_is_ended(make: Make, tmp_path: Path, by: str) -> None:
    server = make()
    with contextlib.ExitStack() as silence, behind(server.spec) as host:
        host.mark = mark_of("R", "1")
        child, _ = (host.popen(("sh", "-c", f"echo $$ >{tmp_path}/{name}; exec sleep 600")) for name in "ab")
        pid, other = (pid_in(tmp_path / name) for name in "ab")
        silence.enter_context(silent(server))
        with pytest.raises(CommandError):
            child.stop(timeout=0.2)
        assert is_there(pid)
        if by == "the end":
            host.close()
        else:
            host.popen(("sleep", "600"))
        assert eventually(lambda: not is_there(pid))
        assert is_there(other)


def pid_in(path: Path) -> int:
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("beat", "kept"), [(0.1, True), (600.0, False)], ids=["heard", "not-heard"])
def test_a_lock_is_the_holders_while_the_server_hears_from_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beat: float, kept: bool
) -> None:
    """A network that was cut closes nothing."""
    monkeypatch.setattr("runner.hosts.ssh.lock.BEAT", beat)
    monkeypatch.setattr("runner.hosts.ssh.lock.RELEASE_AFTER", 2)
    server = make()
    with behind(server.spec) as host, behind(server.spec) as another:
        lock = host.lock(f"{tmp_path}/lock", "us", "R:1")

        def can_be_taken() -> bool:
            try:
                taken = another.lock(f"{tmp_path}/lock", "them", "R:2")
            except LockedError:
                return False
            taken.release()
            return taken.before == "R:1"

        assert eventually(can_be_taken, 5) is not kept
        assert lock.alive() is kept
        lock.release()


@pytest.mark.parametrize("sessions", ["1", "3"])
def test_a_server_of_few_sessions_gets_more_connections(make: Make, sessions: str) -> None:
    with behind(make(MaxSessions=sessions).spec) as host:
        children = [host.popen(("sleep", "600")) for _ in range(7)]
        assert host.run(("echo", "hi")).stdout == b"hi\n"
        assert [child.poll() for child in children] == [None] * 7
        for child in children:
            child.stop()


@pytest.fixture
def link(make: Make) -> Iterator[Link]:
    """To a server of one session, of which somebody holds the place."""
    found = Link(log_in("hub", make(MaxSessions="1").spec))
    with contextlib.closing(found.login):
        assert found.hold()
        yield found


def test_of_few_sessions_the_last_is_the_one_that_lies_ready(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.hosts.ssh.link.FRESH", 0.0)
    link.open_ahead()
    assert eventually(lambda: link._ahead is not None and link._ahead.done())
    assert (only := link.channel()) is not None and not only.closed
    assert link.channel() is None and link.login.active() and link.refusal


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_session_ahead_that_a_bug_kept_from_coming(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patching:
        patching.setattr(link.login.transport, "open_session", bug)
        link.open_ahead()
        assert eventually(lambda: link._ahead is not None and link._ahead.done())
    link.heard()
    assert link.channel() is not None


def test_a_session_that_ended_needs_no_search_for_garbage(sshd: Sshd) -> None:
    with behind(sshd.spec) as host:
        session = host._connections.start(("true",))
        channel = weakref.ref(session._channel)
        assert session.finish(None, time.monotonic() + 10).exit_code == 0
        del session
        host.run(("true",))  # paramiko's thread still has the channel of the last packet
        assert eventually(lambda: channel() is None)


def test_a_server_of_no_sessions_is_an_error_after_few_logins(make: Make) -> None:
    server = make(MaxSessions="0")
    error = refusal(server.spec)
    assert not error.transient and "takes no session" in str(error)
    assert server.log().count("Accepted publickey") == 2
    with behind(server.spec) as host, ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(host.run, ("true",)) for _ in range(8)]
        assert {type(each.exception()) for each in asking} == {HostError}
    assert server.log().count("Accepted publickey") <= 2 + 8


class _BreaksOff(paramiko.ServerInterface):
    """No sshd_config makes a real one do so; a machine that has no process left does."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._transport.close()
        return paramiko.OPEN_FAILED_RESOURCE_SHORTAGE


def test_a_server_that_breaks_off_instead_of_starting_a_session_is_left_after_two_logins(sshd: Sshd) -> None:
    assert sshd.spec.identity is not None
    key = paramiko.Ed25519Key.from_private_key_file(sshd.spec.identity.file)
    logins: list[paramiko.Transport] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(key)
                logins.append(transport)
                transport.start_server(threading.Event(), _BreaksOff(transport))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        changes = {"port": listener.getsockname()[1], "host_key": f"{key.get_name()} {key.get_base64()}"}
        error = refusal(sshd.spec.model_copy(update=changes))
        listener.shutdown(socket.SHUT_RDWR)
    assert error.transient and "hub logs us in and then ends the connection" in str(error)
    assert len(logins) == 2


def test_the_users_ssh_configuration_is_not_read(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  Port 1\n  User nobody\n  HostName 192.0.2.1\n")
    (tmp_path / ".fabric.yaml").write_text("port: 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with behind(sshd.spec) as host:
        assert host.run(("true",)).exit_code == 0


@pytest.mark.parametrize("sent", [0, 50], ids=["nothing", "a half"])
def test_a_write_whose_content_came_in_part_changes_nothing(sshd: Sshd, tmp_path: Path, sent: int) -> None:
    with behind(sshd.spec) as host:
        host.write(f"{tmp_path}/manifest", b"before")
        for script in (files._WRITE, files._APPEND, files._WRITE_SPARSE):
            with pytest.raises(HostError, match="only a part of the content came"):
                host._stage(f"{tmp_path}/manifest", script, 100, 0o600, [b"0 50\n" * (sent // 5)], 60.0)
        assert host.read(f"{tmp_path}/manifest") == b"before"
        assert host.listdir(str(tmp_path)) == ["manifest"]


def test_what_a_command_says_on_standard_error_is_heard_where_its_reader_is_slow(
    ssh_host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = paramiko.Channel.recv_stderr
    late: set[paramiko.Channel] = set()

    def recv_stderr(channel: paramiko.Channel, size: int) -> bytes:
        if channel not in late:
            late.add(channel)
            assert eventually(lambda: channel.closed)
            raise TimeoutError
        return at_once(channel, size)

    monkeypatch.setattr(paramiko.Channel, "recv_stderr", recv_stderr)
    with pytest.raises(CommandError, match="why it failed"):
        ssh_host.run(("sh", "-c", "echo why it failed >&2; exit 1"))
    assert late
