"""Sessions: the cookie that carries one, and its idle limit.

The cookie `vmware_soap_session` opens /sdk and /folder alike. A session unused for the idle limit (30 minutes
on a real vCenter: alive after 25, dead after 30, pyvmomi issue 953) is gone, and what it owned (filters,
views) with it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from steps.lab.simulator.objects import Managed, World
from steps.lab.simulator.vmodl import fault, vim

COOKIE = "vmware_soap_session"
_COOKIE_VALUE = re.compile(COOKIE + r'="?([0-9a-f]+)"?')


@dataclass(eq=False)
class Session:
    token: str
    user: str
    info: Any
    last_used: float
    owned: dict[str, Managed] = field(default_factory=dict)
    """Filters, collectors and views by moref; they die with the session."""
    alive: bool = True


class Sessions:
    def __init__(
        self, world: World, *, username: str, password: str, idle: float, clock: Callable[[], float]
    ) -> None:
        self._world = world
        self._username = username
        self._password = password
        self._clock = clock
        self.idle = idle
        self._open: dict[str, Session] = {}

    def admits(self, username: str, password: str) -> bool:
        right_user = hmac.compare_digest(username.lower().encode(), self._username.lower().encode())
        return hmac.compare_digest(password.encode(), self._password.encode()) and right_user

    def open(self, username: str, address: str, user_agent: str) -> Session:
        token = secrets.token_hex(20)
        started = self._world.now()
        info = vim.UserSession(
            key=secrets.token_hex(16),
            userName=username,
            fullName=username,
            loginTime=started,
            lastActiveTime=started,
            locale="en",
            messageLocale="en",
            extensionSession=False,
            ipAddress=address,
            userAgent=user_agent,
            callCount=0,
        )
        session = Session(token, username, info, self._clock())
        with self._world.lock:
            self.all()  # drops those that have expired
            self._open[token] = session
        return session

    def find(self, cookie: str | None) -> Session | None:
        """The session that a Cookie header names, used just now; None if there is none or its idle limit is
        over."""
        match = _COOKIE_VALUE.search(cookie or "")
        with self._world.lock:
            session = self._open.get(match[1]) if match else None
            if session is None or self._expired(session):
                return None
            session.last_used = self._clock()
            session.info.lastActiveTime = self._world.now()
            session.info.callCount += 1
            return session

    def _expired(self, session: Session) -> bool:
        if self._clock() - session.last_used <= self.idle:
            return False
        self.close(session)
        return True

    def close(self, session: Session) -> None:
        with self._world.lock:
            self._open.pop(session.token, None)
            session.alive = False
            for managed in list(session.owned.values()):
                managed.session_ended()
            session.owned.clear()
            self._world.changed()

    def close_all(self) -> None:
        with self._world.lock:
            for session in self.all():
                self.close(session)

    def all(self) -> list[Session]:
        with self._world.lock:
            return [session for session in list(self._open.values()) if not self._expired(session)]


def not_authenticated(world: World) -> Exception:
    """As reported by clients of a real one: the object is the root folder, the privilege System.View."""
    return fault(
        vim.fault.NotAuthenticated,
        "The session is not authenticated.",
        object=vim.Folder(world.root_folder),
        privilegeId="System.View",
    )
