"""vCenter's REST interface, which alone tells tags: a session of its own, that always ends.

It stands under /api since 7.0 and under /rest since 6.5 (Broadcom KB 320077): /api is tried first, and /rest
where it is not found. A vCenter allows 550 sessions a user (capv issue 1818), so this one is deleted
after failures and stops too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import MiB
from runner.base.waiting import Deadline, again, unless_stopped
from runner.hosts.secrets import resolve
from steps.vsphere.client import FIRST_PAUSE, LOGOUT_TIMEOUT, LONGEST_PAUSE, Client
from steps.vsphere.errors import Gone, LoginRefused, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.faults import explained
from steps.vsphere.tls import FETCH_TIMEOUT
from steps.vsphere.transport import Answer, Connection, UnfitAnswer, ask

LARGEST = 64 * MiB
"""Of an answer: 1,000 tags with all that they are on. An association has some 80 bytes."""

ATTEMPTS = 6
"""How often a request is made that the vCenter puts off: with pauses of 1, 3, 3 … seconds in between."""

BUSY = (429, 502, 503, 504)
"""Statuses of one that has too many requests or sessions, or is starting: "Request rejected due to high
request rate. Try again later." (capv issue 1014)"""

READING = "reading tags"

RIGHT = "System.Read (the role Read-only has it) on the vCenter's root folder, categories and tags"

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Shape:
    """How one of the two interfaces writes the same requests."""

    session: str
    tagging: str
    action: str
    """What its query calls an action."""
    id: str
    """What stands before an id in a path."""
    wrapped: bool
    """Whether a body is ``{"value": …}``."""


API = Shape("/api/session", "/api/cis/tagging", "action", "", wrapped=False)
REST = Shape("/rest/com/vmware/cis/session", "/rest/com/vmware/cis/tagging", "~action", "id:", wrapped=True)


class NotFound(Gone):
    """Status 404: there is no such tag, or no such interface."""


class Rest:
    """Of the account of `client`, for work that ends with the client's stop.

    with Rest(client) as rest:
        rest.get("category")
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shape = API
        self._token = ""
        self._connection = self._connect()

    def __enter__(self) -> Rest:
        """Raises LoginRefused, NotTrusted, Unreachable, VSphereError."""
        try:
            self._login()
            if self._shape is API and not self._answers():
                self._logout()
                self._shape = REST
                self._login()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def get(self, what: str, of: str = "") -> Any:
        """All ids of `what` (``category``, ``tag``), or the one with the id `of`. Raises NotFound."""
        return self._request("GET", f"{self._shape.tagging}/{what}{self._at(of)}")

    def act(self, what: str, action: str, body: Mapping[str, Any], of: str = "") -> Any:
        """POST of an action that may be repeated. Raises NotFound."""
        target = f"{self._shape.tagging}/{what}{self._at(of)}?{self._shape.action}={action}"
        return self._request("POST", target, json.dumps(body))

    def tags_of(self, category: str) -> Any:
        """Their ids. The one action of which the two interfaces differ in more than spelling."""
        if self._shape is REST:
            return self.act("tag", "list-tags-for-category", {}, of=category)
        return self.act("tag", "list-tags-for-category", {"category_id": category})

    def _at(self, of: str) -> str:
        return f"/{self._shape.id}{quote(of, safe=':')}" if of else ""

    def _answers(self) -> bool:
        """7.0 before its second update has /api/session and no tags there."""
        try:
            self.get("category")
        except NotFound:
            return False
        return True

    def _login(self) -> None:
        try:
            self._token = self._begun()
        except NotFound:
            if self._shape is REST:
                raise VSphereError(
                    f"{READING} failed: {self._client.server} has no REST interface, neither /api nor /rest: "
                    "an ESXi host by itself has no tags"
                ) from None
            self._shape = REST
            self._login()

    def _begun(self) -> str:
        at = self._client.vcenter
        password = resolve(at.password, self._client.stop).reveal()
        basic = base64.b64encode(f"{at.username}:{password}".encode()).decode()
        # A token in a cookie too would be sent back beside the header.
        headers = {"Authorization": f"Basic {basic}", "vmware-use-header-authn": "true"}

        def begin() -> str:
            answer = self._exchange("POST", self._shape.session, headers=headers)
            if answer.status == 401:
                raise LoginRefused(
                    f"{READING} failed: the REST interface of {self._client.server} refuses the login of "
                    f"{at.username}: rules by tag take an account of vCenter's single sign-on with {RIGHT}"
                )
            token = self._value(answer, self._shape.session)
            if not isinstance(token, str) or not token:
                raise VSphereError(f"{READING} failed: the vCenter gave no session")
            return token

        # Not again after a lost answer: that session would be nobody's.
        return self._patiently(begin, on=lambda error: isinstance(error, _PutOff), late=self._delete)

    def _request(self, method: str, target: str, body: str = "") -> Any:
        def once() -> Any:
            answer = self._exchange(method, target, body=body, headers=self._headers())
            if answer.status == 401:  # the session has ended: idle, or with a restart of the service
                self._token = self._begun()
                answer = self._exchange(method, target, body=body, headers=self._headers())
            return self._value(answer, target)

        return self._patiently(once, on=lambda error: isinstance(error, Unreachable))

    def _patiently(
        self,
        work: Callable[[], ResultT],
        *,
        on: Callable[[BaseException], bool],
        late: Callable[[ResultT], object] = lambda result: None,
    ) -> ResultT:
        """`late` gets what comes after a stop."""
        stop = self._client.stop
        return again(
            lambda number: unless_stopped(work, stop, late),
            on=on,
            stop=stop,
            attempts=ATTEMPTS,
            first=FIRST_PAUSE,
            longest=LONGEST_PAUSE,
            growth=3,
        )

    def _headers(self) -> dict[str, str]:
        return {"vmware-api-session-id": self._token, "Content-Type": "application/json"}

    def _exchange(self, method: str, target: str, *, headers: Mapping[str, str], body: str = "") -> Answer:
        with explained(self._client.server, READING):
            return ask(self._connection, method, target, limit=LARGEST, headers=headers, body=body)

    def _value(self, answer: Answer, target: str) -> Any:
        """Raises for any status but 200 and 201, with what the vCenter says."""
        where = f"{READING} failed: {self._client.server} answered {target.partition('?')[0]} with"
        if answer.status == 204 or (answer.status == 200 and not answer.content):
            return None
        if answer.status in (200, 201):
            try:
                found = json.loads(answer.content)
                return found["value"] if self._shape.wrapped else found
            except (ValueError, KeyError, TypeError):
                raise VSphereError(f"{where} something that is no answer of its REST interface") from None
        said = f"status {answer.status}{_message(answer.content)}"
        if answer.status == 404:
            raise NotFound(f"{where} {said}")
        if answer.status in BUSY:
            raise _PutOff(
                f"{where} {said}, {ATTEMPTS} times: it has too many requests or sessions; run again"
            )
        if answer.status in (401, 403):
            raise PermissionMissing(
                f"{READING} failed: the account {self._client.vcenter.username} may not ({said}): give it "
                f"{RIGHT}",
                "System.Read",
                "tags",
            )
        raise VSphereError(f"{where} {said}")

    def _connect(self) -> Connection:
        at = self._client.vcenter
        with explained(self._client.server, READING):
            context = self._client.trust_now().context
        return Connection(at.server, at.port, timeout=FETCH_TIMEOUT, context=context)

    def _end(self) -> None:
        try:
            self._logout()
        finally:
            self._connection.close()

    def _logout(self) -> None:
        token, self._token = self._token, ""
        if token:
            self._delete(token)

    def _delete(self, token: str) -> None:
        """On a connection of its own: a stop may have left the other in the middle of an answer."""
        shape = self._shape

        def work() -> None:
            connection = self._connect()
            try:
                headers = {"vmware-api-session-id": token}
                ask(connection, "DELETE", shape.session, limit=LARGEST, headers=headers)
            except (OSError, HTTPException, UnfitAnswer):
                pass  # the session ends when it has been idle; a reader can do no more about it
            finally:
                connection.close()

        try:
            unless_stopped(work, Deadline(LOGOUT_TIMEOUT))
        except (Interrupted, SendenseError):
            pass  # as above


class _PutOff(Unreachable):
    """It answers, and wants to be asked again."""


def _message(content: bytes) -> str:
    """What the vCenter says in the body of an error, of either shape; empty where it says nothing."""
    try:
        found = json.loads(content)
        held = found.get("value", found)
        texts = [str(one["default_message"]) for one in held["messages"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({'; '.join(texts)})" if texts else ""
