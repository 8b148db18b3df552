"""Properties that the API leaves unset: what we cannot do without is asked for here, so that its absence is a
sentence.

Where a property is optional for us as well, it is read with a default where it is used. A required property
that a server leaves out arrives as pyVmomi's default for its type (0, "", False, None), which the caller
judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.vsphere.errors import Unset


def given(holder: Any, path: str, whose: str) -> Any:
    """The property at `path` of a data object (``hardware.device``), or of what `properties` read, where
    paths are keys. `whose` says in words what it describes: ``disk 2000 (Hard disk 1)``. Raises Unset; an
    empty text counts as unset."""
    if isinstance(holder, Mapping):
        value = holder.get(path)
    else:
        value = holder
        for name in path.split("."):
            value = getattr(value, name, None)
    if value is None or (isinstance(value, str) and not value):
        raise Unset(path, whose)
    return value
