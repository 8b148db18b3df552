"""Properties that the simulator leaves out of its answers: ``VirtualDisk.capacityInBytes`` is unset wherever
a disk is sent.

Any optional property may be unset (SDK Programming Guide, "Unset Optional Properties"); that a server leaves
out one that the API requires was reported of none, and is for tests of what a client makes of it.
"""

from __future__ import annotations

import copy
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator.vmodl import DataObject, ManagedObject, support


class Unset:
    """`properties`, each of a type of the API by its name in WSDL; those of subtypes are meant too. Empty in
    most simulators."""

    def __init__(self) -> None:
        self._properties: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self._properties)

    def set(self, properties: frozenset[str]) -> None:
        """Raises UsageError for one that the API does not have."""
        for one in properties:
            name, _, prop = one.partition(".")
            try:
                support.GetWsdlType("urn:vim25", name)._GetPropertyInfo(prop)
            except (KeyError, AttributeError):
                raise UsageError(
                    f"the API has no property '{one}'; write for example VirtualDisk.capacityInBytes"
                ) from None
        self._properties = properties

    def has(self, kind: Any, name: str) -> bool:
        """Whether the property `name` of the vmodl type `kind` is left out."""
        return bool(self._properties) and any(
            f"{base.__dict__.get('_wsdlName')}.{name}" in self._properties for base in kind.__mro__
        )

    def without(self, value: Any) -> Any:
        """`value`, or a copy of it that lacks them."""
        if not self:
            return value
        if isinstance(value, list):
            return type(value)([self.without(item) for item in value])
        if not isinstance(value, DataObject) or isinstance(value, ManagedObject):
            return value
        made = copy.copy(value)
        for listed in value._GetPropertyList():
            empty = listed.type() if issubclass(listed.type, list) else None
            content = getattr(value, listed.name)
            left = empty if self.has(type(value), listed.name) else self.without(content)
            object.__setattr__(made, listed.name, left)
        return made
