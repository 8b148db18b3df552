"""The SessionManager: logins, tickets, and what a client asks about sessions."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.sessions import Sessions, not_authenticated
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tickets import Tickets
from steps.lab.simulator.vmodl import fault, vim


def _invalid_login() -> Exception:
    return fault(vim.fault.InvalidLogin, "Cannot complete login due to an incorrect user name or password.")


class SessionManager(Managed):
    kind = vim.SessionManager

    def __init__(self, world: World, sessions: Sessions, tickets: Tickets) -> None:
        super().__init__(world, "SessionManager")
        self._sessions = sessions
        self._tickets = tickets

    @provides("sessionList")
    def session_list(self) -> list[Any]:
        return [session.info for session in self._sessions.all()]

    @provides("currentSession")
    def current_session(self) -> Any:
        return self.world.session.info if self.world.session else None

    @operation("Login")
    def login(self, call: Call) -> Any:
        hit = self.world.faults.hits("invalid-login")
        if hit or not self._sessions.admits(call.arguments.userName or "", call.arguments.password or ""):
            raise _invalid_login()
        return self._open(call, call.arguments.userName)

    def _open(self, call: Call, user: str) -> Any:
        session = self._sessions.open(user, call.address, call.user_agent)
        call.set_cookie.append(session.token)
        return session.info

    @operation("AcquireCloneTicket")
    def acquire_clone_ticket(self, call: Call) -> str:
        return self._tickets.for_clone(call.session)

    @operation("CloneSession")
    def clone_session(self, call: Call) -> Any:
        original = self._tickets.clone(call.arguments.cloneTicket)
        if original is None:
            raise _invalid_login()
        return self._open(call, original.user)

    @operation("AcquireGenericServiceTicket")
    def acquire_generic_service_ticket(self, call: Call) -> Any:
        """For one request to /folder of the host that the URL names, which here is the simulator itself."""
        if call.session is None:
            raise not_authenticated(self.world)
        spec = call.arguments.spec
        ticket = self._tickets.for_request(call.session, spec.method, spec.url)
        return vim.SessionManager.GenericServiceTicket(id=ticket, hostName="127.0.0.1")

    @operation("Logout")
    def logout(self, call: Call) -> None:
        self._sessions.close(call.session)

    @operation("SessionIsActive")
    def is_active(self, call: Call) -> bool:
        return any(
            session.info.key == call.arguments.sessionID and session.user == call.arguments.userName
            for session in self._sessions.all()
        )

    @operation("TerminateSession")
    def terminate(self, call: Call) -> None:
        for session in self._sessions.all():
            if session.info.key in call.arguments.sessionId:
                self._sessions.close(session)
