"""Property paths: the value at ``config.hardware.device`` of an object, as the PropertyCollector reads it."""

from __future__ import annotations

import re
from typing import Any

from steps.lab.simulator.objects import Managed
from steps.lab.simulator.vmodl import DataObject, fault, typed, vmodl

_STEP = re.compile(r'([A-Za-z_]\w*)(?:\["?([^\]"]*)"?\])?(?:\.|$)')


def read_path(managed: Managed, path: str, made: dict[str, Any] | None = None) -> Any:
    """None where the property, or one on the way to it, is unset. Raises InvalidProperty{name} for an unknown
    path.

    ``device[2000]`` picks the element of an array whose key is 2000. `made`: the object's whole properties as
    they are just now, by name, for one that is asked for several paths; it is filled.
    """
    made = {} if made is None else made
    steps = list(_STEP.finditer(path))
    if not steps or "".join(step[0] for step in steps) != path or path.endswith("."):
        raise _invalid(path)
    kind, value = managed.kind, None
    for depth, step in enumerate(steps):
        try:
            information = kind._GetPropertyInfo(step[1])
        except AttributeError:
            raise _invalid(path) from None
        if managed.world.unset.has(kind, step[1]):
            value = None
        elif depth == 0:
            if step[1] not in made:
                made[step[1]] = managed.read(step[1])
            value = made[step[1]]
        elif value is not None:
            value = getattr(value, step[1])
        value, kind = typed(value, information.type), information.type
        if step[2] is not None:
            value, kind = _element(value, kind, step[2], path)
        if value is not None:
            kind = type(value)
        if depth + 1 < len(steps) and not issubclass(kind, DataObject):
            raise _invalid(path)
    return None if isinstance(value, list) and not value and not _is_set(managed, path) else value


def _is_set(managed: Managed, path: str) -> bool:
    """An empty array is unset, unless the object itself gives the whole property as an empty list."""
    return "." not in path and managed.read(path) is not None


def _element(value: Any, kind: Any, key: str, path: str) -> tuple[Any, Any]:
    if not issubclass(kind, list):
        raise _invalid(path)
    found = [item for item in value or () if str(getattr(item, "key", None)) == key]
    return (found[0] if found else None), kind.Item


def _invalid(path: str) -> Exception:
    return fault(vmodl.query.InvalidProperty, f"The property path {path} is not known", name=path)
