"""One connection, and the channels of its sessions: the next one is opened before it is asked for.

Opening a channel and starting a command in it are two questions to sshd. On a long wire each costs a round
trip, and a run asks a hundred commands one after the other. So a channel lies ready, and the command's output
is its answer: a command then takes one round trip instead of two, and one that is sent standard input two
instead of three (with a round trip of 20 ms: 29 ms instead of 50, and 52 instead of 73). sshd starts no
process for a channel without a command, and gives it no window to send into.

To ask for a channel shows before the command is sent whether the server is still there; to take the one that
lies ready does not. So that one is taken only just after the server was heard of.
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import paramiko

from runner.base import workers
from runner.hosts.ssh.login import Login

SESSION_TIMEOUT = 30.0
"""Seconds for sshd to answer a request that needs no work."""

SESSIONS_PER_CONNECTION = 8
"""sshd_config(5): MaxSessions is 10 by default; sshd frees the place of an ended session a moment later."""

FRESH = 5.0
"""Seconds for which a server that was heard of is taken to be there: the next command of a run follows
sooner, and one after an hour of copying asks."""

_REFUSED = (paramiko.SSHException, OSError, EOFError)


class Answer(threading.Event):
    """Of sshd to a channel's request. paramiko's exec_command waits for it without a deadline; here the
    session looks for it while it waits for output."""

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        self._channel = channel

    @property
    def came(self) -> bool:
        return super().is_set()

    def is_set(self) -> bool:
        return True

    def wait(self, timeout: float | None = None) -> bool:
        self._channel.event_ready = True  # else paramiko takes it for a refusal
        # It is waited for once. Each has the other: neither would go before Python looks for garbage.
        del self._channel
        return True


@dataclass(eq=False)
class Link:
    """`held` of its `places` are taken by sessions; `proven`: it took one before."""

    login: Login
    places: int = SESSIONS_PER_CONNECTION
    held: int = 0
    proven: bool = False
    refusal: str = ""
    """What it said to a session that it did not take; empty where it broke off."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _heard: float = -math.inf
    """When something came over it, by time.monotonic(); before that, it is in doubt."""
    _ahead: Future[paramiko.Channel | None] | None = None
    """The channel of the next session: it has one of the places."""
    _sparse: bool = False
    """It gave none ahead."""

    def hold(self) -> bool:
        """Takes a place; False if none is free."""
        with self._lock:
            free = self.held < self.places
            self.held += free
            return free

    def release(self) -> None:
        with self._lock:
            self.held -= 1

    def heard(self) -> None:
        self._heard = time.monotonic()

    def doubt(self) -> None:
        """What was to come did not."""
        self._heard = -math.inf

    def channel(self) -> paramiko.Channel | None:
        """For a command, by one who holds a place. None if it takes no further session (`refusal`) or is
        dead."""
        if time.monotonic() - self._heard < FRESH and (ready := self._take_ahead()) is not None:
            return ready
        began = time.monotonic()
        try:
            channel = self._open()
        except _REFUSED as error:
            if not self.login.active() or time.monotonic() - began >= SESSION_TIMEOUT:
                self.login.close()
                return None
            # The refusal came from the server, which is there: of few sessions the last is the one that lies
            # ready.
            if (ready := self._take_ahead()) is not None:
                return ready
            # When two threads were at once, paramiko gives the reason to one of them only.
            self.refusal = error.text if isinstance(error, paramiko.ChannelException) else str(error)
            return None
        self.proven = True
        return channel

    def _take_ahead(self) -> paramiko.Channel | None:
        with self._lock:
            ahead, self._ahead = self._ahead, None
        channel = None if ahead is None else ahead.result()
        return None if channel is None or channel.closed else channel

    def open_ahead(self) -> None:
        """To be told when a command is started: another one will follow. Returns at once."""
        with self._lock:
            if self._ahead is not None or self._sparse or self.held >= self.places:
                return
            ahead = self._ahead = Future()
        try:
            workers.start(partial(self._open_next, ahead), "next session")
        except RuntimeError:  # this machine has no thread left: the next one is opened when it is asked for
            ahead.set_result(None)

    def refuses(self) -> None:
        """It takes no more sessions than it has now."""
        with self._lock:
            self.places = max(1, self.held)

    def _open_next(self, ahead: Future[paramiko.Channel | None]) -> None:
        channel = None
        try:
            channel = self._open()
        except _REFUSED:
            # Nobody needs it so far: who does asks again, and is told why.
            self._sparse = True
        finally:
            ahead.set_result(channel)  # somebody may wait for it, whatever came

    def _open(self) -> paramiko.Channel:
        channel = self.login.transport.open_session(timeout=SESSION_TIMEOUT)
        self.heard()
        return channel


class Place:
    """One session's, on its link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._released = threading.Lock()
        self.heard = link.heard
        self.doubt = link.doubt

    def release(self) -> None:
        """Once; again is fine."""
        if self._released.acquire(blocking=False):
            self._link.release()

    def give_up(self) -> None:
        """Nothing more comes over the connection."""
        self._link.login.close()
