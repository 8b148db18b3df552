"""The REST interfaces: /api and /rest, with sessions of their own, for tags and categories.

Two spellings of one thing (Broadcom KB 320077; govmomi, vapi/simulator): /rest wraps what it answers into
``{"value": …}`` and takes ``~action``, /api answers plainly and takes ``action``; their errors differ too.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from steps.lab.simulator.objects import World
from steps.lab.simulator.sessions import Sessions
from steps.lab.simulator.tagging import Tag, Tagging
from steps.lab.simulator.vmodl import vim, vmodl

SESSIONS = 550
"""A user's at most: "User session count is limited to 550." (tanzu-cli issue 749, capv issue 1818)"""

TOKEN = "vmware-api-session-id"

_TAGGING = {"/api/cis/tagging/": False, "/rest/com/vmware/cis/tagging/": True}
_SESSION = {"/api/session": False, "/rest/com/vmware/cis/session": True}
"""Whether bodies are wrapped."""

_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "UNAUTHORIZED",
    404: "NOT_FOUND",
    429: "RESOURCE_BUSY",
    503: "SERVICE_UNAVAILABLE",
}


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Vapi:
    def __init__(
        self, world: World, sessions: Sessions, tagging: Tagging, which: str, calls: Counter[str]
    ) -> None:
        """`which` as `Inventory.rest` has it."""
        self._world, self._logins, self._tagging = world, sessions, tagging
        self._which, self._calls = which, calls
        self.tokens: dict[str, str] = {}
        """The open sessions: users by token."""
        self.limit = SESSIONS

    def serves(self, target: str) -> bool:
        return target.startswith(("/api/", "/rest/"))

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Status and body."""
        path = request.target.partition("?")[0]
        wrapped = path.startswith("/rest/")
        with self._world.lock:
            self._calls[f"{request.method} {'/rest' if wrapped else '/api'}"] += 1
            try:
                status, value = self._answer(request, path)
            except _Refused as refused:
                return refused.status, json.dumps(_error(refused, wrapped=wrapped)).encode()
        if value is None:
            return status, b""
        return status, json.dumps({"value": value} if wrapped else value).encode()

    def _answer(self, request: Request, path: str) -> tuple[int, Any]:
        if busy := self._world.faults.take("rest-busy"):
            raise _Refused(busy["status"], "Request rejected due to high request rate. Try again later.")
        if path in _SESSION:
            if not self._has(path, login=True):
                raise _Refused(404, "Not found.")
            return self._session(request, wrapped=_SESSION[path])
        if self._world.faults.hits("rest-expire"):
            self.tokens.clear()
        if request.headers.get(TOKEN, "") not in self.tokens:
            raise _Refused(401, "Authentication required.")
        begin = next((one for one in _TAGGING if path.startswith(one)), None)
        if begin is None or not self._has(path, login=False):
            raise _Refused(404, "Not found.")
        if self._world.faults.hits("rest-forbidden"):
            raise _Refused(403, "Unable to authorize user")
        found = self._tags(request, path.removeprefix(begin), wrapped=_TAGGING[begin])
        return (204 if found is None and not _TAGGING[begin] else 200), found

    def _has(self, path: str, *, login: bool) -> bool:
        if path.startswith("/rest/"):
            return self._which in ("both", "rest", "session-only")
        return self._which in ("both", "api") or (login and self._which == "session-only")

    def _session(self, request: Request, *, wrapped: bool) -> tuple[int, Any]:
        if request.method == "DELETE":
            if self.tokens.pop(request.headers.get(TOKEN, ""), None) is None:
                raise _Refused(401, "Authentication required.")
            return (200, {}) if wrapped else (204, None)
        user = self._user(request.headers.get("Authorization", ""))
        if list(self.tokens.values()).count(user) >= self.limit:
            raise _Refused(
                503,
                f"User session count is limited to {self.limit}. Existing session count is {self.limit} for "
                f"user {user}",
            )
        token = secrets.token_hex(16)
        self.tokens[token] = user
        return (200 if wrapped else 201), token

    def _user(self, authorization: str) -> str:
        try:
            text = base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        user, _, password = text.partition(":")
        if self._world.faults.hits("rest-login") or not self._logins.admits(user, password):
            raise _Refused(401, "Unable to authenticate user")
        return user

    def _tags(self, request: Request, rest: str, *, wrapped: bool) -> Any:
        query = dict(parse_qsl(request.target.partition("?")[2]))
        action = query.get("~action" if wrapped else "action", "")
        what, _, id_ = unquote(rest).partition("/")
        if wrapped and id_:
            id_ = id_.removeprefix("id:")
        body = json.loads(request.body or b"{}")
        match request.method, what, action:
            case "GET", "category", _:
                return self._category(id_)
            case "GET", "tag", _:
                return _tag_value(self._tag(id_)) if id_ else list(self._tagging.tags)
            case "POST", "tag", "list-tags-for-category":
                category = id_ if wrapped else body.get("category_id", "")
                return [tag.id for tag in self._tagging.tags.values() if tag.category.id == category]
            case "POST", "tag-association", "list-attached-objects-on-tags":
                return self._batch(body.get("tag_ids", []))
            case "POST", "tag-association", "list-attached-objects":
                return self._objects(self._tag(id_))
            case "POST", "tag-association", "list-attached-tags":
                at = body.get("object_id", {}).get("id", "")
                return [tag.id for tag in self._tagging.tags.values() if at in tag.objects]
            case "POST", "tag-association", "attach":
                return self._attach(self._tag(id_), body.get("object_id", {}))
        raise _Refused(400, "Unknown operation.")

    def _category(self, id_: str) -> Any:
        if not id_:
            return list(self._tagging.categories)
        if id_ not in self._tagging.categories:
            raise _Refused(404, f"Category {id_} was not found.")
        found = self._tagging.categories[id_]
        return {"id": found.id, "name": found.name, "description": "", "cardinality": "MULTIPLE"}

    def _tag(self, id_: str) -> Tag:
        if id_ not in self._tagging.tags:
            raise _Refused(404, f"Tag {id_} was not found.")
        return self._tagging.tags[id_]

    def _batch(self, ids: list[str]) -> list[Any]:
        """What is not known is left out, with status 200 (govmomi issue 2211)."""
        known = [one for one in ids if one in self._tagging.tags]
        if self._world.faults.hits("rest-partial"):
            known = known[:-1]
        return [{"tag_id": one, "object_ids": self._objects(self._tagging.tags[one])} for one in known]

    def _attach(self, tag: Tag, of: Any) -> None:
        """To one object; it may have it already (vSphere Automation API, TagAssociation)."""
        kind, moref = str(of.get("type", "")), str(of.get("id", ""))
        if not self._readable(kind, moref):
            raise _Refused(403, "Unable to authorize user")
        tag.objects[moref] = kind

    def _objects(self, tag: Tag) -> list[Any]:
        """Only those that the user may read (vSphere Automation API, TagAssociation)."""
        return [
            {"type": kind, "id": moref} for moref, kind in tag.objects.items() if self._readable(kind, moref)
        ]

    def _readable(self, kind: str, moref: str) -> bool:
        try:
            found = self._world.find(getattr(vim, kind)(moref))
        except vmodl.fault.ManagedObjectNotFound:
            return True  # an association outlives its object for a while
        return not found.unreadable and "System.Read" not in found.denied


def _tag_value(tag: Tag) -> Any:
    return {"id": tag.id, "name": tag.name, "description": "", "category_id": tag.category.id, "used_by": []}


def _error(refused: _Refused, *, wrapped: bool) -> Any:
    kind = _ERRORS[refused.status]
    messages = [{"id": f"vapi.{kind.lower()}", "default_message": refused.text, "args": []}]
    if wrapped:
        return {"type": f"com.vmware.vapi.std.errors.{kind.lower()}", "value": {"messages": messages}}
    return {"error_type": kind, "messages": messages}
