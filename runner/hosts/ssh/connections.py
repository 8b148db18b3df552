"""As many connections to one server as its sessions need."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import paramiko

from runner.base.errors import HostError
from runner.hosts.fencing import hold_still
from runner.hosts.spec import SshSpec
from runner.hosts.ssh.command_line import Word, command_line
from runner.hosts.ssh.link import Answer, Link, Place
from runner.hosts.ssh.login import log_in
from runner.hosts.ssh.preamble import Account
from runner.hosts.ssh.session import Session

LOGINS_WITHOUT_SESSION = 2
"""What logs us in and then takes no session, or breaks off, twice in a row, does so the next time too; the
second is for threads that are at once, and for a network that breaks just then."""

_NO_WAY = 2
"""SSH_OPEN_CONNECT_FAILED (RFC 4254, 5.1); sshd's own words paramiko keeps to itself."""


class Connections:
    """As many connections to one server as its sessions need; safe from any thread; a broken one is
    replaced."""

    def __init__(self, name: str, spec: SshSpec, account: Account) -> None:
        self._name = name
        self._account = account
        self._spec = spec
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._failures: list[HostError] = []

    def start(self, argv: Sequence[str], *, merged: bool = False) -> Session:
        """Starts a command; `merged`: its standard error comes with its output. Raises HostError; what keeps
        sshd from starting it shows when its output is read."""
        word = Word()
        command = command_line(argv, word, merged=merged)
        tried: list[Link] = []
        while True:
            link = self._take(tried) or self._take_new(tried)
            channel = self._channel(link, command)
            if channel is not None:
                return Session(self._account, argv, word, channel, Place(link), merged=merged)
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
            link.release()
        return ""

    def doubt(self) -> None:
        """Something did not come through: the next command asks whether its server is there."""
        with self._lock:
            for link in self._links:
                link.doubt()

    def close(self) -> None:
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.login.close()

    def _take(self, refused: Sequence[Link]) -> Link | None:
        with self._lock:
            for dead in [link for link in self._links if not link.login.active()]:
                self._links.remove(dead)
                dead.login.close()
            return next((link for link in self._links if link not in refused and link.hold()), None)

    def _take_new(self, refused: Sequence[Link]) -> Link:
        seen = len(self._failures)
        with self._connecting:
            # Those who waited here get what the others found: a place, or the same failure.
            if link := self._take(refused):
                return link
            if len(self._failures) > seen:
                last = self._failures[-1]
                raise HostError(last.message, transient=last.transient)
            try:
                link = Link(log_in(self._name, self._spec))
            except HostError as error:
                self._failures.append(error)
                raise
            link.hold()
            with self._lock:
                self._links.append(link)
            return link

    def _channel(self, link: Link, command: bytes) -> paramiko.Channel | None:
        """None if the connection takes no further session or is dead; then the command was not started."""
        channel = link.channel()
        if channel is None:
            link.release()
            if link.login.active():
                link.refuses()
            return None
        try:
            link.open_ahead()
            hold_still()
            channel.event = Answer(channel)
            channel.exec_command(command)
        except BaseException as error:
            channel.close()
            link.release()
            if isinstance(error, paramiko.SSHException | OSError | EOFError):
                raise HostError(f"{self._name} did not start a command: {error}", transient=True) from error
            raise
        return channel

    def _no_session(self, link: Link) -> HostError:
        if link.refusal:
            return HostError(
                f"{self._name} takes no session: {link.refusal}; see MaxSessions in its sshd_config"
            )
        return HostError(
            f"{self._name} logs us in and then ends the connection instead of starting a command: see the "
            "log of its sshd",
            transient=True,
        )
