"""One login at a vCenter: connection, API version, service content, cookie. It ends some day; `client` begins another."""

from __future__ import annotations

from datetime import datetime
from http.client import HTTPSConnection
from typing import Any
from xml.etree import ElementTree

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter
from pyVmomi.VmomiSupport import GetServiceVersions, ManagedObject, versionIdMap

from runner.secrets import resolve
from steps.vsphere.errors import VSphereError
from steps.vsphere.faults import CONNECTION_FAILURES
from steps.vsphere.section import VCenter
from steps.vsphere.tls import FETCH_TIMEOUT, Trust

CALL_TIMEOUT = 120.0
"""Seconds without a byte of the answer. Calls that take long are tasks; the slowest others list changed areas."""

IDLE_CONNECTION = 20.0
"""Seconds after which an unused connection is not used again: the proxy in front of a vCenter closes idle ones, and a
request that meets the closing is lost without an answer."""


class Session:
    """Raises vmodl faults and connection failures as they come: `faults.explained` is around every use."""

    def __init__(self, vcenter: VCenter, trust: Trust) -> None:
        """Connects and logs in."""
        self._vcenter = vcenter
        self._stub: Any = SoapStubAdapter(  # type: ignore[no-untyped-call]
            host=vcenter.server,
            port=vcenter.port,
            version=_api_version(vcenter, trust),
            sslContext=trust.context,
            httpConnectionTimeout=CALL_TIMEOUT,
            connectionPoolTimeout=IDLE_CONNECTION,
        )
        self.content: Any = self.object(vim.ServiceInstance, "ServiceInstance").RetrieveContent()
        self.content.sessionManager.Login(vcenter.username, resolve(vcenter.password).reveal(), None)

    def object(self, kind: type[ManagedObject], moref: str) -> Any:
        """The object of that reference; asks nothing. Any, since pyVmomi's stubs take all that is returned for optional."""
        return kind(moref, self._stub)

    @property
    def cookie(self) -> str:
        """``vmware_soap_session="…"``: as good as the password while the session lives; opens /folder too."""
        return str(self._stub.cookie).partition(";")[0].strip()

    def current_time(self) -> datetime:
        """By the vCenter's clock. Any call keeps a session from idling out after 30 minutes; this is the cheapest one."""
        answer: datetime = self.object(vim.ServiceInstance, "ServiceInstance").CurrentTime()
        return answer

    def close(self) -> None:
        """Logs out if it can."""
        try:
            self.content.sessionManager.Logout()
        except (vmodl.MethodFault, *CONNECTION_FAILURES):
            pass  # the session is over, or will be when it has been idle; a closing run can do no more about it
        finally:
            self._stub.DropConnections()


def _api_version(vcenter: VCenter, trust: Trust) -> str:
    """The newest version of the API that both sides know, by the document that pyVim.connect reads too; its own fetch has
    no timeout."""
    path = "/sdk/vimServiceVersions.xml"
    connection = HTTPSConnection(vcenter.server, vcenter.port, timeout=FETCH_TIMEOUT, context=trust.context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        document = answer.read() if answer.status == 200 else b""
    finally:
        connection.close()
    spoken = _versions_in(document)
    for version in GetServiceVersions("vim25"):  # type: ignore[no-untyped-call]
        if versionIdMap[version] in spoken:
            return str(version)
    raise VSphereError(
        f"{vcenter.authority} does not look like a vCenter: GET {path} was answered with status {answer.status} and no "
        f"version of the vSphere API"
    )


def _versions_in(document: bytes) -> set[str]:
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return set()
    return {element.text for element in root.iter("version") if element.text}
