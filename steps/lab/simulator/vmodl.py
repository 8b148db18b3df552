"""pyVmomi's type metadata as the simulator uses it: what a client sends and receives is made of these types.

The names are `Any`, since pyVmomi's stubs leave its constructors untyped and declare optional properties as
present.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pyVmomi import VmomiSupport
from pyVmomi import vim as _vim
from pyVmomi import vmodl as _vmodl

vim: Any = _vim
vmodl: Any = _vmodl
support: Any = VmomiSupport

DataObject: Any = VmomiSupport.DataObject
ManagedObject: Any = VmomiSupport.ManagedObject
ManagedMethod: Any = VmomiSupport.ManagedMethod
Enum: Any = VmomiSupport.Enum


def _copy_of(fault: Any) -> Any:
    kind = type(fault)
    return kind(**{each.name: getattr(fault, each.name) for each in fault._GetPropertyList()})


# pyVmomi copies a fault to serialize it. Where Dask is in the same process, tblib has registered how
# exceptions are pickled, which copy.copy takes too, and which sets attributes that no vmodl type has.
vmodl.MethodFault.__copy__ = _copy_of

VERSION = "vim.version.v8_0_3_0"
"""The API version the simulator speaks, and the newest it serialises for."""


def typed(value: Any, kind: Any) -> Any:
    """`value` as an instance of the vmodl type `kind`, so that it says its type in an anyType slot.

    Plain ints, lists and enum texts do not: an int would travel as xsd:int where the API says xsd:long.
    """
    if value is None or isinstance(value, kind):
        return value
    if issubclass(kind, list):
        return kind([typed(item, kind.Item) for item in value])
    if issubclass(kind, Enum) or (issubclass(kind, int) and kind is not bool):
        return kind(value)
    return value


def from_json(name: str, value: Mapping[str, Any]) -> Any:
    """A data object of the API's type `name` (WSDL's: ``VirtualCdromIsoBackingInfo``) with these properties;
    an object inside says its type as ``_type`` where it is not the property's own. Raises ValueError for what
    the API does not have."""
    try:
        made = support.GetWsdlType("urn:vim25", name)()
        listed = {one.name: one for one in made._GetPropertyList()}
        for key, content in value.items():
            if key != "_type":
                setattr(made, key, _typed_json(listed[key].type, content))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the API has no {name} with {', '.join(value) or 'nothing'}: {error}") from error
    return made


def _typed_json(kind: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_typed_json(kind.Item, item) for item in value]
    if isinstance(value, Mapping):
        return from_json(value.get("_type", kind._wsdlName), value)
    return typed(value, kind)


def fault(kind: Any, message: str, **fields: Any) -> Exception:
    """A vmodl fault to raise, with its localized message."""
    made = kind(**fields)
    made.msg = message
    return cast(Exception, made)


def invalid_argument(name: str) -> Exception:
    """The text is what clients report: "A specified parameter was not correct: startOffset" (pyvmomi issue
    224)."""
    return fault(
        vmodl.fault.InvalidArgument, f"A specified parameter was not correct: {name}", invalidProperty=name
    )


def object_gone(reference: Any) -> Exception:
    """The text is what clients of a real vCenter report for a removed snapshot or a forgotten task."""
    kind, moid = type(reference).__name__.split(".", 1)[-1], reference._moId
    return fault(
        vmodl.fault.ManagedObjectNotFound,
        f"The object 'vim.{kind}:{moid}' has already been deleted or has not been completely created",
        obj=reference,
    )
