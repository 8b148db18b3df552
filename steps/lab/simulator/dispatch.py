"""From a SOAP request to its answer: session, object, privilege, operation, fault."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from steps.lab.simulator.authorization import AuthorizationManager
from steps.lab.simulator.collector import PropertyCollector
from steps.lab.simulator.objects import Managed, World
from steps.lab.simulator.properties import read_path
from steps.lab.simulator.sessions import COOKIE, Sessions, not_authenticated
from steps.lab.simulator.snapshots import VirtualMachineSnapshot, remove_all
from steps.lab.simulator.soap import Call, read_call, write_fault, write_result
from steps.lab.simulator.tasks import named_fault
from steps.lab.simulator.vmodl import VERSION, fault, object_gone, support, vim, vmodl

log = logging.getLogger(__name__)

ANONYMOUS = "System.Anonymous"


class AnswerLost(Exception):
    """The fault lost-answer: the call was done, and the connection is to break before the client hears of
    it."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    cookie: str | None = None
    """For a Set-Cookie header: a login's new session."""


class Dispatcher:
    def __init__(
        self, world: World, sessions: Sessions, authorization: AuthorizationManager, calls: Counter[str]
    ) -> None:
        self._world = world
        self._sessions = sessions
        self._authorization = authorization
        self._calls = calls

    def answer(
        self, body: bytes, *, action: str, cookie: str | None, address: str, user_agent: str
    ) -> Answer:
        version = VERSION
        try:
            call = read_call(body, action)
            version = call.version
            call.cookie, call.address, call.user_agent = cookie, address, user_agent
            with self._world.lock:
                self._calls[call.method] += 1
                text = write_result(call, self._world.unset.without(self._invoke(call)))
            if self._world.faults.hits("lost-answer", call.method):
                raise AnswerLost
            return Answer(200, text, session_cookie(call.set_cookie[0]) if call.set_cookie else None)
        except vmodl.MethodFault as error:
            return Answer(500, write_fault(error, version))
        except AnswerLost:
            raise
        except Exception:
            # A bug of the simulator: the client gets a fault, the log the traceback.
            log.exception("a SOAP call failed")
            broken = fault(vmodl.fault.SystemError, "A general system error occurred: a bug", reason="bug")
            return Answer(500, write_fault(broken, version))

    def _invoke(self, call: Call) -> Any:
        if self._world.faults.hits("session-expire", call.method):
            self._sessions.close_all()
        self._world.leases.expire()
        call.session = self._sessions.find(call.cookie)
        if call.session is None and not _is_anonymous(call):
            raise not_authenticated(self._world)
        if broken := self._world.faults.take("fail-call", call.method):
            raise named_fault(broken["fault"], vim.Folder("group-d1"))
        self._lose_snapshots(call)
        managed = self._world.find(call.this)
        if not managed.visible_to(call.session):
            raise object_gone(call.this)
        self._require(call, managed)
        self._world.session = call.session
        if call.method == "Fetch":
            return read_path(managed, call.arguments.prop)
        operation = managed.operations().get(call.method)
        if operation is None:
            raise fault(
                vmodl.fault.MethodNotFound,
                f"The simulator has no {call.method} on {managed.moid}",
                receiver=managed.ref,
                method=call.method,
            )
        return operation(call)

    def _require(self, call: Call, managed: Managed) -> None:
        """The method's privilege on the object, and those of parameters on what they name. What more a call
        takes, its operation knows."""
        needed = [(call.information.privId, managed)]
        for one in call.information.params:
            privilege = getattr(one, "privId", None) or "System.View"
            if privilege.startswith("System."):  # its operation says what cannot be seen
                continue
            given = getattr(call.arguments, one.name)
            for reference in given if isinstance(given, list) else [given]:
                if reference is not None:
                    needed.append((privilege, self._world.find(reference)))
        self._authorization.require(*needed)

    def _lose_snapshots(self, call: Call) -> None:
        """The fault snapshot-gone: somebody else removed what this call names."""
        specs = getattr(call.arguments, "specSet", ())
        read = [start.obj for spec in specs for start in spec.objectSet]
        for reference in (call.this, getattr(call.arguments, "snapshot", None), *read):
            if isinstance(reference, vim.vm.Snapshot) and self._world.faults.hits("snapshot-gone"):
                snapshot = self._world.find(reference)
                if isinstance(snapshot, VirtualMachineSnapshot):
                    remove_all(snapshot.machine)


def session_cookie(token: str) -> str:
    return f'{COOKIE}="{token}"; Path=/; HttpOnly; Secure'


def _is_anonymous(call: Call) -> bool:
    """Logging in, and reading the service instance; metadata marks the reading calls anonymous for the sake
    of that."""
    if call.method == "Fetch":
        return bool(call.this._moId == "ServiceInstance")
    if call.information.privId != ANONYMOUS:
        return False
    if issubclass(PropertyCollector.kind, type(call.this)):
        starts = [start.obj for spec in call.arguments.specSet for start in spec.objectSet]
        return all(
            isinstance(start, support.ManagedObject) and start._moId == "ServiceInstance" for start in starts
        )
    return True
