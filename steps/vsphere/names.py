"""Names as vSphere stores them: ``/`` ``\\`` and ``%`` are written %2f %5c %25 (API reference, ManagedEntity.name)."""

from __future__ import annotations

import re

from steps.vsphere.errors import VSphereError

_ESCAPED = re.compile(r"%(2f|5c|25)", re.IGNORECASE)
_PLAIN = {"2f": "/", "5c": "\\", "25": "%"}
_DATASTORE_PATH = re.compile(r"\[([^\]]*)\] ?(.*)", re.DOTALL)


def unescape(name: str) -> str:
    """``a%2fb`` is ``a/b``; other percent signs are themselves."""
    return _ESCAPED.sub(lambda match: _PLAIN[match.group(1).lower()], name)


def datastore_path(path: str) -> tuple[str, str]:
    """``("ds", "dir/x.vmdk")`` of ``"[ds] dir/x.vmdk"``. Raises VSphereError."""
    match = _DATASTORE_PATH.fullmatch(path)
    if match is None:
        raise VSphereError(f"vSphere gives '{path}' for a file, which is not a path on a datastore")
    return match.group(1), match.group(2)
