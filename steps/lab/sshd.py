"""An sshd of our own on 127.0.0.1: the repository host of the lab, as root or as a plain user.

It has its own host key, client key, authorized keys and pid file in one directory and reads nothing of the
system's sshd. ``StrictModes no`` since that directory may be in /tmp, ``UsePAM no`` since PAM needs root; an
account without a password must then not be locked by ``!`` in /etc/shadow (sshd(8), AUTHENTICATION).
"""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.base.errors import SendenseError
from runner.base.waiting import NEVER, until
from runner.hosts import process
from runner.hosts.secrets import FromFile
from runner.hosts.spec import SshSpec
from runner.hosts.supervisor import LeashedChild

SSHD = "/usr/sbin/sshd"
"""sshd wants to be called by its absolute path: it executes itself again for each connection."""
START_TIMEOUT = 10.0
_PORT_ATTEMPTS = 5
_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Debian's sshd refuses to start as root without it; systemd makes it, a container may not have it."""


class Sshd:
    """`options` are lines of sshd_config(5); they win over ours. The keys and the port stay the same over
    restarts."""

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        self._directory = directory.absolute()
        self._options = dict(options or {})
        self._child: LeashedChild | None = None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for key in ("host", "client"):
            _make_key(self._path(key))
        self._path("authorized_keys").write_bytes(self._path("client.pub").read_bytes())
        config = self._path("sshd_config")
        self.port = _port_of(config.read_text()) if config.exists() else 0

    @property
    def host_key(self) -> str:
        """``ssh-ed25519 AAAA…``, as in `host-key` of a job."""
        return " ".join(self._path("host.pub").read_text().split()[:2])

    @property
    def spec(self) -> SshSpec:
        return SshSpec(
            ssh=f"{getpass.getuser()}@127.0.0.1",
            port=self.port,
            identity=FromFile(file=str(self._path("client"))),
            host_key=self.host_key,
        )

    def start(self, *, detached: bool = False) -> None:
        """Returns once it listens. It ends with this process unless `detached`. Raises SendenseError with its
        words."""
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        for attempt in range(_PORT_ATTEMPTS):
            if fresh := not self.port:
                self.port = _free_port()
            self._path("sshd_config").write_text(self._config())
            self._path("log").write_bytes(b"")
            if self._launch(detached):
                return
            if not fresh or attempt == _PORT_ATTEMPTS - 1:
                break
            self.port = 0  # somebody took it between our look and sshd's bind
        raise SendenseError(f"the lab's sshd did not start: {self._last_words()}")

    def stop(self) -> None:
        """Ends it and its connections, also one that another process started. Not running is fine."""
        listener = self._listener()
        if listener is not None:
            # Frozen, it takes no new connection while we look at those it has.
            _signal(listener, signal.SIGSTOP)
            for connection in _connections(listener):
                _signal(connection, signal.SIGKILL)
            _signal(listener, signal.SIGKILL)
            _await(lambda: self._listener() is None, "the lab's sshd does not stop")
        self._path("pid").unlink(missing_ok=True)
        if self._child is not None:
            self._child.stop()
            self._child = None

    def restart(self) -> None:
        """Every connection breaks; the port stays."""
        self.stop()
        self.start()

    def drop_connections(self) -> None:
        """Every connection breaks; new ones are taken."""
        if (listener := self._listener()) is None:
            return
        # Stopped first: one that forks while we look would leave a child that nobody finds.
        seen: set[int] = set()
        while fresh := set(_connections(listener)) - seen:
            seen |= fresh
            for connection in fresh:
                _signal(connection, signal.SIGSTOP)
        for connection in seen:
            _signal(connection, signal.SIGKILL)

    def connections(self) -> list[int]:
        """The processes that serve them."""
        return [] if (listener := self._listener()) is None else _connections(listener)

    def logins(self) -> int:
        """How many were let in since it was started."""
        return self.log().count("Accepted publickey for ")

    def log(self) -> str:
        return self._path("log").read_text(errors="replace")

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _config(self) -> str:
        ours = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": _quoted(self._path("host")),
            "PidFile": _quoted(self._path("pid")),
            # The one path here in which sshd_config(5) has tokens.
            "AuthorizedKeysFile": _quoted(self._path("authorized_keys")).replace("%", "%%"),
            "AuthenticationMethods": "publickey",
            "StrictModes": "no",
            "UsePAM": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "Subsystem": "sftp internal-sftp",
            # bash reads ~/.bashrc in a session of sshd unless it looks nested; what people have there takes
            # its time.
            "SetEnv": "SHLVL=2",
            # Half the time of a login goes into a key exchange that also withstands quantum computers; nobody
            # listens here.
            "KexAlgorithms": "curve25519-sha256,curve25519-sha256@libssh.org",
        }
        lines = [f"{name} {value}\n" for name, value in (ours | self._options).items()]
        # Since 9.8 sshd shuts out an address that failed to log in; here everybody is 127.0.0.1. First, since
        # the options may end in a Match block.
        penalties = "PerSourcePenalties no\n"
        return "".join(([penalties] if self._understands(penalties) else []) + lines)

    def _understands(self, line: str) -> bool:
        trial = self._path("trial_config")
        trial.write_text(f"HostKey {_quoted(self._path('host'))}\n{line}")
        try:
            return process.run((SSHD, "-t", "-f", str(trial)), ok=None).exit_code == 0
        finally:
            trial.unlink()

    def _launch(self, detached: bool) -> bool:
        argv = (SSHD, "-D", "-f", str(self._path("sshd_config")), "-E", str(self._path("log")))
        if detached:
            null = subprocess.DEVNULL
            launched = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True)
            ended = launched.poll
        else:
            self._child = process.start(argv)
            ended = self._child.poll
        _await(lambda: self._listens() or ended() is not None, "the lab's sshd does not listen")
        return ended() is None

    def _listens(self) -> bool:
        return f"listening on 127.0.0.1 port {self.port}." in self.log() and self._listener() is not None

    def _last_words(self) -> str:
        return " / ".join(self.log().strip().splitlines()[-3:]) or "it printed nothing"

    def _listener(self) -> int | None:
        """Its pid, if the process of that number is ours: it has our log open. Its command line would not do:
        sshd writes itself a title, with escapes for what is not ASCII."""
        try:
            pid = int(self._path("pid").read_text())
            log = self._path("log").stat()
            ours = any(os.path.samestat(file.stat(), log) for file in Path(f"/proc/{pid}/fd").iterdir())
        except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
            return None
        return pid if ours else None


def _make_key(path: Path) -> None:
    if not path.exists():
        process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sendense lab", "-f", str(path)))


def _port_of(config: str) -> int:
    return next(int(line.split()[1]) for line in config.splitlines() if line.startswith("Port "))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    return f'"{path}"'


def _connections(listener: int) -> list[int]:
    """The processes sshd made for its connections (two each with privilege separation), not the commands they
    run."""
    parents: dict[int, int] = {}
    ours: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # proc(5): pid (comm) state ppid …; comm may hold spaces and brackets.
                comm, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended
            parents[int(entry.name)] = int(rest.split()[1])
            if comm.startswith("sshd"):
                ours.add(int(entry.name))
    return [pid for pid in ours if pid != listener and _descends(pid, listener, parents)]


def _descends(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != ancestor:
        pid = parents[pid]
    return pid == ancestor


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    late = SendenseError(f"{otherwise} after {START_TIMEOUT:.0f} s")
    until(condition, stop=NEVER, timeout=START_TIMEOUT, late=lambda: late)
