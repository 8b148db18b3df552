"""One login at a vCenter: connection, API version, service content, cookie. It ends some day; `client` begins
another."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from runner.base.units import MiB
from runner.base.waiting import NEVER
from runner.hosts.secrets import resolve
from steps.vsphere import vmomi
from steps.vsphere.errors import Unreachable, VSphereError
from steps.vsphere.faults import CONNECTION_FAILURES
from steps.vsphere.section import VCenter
from steps.vsphere.tls import FETCH_TIMEOUT, Trust
from steps.vsphere.transport import UnfitAnswer, get
from steps.vsphere.unset import given

IDLE_CONNECTION = 20.0
"""Seconds after which an unused connection is not used again: the proxy in front of a vCenter closes idle
ones, and a request that meets the closing is lost without an answer."""


LARGEST_VERSIONS = 1 * MiB
"""Of the document that lists API versions; it has some KB."""


class Session:
    """`certificate_ends`: until when the certificate that it was begun with is valid; `key`: what the vCenter
    calls it.

    Raises vmodl faults and connection failures as they come: `faults.explained` is around every use."""

    def __init__(self, vcenter: VCenter, trust: Trust, stop: threading.Event = NEVER) -> None:
        """Connects and logs in. `stop` ends the command that prints the password, if there is one."""
        from steps.vsphere.soap import Stub

        self._vcenter = vcenter
        version, self.certificate_ends = _api_version(vcenter, trust)
        self._stub: Any = Stub(vcenter.server, vcenter.port, version, trust.context, IDLE_CONNECTION)
        self.content: Any = self.object(vmomi.vim.ServiceInstance, "ServiceInstance").RetrieveContent()
        password = resolve(vcenter.password, stop).reveal()
        login = self.service("sessionManager").Login(vcenter.username, password, None)
        self.key = str(given(login, "key", "the session of the login"))

    def service(self, name: str) -> Any:
        """One of those that the vCenter names at the login: ``searchIndex``, ``rootFolder``, ``about``.
        Raises Unset."""
        return given(self.content, name, "the vCenter")

    def object(self, kind: type[vmomi.ManagedObject], moref: str) -> Any:
        """The object of that reference; asks nothing. Any, since pyVmomi's stubs take all that is returned
        for optional."""
        return kind(moref, self._stub)

    @property
    def cookie(self) -> str:
        """``vmware_soap_session="…"``: as good as the password while the session lives; opens /folder too."""
        return str(self._stub.cookie).partition(";")[0].strip()

    def current_time(self) -> datetime:
        """By the vCenter's clock. Any call keeps a session from idling out after 30 minutes; this is the
        cheapest one."""
        answer: datetime = self.object(vmomi.vim.ServiceInstance, "ServiceInstance").CurrentTime()
        return answer

    def close(self) -> None:
        """Logs out if it can."""
        try:
            self.service("sessionManager").Logout()
        except (vmomi.vmodl.MethodFault, UnfitAnswer, *CONNECTION_FAILURES):
            # The session is over, or will be when it has been idle; a closing run can do no more about it.
            pass
        finally:
            self._stub.DropConnections()


def _api_version(vcenter: VCenter, trust: Trust) -> tuple[str, datetime | None]:
    """The newest version of the API that both sides know, by the document that pyVim.connect reads too (its
    own fetch has no timeout), and when the server's certificate ends. Raises Unreachable (transient) for a
    vCenter that is starting: the proxy in front of its services answers before they do, with 503 (or 502,
    504), or with a page of its own."""
    path = "/sdk/vimServiceVersions.xml"
    answer = get(
        vcenter.server, vcenter.port, trust.context, path, limit=LARGEST_VERSIONS, timeout=FETCH_TIMEOUT
    )
    spoken = _versions_in(answer.content)
    for version in vmomi.GetServiceVersions("vim25"):  # type: ignore[no-untyped-call]
        if vmomi.versionIdMap[version] in spoken:
            return str(version), _end_of(answer.certificate)
    said = f"GET {path} was answered with status {answer.status}"
    if answer.status >= 500:
        raise Unreachable(f"{vcenter.authority} is not ready: {said}: its services are starting, or down")
    if answer.status == 200 and b"<html" in answer.content[:1024].lower():
        raise Unreachable(
            f"{vcenter.authority} is not ready, or no vCenter: {said} and a page for people: check `server:` "
            "and `port:` in the job if it stays so"
        )
    raise VSphereError(
        f"{vcenter.authority} does not look like a vCenter: {said} and no version of the vSphere API"
    )


def _end_of(certificate: Mapping[str, Any]) -> datetime | None:
    ends = certificate.get("notAfter")
    return None if ends is None else datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC)


def _versions_in(document: bytes) -> set[str]:
    if b"<!DOCTYPE" in document:
        return set()  # a page, or an attempt
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return set()
    return {element.text for element in root.iter("version") if element.text}
