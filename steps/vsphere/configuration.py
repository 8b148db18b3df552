"""A VM's configuration as JSON: everything the API gives, since what a restore lacks is known only when it
does not boot."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from steps.vsphere import vmomi


def as_json(value: Any) -> JsonValue:
    """A data object is a mapping of its set properties under the API's names, with its type as ``_type``; a
    managed object is its type and moref (``Datastore:datastore-11``), a time ISO 8601, binary base64."""
    match value:
        case None | bool() | float():
            return value
        case vmomi.DataObject():
            return _object(value)
        case vmomi.ManagedObject():
            return f"{_name(value)}:{value._moId}"
        case datetime():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [as_json(item) for item in value]
        case int():
            return int(value)
        case _:
            return str(value)


def _object(value: Any) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {"_type": _name(value)}
    for listed in value._GetPropertyList():
        content = getattr(value, listed.name)
        # A managed object compares itself with nothing but its like.
        if content is not None and not (isinstance(content, list) and not content):
            found[listed.name] = as_json(content)
    return found


def _name(value: Any) -> str:
    return _short(type(value))


def from_json(declared: Any, value: JsonValue, owner: Any = None) -> Any:
    """The API's value of what `as_json` wrote: of the type `declared`, or of the one that ``_type`` names,
    which may stand within a class that `owner` derives from (``VirtualEthernetCard.NetworkBackingInfo`` of a
    VirtualVmxnet3). Not of managed objects. Raises ValueError for what the API does not have."""
    match value:
        case list():
            return declared([from_json(declared.Item, item, owner) for item in value])
        case dict():
            kind = _kind(declared, str(value.get("_type") or ""), owner)
            made = kind()
            for name, content in value.items():
                if name != "_type":
                    setattr(made, name, from_json(_declared(kind, name), content, kind))
            return made
    return datetime.fromisoformat(str(value)) if declared is datetime else declared(value)


def _kind(declared: Any, name: str, owner: Any) -> Any:
    if name in ("", _short(declared)):
        return declared
    for outer in (owner or declared).__mro__:
        found = getattr(outer, name, None)
        if isinstance(found, type) and issubclass(found, declared):
            return found
    raise ValueError(f"the API has no {name} where a {_short(declared)} stands")


def _declared(kind: Any, name: str) -> Any:
    try:
        return kind._GetPropertyInfo(name).type
    except AttributeError:
        raise ValueError(f"the API's {_short(kind)} has no {name}") from None


def _short(kind: Any) -> str:
    return str(kind.__name__).rpartition(".")[2]
