"""Forwards of small work, all through one ssh process that is logged in once.

A run in which little changed moves a few MiB, and logging in is most of what its forwards cost: both
machines, and sshd's MaxStartups. So the first forward of a run logs in, and further ones are added to the
living ssh and taken from it again, see `runner.hosts.ssh_control`. Work that moves much gets ssh processes of
its own, see `runner.hosts.tunnel`.

Where that ssh dies all forwards through it are dead, and the next one logs in again. One that is alive and
carries nothing, since the network was cut and nobody heard of it, shows only to its users (`retire`):
then the next forward logs in anew, and the old ssh ends with the last forward that it carries.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runner.base.errors import HostError, Interrupted, SendenseError
from runner.base.waiting import NEVER, has_ended, until
from runner.hosts import process, ssh_control, ssh_process
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.host import Child, Forwards
from runner.hosts.spec import SshSpec
from runner.hosts.ssh_config import CONTROL, write_config
from runner.hosts.tunnel import checked

ANSWER_TIMEOUT = 15.0
"""Seconds for an ssh of this machine to do what it is asked, which takes no round trip."""


class SharedTunnel:
    """To one server; safe from any thread. It logs in with the first forward."""

    def __init__(self, host: str, spec: SshSpec) -> None:
        self._host = host
        self._spec = spec
        self._lock = threading.Lock()
        self._opening: Future[_Connection] | None = None
        """Of the connection that the next forward goes through, `_current` once it is logged in."""
        self._current: _Connection | None = None
        self._open: set[_Connection] = set()

    @contextmanager
    def forward(self, sockets: Sequence[str], stop: threading.Event = NEVER) -> Iterator[Forwards]:
        """As `runner.hosts.tunnel.open_forwards`."""
        connection = self._take(stop)
        try:
            seen = connection.child.stderr()
            near = connection.add(sockets, stop)
            share = _Share(connection.child, seen)
            try:
                yield Forwards(near, (share,), retire=lambda: self._retire(connection))
            finally:
                connection.cancel(near, sockets)
        finally:
            self._release(connection)

    def close(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
            self._current = self._opening = None
        for connection in connections:
            connection.closing.close()

    def _take(self, stop: threading.Event) -> _Connection:
        """The one that lives, for one more forward. A caller that comes while it logs in waits for it,
        and gets the same failure."""
        while True:
            with self._lock:
                opening, begins = self._opening, self._opening is None
                if opening is None:
                    opening = self._opening = Future()
            if begins:
                self._log_in(opening, stop)
            else:
                until(partial(has_ended, opening), stop=stop, timeout=math.inf, pause=0)
            try:
                connection = opening.result()
            except Interrupted:
                if stop.is_set():
                    raise
                continue  # the work that began it was stopped, ours is not
            except HostError as error:
                raise HostError(error.message, transient=error.transient) from error
            with self._lock:
                connection.forwards += 1
                if connection in self._open and connection.child.poll() is None:
                    return connection
            self._release(connection)

    def _log_in(self, opening: Future[_Connection], stop: threading.Event) -> None:
        try:
            connection = _Connection.begun(self._host, self._spec, stop)
        except BaseException as error:  # noqa: BLE001  those that wait for it raise it, as we do
            with self._lock:
                self._opening = None
            opening.set_exception(error)
            return
        with self._lock:
            self._open.add(connection)
            self._current = connection
        opening.set_result(connection)

    def _retire(self, connection: _Connection) -> None:
        with self._lock:
            connection.retired = True
            if self._current is connection:
                self._current = self._opening = None

    def _release(self, connection: _Connection) -> None:
        with self._lock:
            connection.forwards -= 1
            over = connection.retired or connection.child.poll() is not None
            if over and self._current is connection:
                self._current = self._opening = None
            if connection.forwards or not over or connection not in self._open:
                return
            self._open.remove(connection)
        connection.closing.close()


@dataclass(eq=False)
class _Connection:
    """An ssh that is logged in, and takes forwards through its control socket."""

    host: str
    directory: str
    child: Child
    closing: ExitStack
    names: Iterator[int]
    """A new one for each socket: a cancelled forward leaves its own behind, and ssh binds no name twice."""
    forwards: int = 0
    """How many contexts use it."""
    retired: bool = False

    @classmethod
    def begun(cls, host: str, spec: SshSpec, stop: threading.Event) -> _Connection:
        with ExitStack() as closing:
            directory = closing.enter_context(process.temporary_directory())
            with translate_os_errors(THIS_MACHINE, directory):
                config = write_config(Path(directory), spec)
            control = Path(directory, CONTROL)
            # ssh gives it this name once it listens there (mux.c, muxserver_listen).
            options = ("-F", config, "-M")
            child = ssh_process.start(
                closing,
                host,
                spec,
                options,
                ready=control.is_socket,
                afresh=lambda: control.unlink(missing_ok=True),
                stop=stop,
            )
            return cls(host, directory, child, closing.pop_all(), itertools.count())

    def add(self, sockets: Sequence[str], stop: threading.Event) -> tuple[str, ...]:
        near = tuple(f"{self.directory}/{next(self.names)}" for _ in sockets)
        self._ask("forward", near, sockets, stop)
        return near

    def cancel(self, near: Sequence[str], sockets: Sequence[str]) -> None:
        """Whatever state ssh is in: one that does not answer ends with its last forward, and is not used
        again."""
        try:
            # One that is retired may not answer: many forwards would wait for that one after the other.
            if self.child.poll() is None and not self.retired:
                self._ask("cancel", near, sockets, NEVER)
        except SendenseError:  # also where it says that it cannot
            self.retired = True
        for path in near:
            Path(path).unlink(missing_ok=True)

    def _ask(
        self, verb: ssh_control.Verb, near: Sequence[str], sockets: Sequence[str], stop: threading.Event
    ) -> None:
        pairs = list(zip(near, map(checked, sockets), strict=True))
        try:
            ssh_control.ask(f"{self.directory}/{CONTROL}", verb, pairs, ANSWER_TIMEOUT, stop)
        except TimeoutError as error:
            self.retired = True  # else all that come later would ask it too
            late = f"ssh to {self.host} did not answer within {ANSWER_TIMEOUT:.0f} s"
            raise HostError(late, transient=True) from error
        except (OSError, ssh_control.Refused) as error:
            if self.child.poll() is not None:
                raise ssh_process.failure(self.host, self.child) from error
            raise HostError(f"ssh to {self.host} adds no forward: {error}", transient=True) from error


class _Share:
    """The ssh of a connection as one forward sees it: a `runner.hosts.host.Child` without what it said
    before."""

    def __init__(self, child: Child, seen: str) -> None:
        self.argv = child.argv
        self.host = child.host
        self._child = child
        self._seen = seen
        self.poll = child.poll
        self.stop = child.stop

    def stderr(self) -> str:
        return self._child.stderr().removeprefix(self._seen)
