"""As many connections to one server as its sessions need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paramiko

from runner.base.errors import HostError
from runner.hosts.fencing import hold_still
from runner.hosts.spec import SshSpec
from runner.hosts.ssh.command_line import Word, command_line
from runner.hosts.ssh.login import Login, log_in
from runner.hosts.ssh.preamble import Account
from runner.hosts.ssh.session import SESSION_TIMEOUT, Session

SESSIONS_PER_CONNECTION = 8
"""sshd_config(5): MaxSessions is 10 by default; sshd frees the place of an ended session a moment later."""

LOGINS_WITHOUT_SESSION = 2
"""What logs us in and then takes no session, or breaks off, twice in a row, does so the next time too; the
second is for threads that are at once, and for a network that breaks just then."""

_NO_WAY = 2
"""SSH_OPEN_CONNECT_FAILED (RFC 4254, 5.1); sshd's own words paramiko keeps to itself."""


class _Answer(threading.Event):
    """Of a channel: paramiko's exec_command waits for it without a deadline."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(SESSION_TIMEOUT if timeout is None else timeout):
            raise TimeoutError(f"no answer in {SESSION_TIMEOUT:.0f} s")
        return True


@dataclass(eq=False)
class _Link:
    login: Login
    places: int = SESSIONS_PER_CONNECTION
    held: int = 0
    proven: bool = False
    """It took a session before."""
    refusal: str = ""
    """What it said to a session that it did not take; empty where it broke off."""


class Connections:
    """As many connections to one server as its sessions need; safe from any thread; a broken one is
    replaced."""

    def __init__(self, name: str, spec: SshSpec, account: Account) -> None:
        self._name = name
        self._account = account
        self._spec = spec
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._failures: list[HostError] = []

    def start(self, argv: Sequence[str], *, merged: bool = False) -> Session:
        """Starts a command; `merged`: its standard error comes with its output. Raises HostError."""
        word = Word()
        command = command_line(argv, word, merged=merged)
        tried: list[_Link] = []
        while True:
            link = self._take(tried) or self._take_new(tried)
            channel = self._channel(link, command)
            if channel is not None:
                return Session(self._account, argv, word, channel, self._release_once(link), merged=merged)
            tried.append(link)
            if (
                len(useless := [one for one in tried if not one.proven and not one.held])
                >= LOGINS_WITHOUT_SESSION
            ):
                raise self._no_session(useless[-1])

    def reach(self, server: str, port: int, timeout: float) -> str | None:
        """See `runner.hosts.host.Host`. Raises HostError if there is no connection to ask on."""
        link = self._take(()) or self._take_new(())
        try:
            link.login.transport.open_channel(
                "direct-tcpip", (server, port), ("127.0.0.1", 0), timeout=timeout
            ).close()
        except paramiko.ChannelException as error:
            return (
                "it is refused, or the name or the network is not known there"
                if error.code == _NO_WAY
                else None
            )
        except (paramiko.SSHException, OSError, EOFError):
            return f"nothing answers in {timeout:.0f} s" if link.login.active() else None
        finally:
            self._release(link)
        return ""

    def close(self) -> None:
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.login.close()

    def _take(self, refused: Sequence[_Link]) -> _Link | None:
        with self._lock:
            for dead in [link for link in self._links if not link.login.active()]:
                self._links.remove(dead)
                dead.login.close()
            for link in self._links:
                if link.held < link.places and link not in refused:
                    link.held += 1
                    return link
        return None

    def _take_new(self, refused: Sequence[_Link]) -> _Link:
        seen = len(self._failures)
        with self._connecting:
            # Those who waited here get what the others found: a place, or the same failure.
            if link := self._take(refused):
                return link
            if len(self._failures) > seen:
                last = self._failures[-1]
                raise HostError(last.message, transient=last.transient)
            try:
                link = _Link(log_in(self._name, self._spec))
            except HostError as error:
                self._failures.append(error)
                raise
            with self._lock:
                link.held += 1
                self._links.append(link)
            return link

    def _channel(self, link: _Link, command: bytes) -> paramiko.Channel | None:
        """None if the connection takes no further session or is dead; then the command was not started."""
        began = time.monotonic()
        try:
            channel = link.login.transport.open_session(timeout=SESSION_TIMEOUT)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._release(link)
            if link.login.active() and time.monotonic() - began < SESSION_TIMEOUT:
                # Refused; when two threads were at once, paramiko gives the reason to one of them only.
                link.refusal = error.text if isinstance(error, paramiko.ChannelException) else str(error)
                link.places = max(1, link.held)
            else:
                link.login.close()
            return None
        link.proven = True
        try:
            hold_still()
        except BaseException:
            channel.close()
            self._release(link)
            raise
        channel.event = _Answer()
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._release(link)
            if isinstance(error, TimeoutError):
                link.login.close()
            raise HostError(f"{self._name} did not start a command: {error}", transient=True) from error
        return channel

    def _no_session(self, link: _Link) -> HostError:
        if link.refusal:
            return HostError(
                f"{self._name} takes no session: {link.refusal}; see MaxSessions in its sshd_config"
            )
        return HostError(
            f"{self._name} logs us in and then ends the connection instead of starting a command: see the "
            "log of its sshd",
            transient=True,
        )

    def _release(self, link: _Link) -> None:
        with self._lock:
            link.held -= 1

    def _release_once(self, link: _Link) -> Callable[[], None]:
        done = threading.Lock()

        def release() -> None:
            if done.acquire(blocking=False):
                self._release(link)

        return release
