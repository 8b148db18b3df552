"""One-time tickets: to clone a session on a fresh connection, and for one HTTP request without a login.

A ticket dies with the session that acquired it, and with its use (API reference, SessionManager).
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit

from steps.lab.simulator.sessions import Session
from steps.lab.simulator.vmodl import invalid_argument

_COOKIE = re.compile(r'vmware_cgi_ticket="?([0-9a-f]+)"?')


class Tickets:
    """Not locked: the caller holds the world's lock."""

    def __init__(self) -> None:
        self._clones: dict[str, Session] = {}
        self._requests: dict[str, tuple[Session, str, str]] = {}

    def for_clone(self, session: Session) -> str:
        ticket = f"cst-VCT-{secrets.token_hex(16)}"
        self._clones[ticket] = session
        return ticket

    def clone(self, ticket: str) -> Session | None:
        """The session that acquired the ticket, if it is good."""
        session = self._clones.pop(ticket, None)
        return session if session is not None and session.alive else None

    def for_request(self, session: Session, method: str | None, url: str) -> str:
        """`method` as the API has it (httpGet, the default). Raises InvalidArgument for anything but an https
        URL."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.path.startswith("/folder"):
            raise invalid_argument("url")
        ticket = secrets.token_hex(20)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._requests[ticket] = (session, (method or "httpGet").removeprefix("http").upper(), target)
        return ticket

    def admits(self, cookie: str | None, method: str, target: str) -> bool:
        """Whether the Cookie header has a ticket for exactly this request; it is used up in any case."""
        match = _COOKIE.search(cookie or "")
        found = self._requests.pop(match[1], None) if match else None
        return found is not None and found[0].alive and found[1:] == (method, target)
