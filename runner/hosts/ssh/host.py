"""The verbs of a host behind sshd."""

from __future__ import annotations

import getpass
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager

from runner.errors import CommandError, HostError, LockedError
from runner.hosts import Child, Completed, Forwards, Lock
from runner.hosts.spec import SshSpec
from runner.hosts.ssh.connections import Connections
from runner.hosts.ssh.files import SCRIPT_TIMEOUT, RemoteFiles, ScriptError
from runner.hosts.ssh.session import Session
from runner.hosts.tunnel import open_forwards
from runner.leash import LeashedChild, first_line, kept_directory, leash

_READ_TIMEOUT = 60.0
"""Seconds without a byte of a file that is read."""

# The shell holds the lock by its file descriptor 9 for as long as its standard input, our session, is open. A holder
# writes its name right after it got the lock.
_LOCK = """\
export LC_ALL=C
umask 077
exec 9>>"$1" || exit
flock -n -E 75 9
code=$?
if [ "$code" -eq 75 ]; then
    tries=10
    while [ ! -s "$1" ] && [ "$tries" -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
    echo refused
    exec cat <"$1"
fi
[ "$code" -eq 0 ] || exit
printf %s "$2" >"$1" || exit
echo taken
cat >/dev/null
: >"$1"
"""


class SshHost(RemoteFiles):
    """See `runner.hosts.Host`. Safe from any thread; a broken connection is opened again at the next call."""

    local = False

    def __init__(self, name: str, spec: SshSpec) -> None:
        self.name = name
        self._spec = spec
        self._connections = Connections(name, spec)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        deadline = time.monotonic() + timeout
        content = stdin or b""
        session = self._connections.start(leash(self.name, argv, size=len(content)))
        ended = session.finish([content], deadline)
        if ok is not None and ended.exit_code not in ok:
            raise CommandError(self.name, argv, ended.exit_code, ended.stderr)
        return Completed(tuple(argv), ended.exit_code, ended.stdout, ended.stderr)

    def popen(self, argv: Sequence[str]) -> Child:
        return LeashedChild(argv, self.name, self._wire)

    def tempdir(self) -> AbstractContextManager[str]:
        return kept_directory(self.name, self._wire)

    def lock(self, path: str, holder: str) -> Lock:
        wire = self._wire(("sh", "-c", _LOCK, "lock", path, holder))
        try:
            answer, text = first_line(self.name, ("flock", path), wire)
            if answer != "taken":
                while content := wire.receive(SCRIPT_TIMEOUT):
                    text += content
                words = text.decode(errors="replace")
                if answer == "refused":
                    raise LockedError(f"{path} on {self.name}", words or "it left no name")
                raise HostError(f"{path} on {self.name} cannot be locked: {answer} {words}".strip())
        except BaseException:
            wire.close()
            raise
        return SshLock(self.name, path, wire)

    @property
    def account(self) -> str:
        # Without a name in the job, fabric and ssh both take that of the local user.
        return self._spec.user or getpass.getuser()

    @property
    def ports(self) -> range:
        return self._spec.port_range

    def forward(self, sockets: Sequence[str]) -> AbstractContextManager[Forwards]:
        return open_forwards(self.name, self._spec, sockets)

    def close(self) -> None:
        self._connections.close()

    def script(
        self, text: str, *args: str, stdin: Iterable[bytes] | None = None, timeout: float = SCRIPT_TIMEOUT
    ) -> bytes:
        deadline = time.monotonic() + timeout
        session = self._connections.start(("sh", "-c", text, "sh", *args))
        ended = session.finish(stdin, deadline, hang_up=stdin is not None)
        if ended.exit_code != 0:
            raise ScriptError(ended.exit_code, ended.stderr)
        return ended.stdout

    def stream(self, text: str, *args: str) -> Generator[bytes, None, None]:
        session = self._connections.start(("sh", "-c", text, "sh", *args))
        try:
            while content := session.receive(_READ_TIMEOUT):
                yield content
            ended = session.finish(None, time.monotonic() + _READ_TIMEOUT)
        except TimeoutError:
            raise HostError(f"{self.name} sent nothing for {_READ_TIMEOUT:.0f} s", transient=True) from None
        finally:
            session.close()
        if ended.exit_code != 0:
            raise ScriptError(ended.exit_code, ended.stderr)

    def _wire(self, argv: Sequence[str]) -> Session:
        return self._connections.start(argv, merged=True)


class SshLock:
    """See `runner.hosts.Lock`."""

    def __init__(self, host: str, path: str, wire: Session) -> None:
        self._host = host
        self._path = path
        self._wire = wire

    def alive(self) -> bool:
        return self._wire.wait(0) is None

    def release(self) -> None:
        """Twice is fine."""
        self._wire.hang_up()
        code = self._wire.wait(SCRIPT_TIMEOUT)
        self._wire.close()
        if code is None:
            raise HostError(f"the lock {self._path} on {self._host} is not released: its session does not end")
