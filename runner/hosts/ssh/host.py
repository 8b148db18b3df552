"""The verbs of a host behind sshd."""

from __future__ import annotations

import contextlib
import copy
import getpass
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from runner.base.errors import CommandError, HostError, Interrupted, SendenseError
from runner.base.waiting import NEVER, unless_stopped
from runner.hosts.fencing import hold_still
from runner.hosts.host import Child, Completed, Forwards, Lock
from runner.hosts.lending import lend
from runner.hosts.script import Script
from runner.hosts.shared_tunnel import SharedTunnel
from runner.hosts.spec import SshSpec
from runner.hosts.ssh.connections import Connections
from runner.hosts.ssh.files import SCRIPT_TIMEOUT, RemoteFiles, ScriptError
from runner.hosts.ssh.lock import take_lock
from runner.hosts.ssh.preamble import Account
from runner.hosts.ssh.session import Session
from runner.hosts.stray_processes import end, look
from runner.hosts.supervisor import LeashedChild, kept_directory, leash, receive
from runner.hosts.tunnel import open_forwards

_READ_TIMEOUT = 60.0
"""Seconds without a byte of a file that is read."""


class SshHost(RemoteFiles):
    """See `runner.hosts.host.Host`. Safe from any thread; a broken connection is opened again at the next
    call."""

    local = False

    def __init__(self, name: str, spec: SshSpec, warn: Callable[[str], None] = lambda text: None) -> None:
        """`warn` is told, once, what the account prints at each login."""
        self.name = name
        self.mark = ""
        self.stop: threading.Event = NEVER
        self._spec = spec
        self._connections = Connections(name, spec, Account(name, self.account, warn))
        self._tunnel = SharedTunnel(name, spec)
        self._cut_off: set[str] = set()
        """Tokens of leashes whose session broke or went silent. Where the network was cut sshd has not heard
        of it, and what is on the leash keeps running: an exporter keeps its image locked. Directories too:
        where the host went down, nobody removed them."""

    def until(self, stop: threading.Event) -> SshHost:
        bound = copy.copy(self)
        bound.stop = stop
        return bound

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        silence: float = math.inf,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        deadline = time.monotonic() + timeout
        content = stdin or b""
        session = self._start(leash(self.name, argv, size=len(content), mark=self.mark), self.stop)
        ended = session.finish([content], deadline, silence=silence, stop=self.stop, leashed=True)
        if ok is not None and ended.exit_code not in ok:
            raise CommandError(self.name, argv, ended.exit_code, ended.stderr)
        return Completed(tuple(argv), ended.exit_code, ended.stdout, ended.stderr)

    def popen(self, argv: Sequence[str]) -> Child:
        self._end_cut_off()
        return LeashedChild(argv, self.name, self._wire, self.mark, self._lost, self.stop)

    def tempdir(self, room: int = 0, *, on_disk: bool = False) -> AbstractContextManager[str]:
        return kept_directory(self.name, self._wire, self.mark, self._lost, self.stop, room, on_disk=on_disk)

    def lock(self, path: str, holder: str, token: str = "") -> Lock:
        return take_lock(self.name, self._wire, path, holder, token, self.mark)

    @property
    def account(self) -> str:
        # Without a name in the job, fabric and ssh both take that of the local user.
        return self._spec.user or getpass.getuser()

    @property
    def ports(self) -> range:
        return self._spec.port_range

    def reach(self, server: str, port: int, timeout: float = 15.0) -> str | None:
        return unless_stopped(lambda: self._connections.reach(server, port, timeout), self.stop)

    def forward(self, sockets: Sequence[str], *, dedicated: bool = False) -> AbstractContextManager[Forwards]:
        if dedicated:
            return open_forwards(self.name, self._spec, sockets, self.stop)
        return self._tunnel.forward(sockets, self.stop)

    def lend(self, sockets: Sequence[str]) -> AbstractContextManager[tuple[str, ...]]:
        return lend(self, self._spec, sockets, self.stop)

    def close(self) -> None:
        with contextlib.suppress(SendenseError):
            # What cannot be reached now is found by its mark, by the next run or sweep there.
            self._end_cut_off()
        self._tunnel.close()
        self._connections.close()

    def script(
        self,
        script: Script,
        *args: str,
        stdin: Iterable[bytes] | None = None,
        timeout: float = SCRIPT_TIMEOUT,
        stop: threading.Event = NEVER,
        leashed: bool = False,
    ) -> bytes:
        argv = script.argv(*args, name=self.mark or "sh")
        session = self._start(leash(self.name, argv, mark=self.mark) if leashed else argv, stop)
        if stdin is not None:
            try:
                hold_still()
            except BaseException:
                session.close()  # it gets the end of its standard input, and writes nothing of a part
                raise
        deadline = time.monotonic() + timeout
        ended = session.finish(stdin, deadline, hang_up=stdin is not None, stop=stop, leashed=leashed)
        if ended.exit_code != 0:
            raise ScriptError(ended.exit_code, ended.stderr)
        return ended.stdout

    def stream(self, script: Script, *args: str) -> Generator[bytes, None, None]:
        session = self._start(script.argv(*args, name=self.mark or "sh"), self.stop)
        try:
            while content := receive(session, _READ_TIMEOUT, self.stop):
                yield content
            ended = session.finish(None, time.monotonic() + _READ_TIMEOUT)
        except TimeoutError:
            raise HostError(f"{self.name} sent nothing for {_READ_TIMEOUT:.0f} s", transient=True) from None
        finally:
            session.close()
        if ended.exit_code != 0:
            raise ScriptError(ended.exit_code, ended.stderr)

    def _lost(self, token: str) -> None:
        self._cut_off.add(token)
        self._connections.doubt()

    def _end_cut_off(self) -> None:
        if left := self._cut_off.copy():
            found = look(self)
            end(self, (one.process for one in found.processes if left.intersection(one.command)))
            self.remove(*(one.path for one in found.directories if one.path in left), recursive=True)
            self._cut_off -= left

    def _wire(self, argv: Sequence[str]) -> Session:
        return self._start(argv, self.stop, merged=True)

    def _start(self, argv: Sequence[str], stop: threading.Event, *, merged: bool = False) -> Session:
        """Raises HostError, Interrupted: a login may take its time, and is left to the next caller."""
        if stop.is_set():
            raise Interrupted
        start = partial(self._connections.start, argv, merged=merged)
        return unless_stopped(start, stop, drop=Session.close)
