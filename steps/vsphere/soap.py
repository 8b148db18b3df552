"""pyVmomi's client side of SOAP, on connections whose answers are bounded in size and time."""

from __future__ import annotations

import io
import ssl
from http.client import HTTPException, HTTPResponse
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter
from pyVmomi.VmomiSupport import F_OPTIONAL

from runner.base.units import MiB
from steps.vsphere.transport import SILENCE, Connection, UnfitAnswer, read

LARGEST_ANSWER = 32 * MiB
"""Of SOAP. The largest that we ask for is a page of 500 VMs with their snapshots: 0.5 MB as VMs are, 17 MB if
each had the 32 that vSphere allows. What pyVmomi makes of an answer takes about ten times its bytes."""

_READ_WHOLE = (200, 500)
"""Statuses of answers that pyVmomi reads; it closes the connection after any other."""

_Adapter: Any = SoapStubAdapter

_AS_IT_COMES = (vmodl.MethodFault, OSError, HTTPException, ExpatError, UnfitAnswer)
"""What is thrown for a reason that it tells."""


class _SoapConnection(Connection):
    """For pyVmomi, which parses as it reads: it gets an answer that is whole, and within its bounds."""

    def getresponse(self) -> Any:
        answer = super().getresponse()
        if answer.status not in _READ_WHOLE:
            return answer
        try:
            if answer.getheader("Content-Encoding", "identity").lower() != "identity":
                raise UnfitAnswer("is compressed, though that was not requested")
            content = read(answer, LARGEST_ANSWER)
            if b"<!DOCTYPE" in content or b"\0" in content:
                # Entities of entities grow without bound. SOAP 1.1, section 3: no document type declaration.
                # A null byte is in no XML of UTF-8, and in all of UTF-16, which could hide one.
                raise UnfitAnswer("declares a document type, which SOAP forbids")
        except UnfitAnswer:
            self.close()
            raise
        return _Answer(answer, content)


class _Answer(io.BytesIO):
    def __init__(self, answer: HTTPResponse, content: bytes) -> None:
        super().__init__(content)
        self.status, self.reason = answer.status, answer.reason
        self.getheader = answer.getheader


class Stub(_Adapter):  # type: ignore[misc]
    """pyVmomi's client side of SOAP on connections of ours."""

    def __init__(self, host: str, port: int, version: str, context: ssl.SSLContext, idle: float) -> None:
        """`idle`: seconds after which an unused connection is not used again."""
        super().__init__(
            host=host,
            port=port,
            version=version,
            sslContext=context,
            httpConnectionTimeout=SILENCE,
            connectionPoolTimeout=idle,
            acceptCompressedResponses=False,  # a few bytes may unpack to many
        )
        self.scheme = _SoapConnection

    def SerializeRequest(self, *args: Any) -> Any:  # noqa: N802  (pyVmomi's name)
        try:
            return super().SerializeRequest(*args)
        except Exception as error:
            raise _OurRequest from error

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """Raises HTTPException where what came is no answer to this call: pyVmomi then fails in whatever way
        it happens to, or returns None, as for a page that is well-formed."""
        try:
            result = super().InvokeMethod(mo, info, args, outerStub)
        except _OurRequest as error:
            assert error.__cause__ is not None
            raise error.__cause__ from None
        except _AS_IT_COMES:
            raise
        except Exception as error:
            raise HTTPException(
                f"its answer is not one of the vSphere API ({type(error).__name__}: {error})"
            ) from error
        if result is None and info.result is not type(None) and not info.resultFlags & F_OPTIONAL:
            raise HTTPException("its answer is not one of the vSphere API: it is empty")
        return result


class _OurRequest(Exception):
    """What we asked cannot be written: a bug of ours."""
