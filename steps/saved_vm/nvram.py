r"""The NVRAM file that a point saved: VMware's, which nobody else reads. What is asked of it is which boot
loaders its firmware had entries for."""

from __future__ import annotations

import re
from itertools import islice

from runner.base.errors import StateError
from runner.base.units import MiB
from runner.hosts.host import Host

MOST_NAMED = 16
"""Loaders that one file is believed to name."""

_LARGEST = 1 * MiB
"""As it is looked at: such a file has 270,840 bytes (reported)."""

_NAME = rb"(?:[\w .+~-]\0){1,64}"
_LOADER = re.compile(
    rb"\\\0E\0F\0I\0(?:\\\0" + _NAME + rb"){0,8}?\\\0" + _NAME + rb"(?<=\.\0e\0f\0i\0)", re.IGNORECASE
)


def read(host: Host, path: str, instead: str) -> bytes:
    """Raises StateError if it is gone, with what can be done `instead`."""
    try:
        return host.read(path)
    except FileNotFoundError:
        raise StateError(f"the saved NVRAM {path} on {host.name} is gone: {instead}") from None


def loaders(content: bytes) -> tuple[str, ...]:
    r"""Those that it names, such as ``\EFI\debian\shimx64.efi``, in its order, whatever its format: EFI has
    paths in UCS-2 (documented: UEFI 2.10, 10.3.5.4). Of VMware's, ``MRVN`` with ``EFI_NV`` within, there are
    only reports; an encrypted one names none."""
    found: dict[str, str] = {}
    for match in _LOADER.finditer(content[:_LARGEST]):
        path = match[0].decode("utf-16-le")
        found.setdefault(path.lower(), path)
    return tuple(islice(found.values(), MOST_NAMED))
