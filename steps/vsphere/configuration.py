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
    return type(value).__name__.rpartition(".")[2]
