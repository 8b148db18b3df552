"""SOAP envelopes: a request's bytes → a call with typed arguments; a result or a fault → bytes.

Both ways go through pyVmomi's own serialiser and type metadata, so that every type of the API can travel.
Wire form of faults: SOAP 1.1, faultcode `ServerFaultCode`, detail `<NameFault xsi:type="Name">`, HTTP status
500.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from io import StringIO
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from pyVmomi import SoapAdapter

from steps.lab.simulator.vmodl import VERSION, DataObject, ManagedObject, fault, support, vmodl

NAMESPACE = "urn:vim25"
_soap: Any = SoapAdapter

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMES = {**_soap.SOAP_NSMAP, NAMESPACE: ""}


@dataclass
class Call:
    """One SOAP call. `arguments` has the method's parameters as attributes; absent optional ones are None or
    []."""

    method: str
    """The WSDL name, for example CreateSnapshot_Task."""
    information: Any
    """pyVmomi's metadata of the method: result type, privilege, version."""
    arguments: Any
    version: str = VERSION
    cookie: str | None = None
    session: Any = None
    address: str = "127.0.0.1"
    user_agent: str = ""
    set_cookie: list[str] = field(default_factory=list)
    """Filled by a login: the new session's key."""

    @property
    def this(self) -> Any:
        return self.arguments._this


_argument_types: dict[str, Any] = {}
_argument_lock = threading.Lock()


def _fetch_information() -> Any:
    """`Fetch` is in no WSDL, yet it is what pyVmomi calls to read a property by attribute."""
    prop = support.Object(name="prop", type=str, version=support.BASE_VERSION, flags=0)
    return support.Object(
        name="Fetch",
        wsdlName="Fetch",
        version=support.BASE_VERSION,
        params=(prop,),
        result=object,
        resultFlags=support.F_OPTIONAL,
        privId="System.View",
    )


def _method_information(name: str) -> Any:
    if name == "Fetch":
        return _fetch_information()
    try:
        return support.GetWsdlMethod(NAMESPACE, name).info
    except KeyError:
        raise fault(vmodl.fault.InvalidRequest, f"Unable to resolve WSDL method name {name}") from None


def _arguments_type(information: Any) -> Any:
    """A data object type whose properties are the method's parameters: pyVmomi's deserialiser does the
    rest."""
    with _argument_lock:
        made = _argument_types.get(information.wsdlName)
        if made is None:
            this = support.Object(name="_this", type=ManagedObject, version=support.BASE_VERSION, flags=0)
            properties = [this, *information.params]
            made = type(
                f"{information.wsdlName}Arguments",
                (DataObject,),
                {"_propList": properties, "_propInfo": {entry.name: entry for entry in properties}},
            )
            _argument_types[information.wsdlName] = made
        return made


class _RequestReader(_soap.ExpatDeserializerNSHandlers):  # type: ignore[misc]
    """Walks Envelope and Body, then hands the method element to pyVmomi's deserialiser."""

    def __init__(self) -> None:
        super().__init__()
        self.information: Any = None
        self.body = False
        self.deserializer = _soap.SoapDeserializer()
        self.parser = expat.ParserCreate(namespace_separator=_soap.NS_SEP)
        self.parser.buffer_text = True
        _soap.SetHandlers(self.parser, _soap.GetHandlers(self))

    def StartElementHandler(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: N802  (expat's name)
        name = tag.rsplit(_soap.NS_SEP, 1)[-1]
        if not self.body:
            self.body = name == "Body"
        elif self.information is None:
            self.information = _method_information(name)
            self.deserializer.Deserialize(self.parser, _arguments_type(self.information), False, self.nsMap)
            self.deserializer.StartElementHandler(tag, attributes)

    def EndElementHandler(self, tag: str) -> None:  # noqa: N802
        pass

    def CharacterDataHandler(self, text: str) -> None:  # noqa: N802
        pass


def read_call(body: bytes, action: str) -> Call:
    """`action` is the SOAPAction header, which names the client's API version. Raises a vmodl fault."""
    reader = _RequestReader()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise fault(vmodl.fault.InvalidRequest, f"Cannot deserialize the request: {error}") from error
    arguments = reader.deserializer.GetResult()
    if reader.information is None or arguments is None or arguments._this is None:
        raise fault(vmodl.fault.InvalidRequest, "The request has no method with a _this in its body")
    return Call(reader.information.wsdlName, reader.information, arguments, version=_version_of(action))


def _version_of(action: str) -> str:
    version: str = support.versionMap.get(action.strip('"').rsplit(":", 1)[-1], VERSION)
    return VERSION if support.IsChildVersion(version, VERSION) else version


class _Serializer(_soap.SoapSerializer):  # type: ignore[misc]
    """Leaves out what is None, be it required: that is how a server is that does."""

    def _Serialize(self, value: Any, information: Any, namespace: str) -> None:  # noqa: N802  (pyVmomi's name)
        nothing = value is None or (
            isinstance(value, list) and not value and issubclass(information.type, list)
        )
        if not nothing:
            super()._Serialize(value, information, namespace)

    def _QName(self, kind: Any, namespace: str) -> Any:  # noqa: N802  (pyVmomi's name)
        """A reference in a slot for anything is a ``ManagedObjectReference``, as a vCenter writes it. pyVmomi
        writes ``ManagedObject``, which it alone reads: to govmomi such a reference is empty."""
        attribute, name = super()._QName(kind, namespace)
        return attribute, f"{name}Reference" if kind is ManagedObject else name


def _text(value: Any, information: Any, version: str) -> str:
    writer = StringIO()
    serializer = _Serializer(writer, version, _NAMES)
    serializer.outermostAttrs = ""
    serializer.Serialize(value, information)
    return writer.getvalue()


def write_result(call: Call, value: Any) -> bytes:
    information = call.information
    slot = support.Object(
        name="returnval", type=information.result, version=information.version, flags=information.resultFlags
    )
    empty = information.result is type(None) or (isinstance(value, list) and not value)
    inside = "" if empty else _text(value, slot, call.version)
    response = f'<{call.method}Response xmlns="{NAMESPACE}">{inside}</{call.method}Response>'
    return _envelope(response)


def write_fault(error: Any, version: str = VERSION) -> bytes:
    writer = StringIO()
    slot = support.Object(name=error._wsdlName + "Fault", type=object, version=support.BASE_VERSION, flags=0)
    message, error.msg = error.msg or "", None
    serializer = _soap.SoapSerializer(writer, version, _NAMES)
    serializer.outermostAttrs = ""
    serializer._SerializeDataObject(error, slot, f' xmlns="{NAMESPACE}"', NAMESPACE)
    error.msg = message
    parts = (
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode>",
        f"<faultstring>{escape(message)}</faultstring>",
        f"<detail>{writer.getvalue()}</detail></soapenv:Fault>",
    )
    return _envelope("".join(parts))


def _envelope(inside: str) -> bytes:
    text: str = _HEAD + _soap.SOAP_START + inside + _soap.SOAP_END
    return text.encode()
