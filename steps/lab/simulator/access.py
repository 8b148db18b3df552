"""Who may use /folder: a session's cookie, a ticket for this one request, or user and password by Basic."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from steps.lab.simulator.dispatch import session_cookie
from steps.lab.simulator.folder import Refused
from steps.lab.simulator.objects import World
from steps.lab.simulator.sessions import Sessions
from steps.lab.simulator.tickets import Tickets


@dataclass(frozen=True)
class Admission:
    cookie: str | None = None
    """A Set-Cookie header's value: the session that Basic authentication opened."""
    as_host: bool = False
    """By a ticket, whose URL is a host's: it names no datacenter."""


class Access:
    def __init__(self, world: World, sessions: Sessions, tickets: Tickets) -> None:
        self._world = world
        self._sessions = sessions
        self._tickets = tickets

    def admit(self, method: str, target: str, headers: Mapping[str, str], address: str) -> Admission:
        """Raises Refused: 401 for who is not known, else what an armed fault says."""
        faults = self._world.faults
        if faults.hits("session-expire", method):
            self._sessions.close_all()
        for status in (401, 404, 503):
            if faults.hits(f"http-{status}", method):
                raise Refused(status)
        cookie = headers.get("Cookie")
        with self._world.lock:
            if self._tickets.admits(cookie, method, target):
                return Admission(as_host=True)
        if self._sessions.find(cookie) is not None:
            return Admission()
        user = self._basic(headers.get("Authorization", ""))
        session = self._sessions.open(user, address, headers.get("User-Agent", ""))
        return Admission(cookie=session_cookie(session.token))

    def _basic(self, authorization: str) -> str:
        kind, _, secret = authorization.partition(" ")
        if kind.lower() != "basic":
            raise Refused(401)
        try:
            user, _, password = base64.b64decode(secret, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(401) from None
        if not self._sessions.admits(user, password):
            raise Refused(401)
        return user
