"""Names as vSphere stores them: ``/`` ``\\`` and ``%`` are written %2f %5c %25 (API reference,
ManagedEntity.name)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from steps.vsphere.errors import VSphereError

_ESCAPED = re.compile(r"%(2f|5c|25)", re.IGNORECASE)
_PLAIN = {"2f": "/", "5c": "\\", "25": "%"}
_HEX = {plain: code for code, plain in _PLAIN.items()}
_FORMS = (re.compile(r"\[(.*?)\](?: (.*)|)", re.DOTALL), re.compile(r"\[([^\]]*)\](.*)", re.DOTALL))
"""``[name] path`` as it is documented; the second without the space."""


NAME_LIMIT = 79
"""Characters of a VM's name, as they are stored: one less than vSphere takes (API reference,
VirtualMachineConfigSpec.name)."""


@dataclass(frozen=True)
class DatastoreFile:
    """``[datastore] path`` in its two parts, which the text alone does not tell: a datastore may be called
    ``ssd [prod]``."""

    datastore: str
    path: str

    def __str__(self) -> str:
        return f"[{self.datastore}] {self.path}"


def unescape(name: str) -> str:
    """``a%2fb`` is ``a/b``; other percent signs are themselves."""
    return _ESCAPED.sub(lambda match: _PLAIN[match.group(1).lower()], name)


def escape(name: str) -> str:
    """``a/b`` is ``a%2fb``."""
    return "".join(f"%{_HEX[one]}" if one in _HEX else one for one in name)


def datastore_file(text: str, known: Iterable[str] = ()) -> DatastoreFile:
    """Of ``[ds] dir/x.vmdk``. `known`: names of datastores, as the API gives them, of which one is the
    file's. Where none is (the account may not read it), the name ends at the first bracket before a space.
    Raises VSphereError for another text."""
    spellings = {spelling for name in known for spelling in (name, unescape(name))}
    for name in sorted(spellings, key=len, reverse=True):
        if f"{text} ".startswith(f"[{name}] "):
            return DatastoreFile(name, text[len(f"[{name}] ") :])
    for form in _FORMS:
        if (match := form.fullmatch(text)) is not None:
            return DatastoreFile(match[1], match[2] or "")
    raise VSphereError(f"vSphere gives '{text}' for a file, which is not a path on a datastore")
