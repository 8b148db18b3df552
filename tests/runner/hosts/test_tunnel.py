"""OpenSSH forwards: what they carry, how they fail, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.errors import HostError
from runner.hosts import process
from runner.hosts.secrets import FromFile
from runner.hosts.spec import SshSpec
from runner.hosts.tunnel import explain, open_forwards
from steps.lab.sshd import Sshd
from tests.eventually import children_of_ours, eventually

pytestmark = pytest.mark.slow

PIDFD_GETFD = 438
"""Its number, on every architecture."""


@pytest.fixture
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A unix socket on the server that says back what it hears."""
    with process.temporary_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/echo")
        listener.listen(16)
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield f"{directory}/echo"
        listener.shutdown(socket.SHUT_RDWR)


def answer(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            with connection:
                while content := connection.recv(65536):
                    connection.sendall(content)


def say(path: str, words: bytes = b"hello") -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        heard = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(words)
            while len(heard) < len(words) and (content := connection.recv(65536)):
                heard += content
        return heard


@contextlib.contextmanager
def running(directory: Path, **options: str) -> Iterator[Sshd]:
    server = Sshd(directory, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def failure(spec: SshSpec, sockets: int = 1) -> HostError:
    before = children_of_ours()
    with pytest.raises(HostError) as caught, open_forwards("hub", spec, ["/tmp/x"] * sockets):
        raise AssertionError("it opened")
    assert children_of_ours() == before
    return caught.value


def test_each_socket_is_carried_by_an_ssh_of_its_own(sshd: Sshd, echo: str) -> None:
    before = children_of_ours()
    with open_forwards("hub", sshd.spec, [echo] * 4) as forwards:
        assert len(children_of_ours() - before) == 5
        assert len(set(forwards.sockets)) == len(forwards.children) == 4
        assert [say(path, b"x" * 100_000) for path in forwards.sockets] == [b"x" * 100_000] * 4
        assert {oct(Path(path).stat().st_mode & 0o777) for path in forwards.sockets} == {"0o600"}
        assert explain("hub", forwards) is None
    assert children_of_ours() == before
    assert not Path(forwards.sockets[0]).parent.exists()


def test_a_socket_path_fits_into_an_address(sshd: Sshd, echo: str) -> None:
    with open_forwards("hub", sshd.spec, [echo]) as forwards:
        assert len(forwards.sockets[0]) <= 40


def test_another_host_key_is_final(sshd: Sshd, tmp_path: Path) -> None:
    process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/other"))
    error = failure(sshd.spec.model_copy(update={"host_key": (tmp_path / "other.pub").read_text().strip()}))
    assert not error.transient and "Host key verification failed" in str(error)


def test_a_refused_key_is_final(sshd: Sshd, tmp_path: Path) -> None:
    process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/stranger"))
    error = failure(sshd.spec.model_copy(update={"identity": FromFile(file=f"{tmp_path}/stranger")}), sockets=3)
    assert not error.transient and "Permission denied" in str(error)


def test_an_unreachable_server_is_transient(sshd: Sshd) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        error = failure(sshd.spec.model_copy(update={"port": nobody.getsockname()[1]}))
    assert error.transient and "Connection refused" in str(error)


@pytest.mark.parametrize(
    "options",
    [{"AllowStreamLocalForwarding": "no"}, {"PermitOpen": "127.0.0.1:1"}, {"DisableForwarding": "yes"}],
    ids=["AllowStreamLocalForwarding", "PermitOpen", "DisableForwarding"],
)
def test_a_prohibited_forward_is_explained(tmp_path: Path, echo: str, options: dict[str, str]) -> None:
    with running(tmp_path, **options) as server, open_forwards("hub", server.spec, [echo]) as forwards:
        assert say(forwards.sockets[0]) == b""
        assert eventually(lambda: explain("hub", forwards))
        error = explain("hub", forwards)
    assert error is not None and "sshd of hub does not connect to the socket there" in str(error)
    assert next(iter(options)) in str(error)


def test_nobody_at_the_far_end_is_transient(sshd: Sshd, tmp_path: Path) -> None:
    with open_forwards("hub", sshd.spec, [f"{tmp_path}/nobody"]) as forwards:
        assert say(forwards.sockets[0]) == b""
        assert eventually(lambda: explain("hub", forwards))
        error = explain("hub", forwards)
    assert error is not None and error.transient and "nothing listens on it" in str(error)


def test_a_broken_connection_ends_its_ssh(tmp_path: Path, echo: str) -> None:
    with running(tmp_path) as server, open_forwards("hub", server.spec, [echo, echo]) as forwards:
        server.drop_connections()
        assert eventually(lambda: all(child.poll() is not None for child in forwards.children))
        error = explain("hub", forwards)
    assert error is not None and error.transient and "ssh to hub failed" in str(error)


def test_a_server_that_takes_few_logins_at_a_time_serves_many_tunnels(tmp_path: Path, echo: str) -> None:
    # sshd counts a login for a moment after ssh listens, so of five at once it sees one or two more.
    with (
        running(tmp_path, MaxStartups="8:100:8") as server,
        open_forwards("hub", server.spec, [echo] * 12) as forwards,
    ):
        assert [say(path) for path in forwards.sockets] == [b"hello"] * 12


def test_names_of_key_and_known_hosts_may_hold_anything(sshd: Sshd, tmp_path: Path, echo: str) -> None:
    place = tmp_path / 'it\'s %h ${HOME} "x"'
    place.mkdir()
    (place / "key").write_text(Path(sshd.spec.identity.file if sshd.spec.identity else "").read_text())
    (place / "key").chmod(0o600)
    (place / "known").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    changes = {"identity": FromFile(file=str(place / "key")), "known_hosts": str(place / "known"), "host_key": None}
    with open_forwards("hub", sshd.spec.model_copy(update=changes), [echo]) as forwards:
        assert say(forwards.sockets[0]) == b"hello"


def test_a_jump_host_leads_there(sshd: Sshd, tmp_path: Path, echo: str) -> None:
    assert sshd.spec.identity is not None
    allowed = Path(sshd.spec.identity.file).with_name("authorized_keys")
    with running(tmp_path / "jump", AuthorizedKeysFile=str(allowed)) as jump:
        (tmp_path / "known").write_text(f"[127.0.0.1]:{jump.port} {jump.host_key}\n")
        changes = {"jump": f"{jump.spec.user}@127.0.0.1:{jump.port}", "known_hosts": str(tmp_path / "known")}
        with open_forwards("hub", sshd.spec.model_copy(update=changes), [echo]) as forwards:
            assert say(forwards.sockets[0]) == b"hello"
            jump.drop_connections()
            assert eventually(lambda: forwards.children[0].poll() is not None)


def test_what_is_small_does_not_wait_for_acknowledgements_at_either_end(sshd: Sshd, echo: str) -> None:
    with open_forwards("hub", sshd.spec, [echo]) as forwards:
        assert say(forwards.sockets[0]) == b"hello"
        assert eventually(lambda: connections_to(sshd.port) == {"ssh": True, "sshd": True}), connections_to(sshd.port)


def test_a_server_that_gives_no_terminal_carries_forwards_all_the_same(tmp_path: Path, echo: str) -> None:
    with running(tmp_path, PermitTTY="no") as server, open_forwards("hub", server.spec, [echo]) as forwards:
        assert say(forwards.sockets[0]) == b"hello"
        assert forwards.children[0].poll() is None


def connections_to(port: int) -> dict[str, bool]:
    """Which programs hold TCP connections to or from the port, and whether all of these have TCP_NODELAY. Since OpenSSH 9.8 a
    program of its own, sshd-session, serves a connection."""
    found: dict[str, bool] = {}
    for path in _descriptors():
        with contextlib.suppress(OSError):
            if not path.readlink().name.startswith("socket:"):
                continue
            name = (path.parents[1] / "comm").read_text().strip().removesuffix("-session")
            if name in ("ssh", "sshd") and (sets := no_delay(int(path.parts[2]), int(path.name), port)) is not None:
                found[name] = found.get(name, True) and sets
    return found


def _descriptors() -> Iterator[Path]:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield from (directory / "fd").iterdir()


def no_delay(pid: int, descriptor: int, port: int) -> bool | None:
    """Of that descriptor of another process; None if it is no connection of the port. See pidfd_getfd(2)."""
    process_of = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process_of, descriptor, 0)
    finally:
        os.close(process_of)
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=copy) as seen:
        if seen.family != socket.AF_INET or port not in (seen.getsockname()[1], seen.getpeername()[1]):
            return None
        return bool(seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
