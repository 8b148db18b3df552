r"""The boot loaders of a machine with EFI: those that its saved NVRAM names, and usual ones.

VMware's firmware keeps its boot entries in the VM's NVRAM file, which OVMF cannot read. A guest whose loader
is not ``\EFI\BOOT\BOOTX64.EFI`` boots by such an entry alone, so it gets new ones: by partition, not by
controller, so that they hold whatever the disk is attached to here. One whose file is not there is passed
over without a word (tried).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice, product

from runner.base.units import MiB
from steps.boot.efi_variables import BootEntry, with_boot_entries
from steps.boot.gpt import Partition

FALLBACK = r"\EFI\BOOT\BOOTX64.EFI"
"""What the firmware itself starts from a disk (UEFI 2.10, 3.5.1.1)."""

MOST_NAMED = 16
"""Loaders that one NVRAM is believed to name."""

MOST_ENTRIES = 64
"""About 13 KiB of variables; the smallest store of OVMF has 56."""

_LARGEST = 1 * MiB
"""Of an NVRAM file, as it is looked at: VMware's has 270,840 bytes (reported)."""

_NAME = rb"(?:[\w .+~-]\0){1,64}"
_NAMED = re.compile(
    rb"\\\0E\0F\0I\0(?:\\\0" + _NAME + rb"){0,8}?\\\0" + _NAME + rb"(?<=\.\0e\0f\0i\0)", re.IGNORECASE
)

_USUAL = {
    "debian": (r"debian\shimx64.efi", r"debian\grubx64.efi"),
    "ubuntu": (r"ubuntu\shimx64.efi", r"ubuntu\grubx64.efi"),
    "rhel": (r"redhat\shimx64.efi", r"redhat\grubx64.efi"),
    "oracle": (r"redhat\shimx64.efi", r"redhat\grubx64.efi"),
    "centos": (r"centos\shimx64.efi", r"redhat\shimx64.efi", r"centos\grubx64.efi"),
    "rocky": (r"rocky\shimx64.efi", r"rocky\grubx64.efi"),
    "alma": (r"almalinux\shimx64.efi", r"almalinux\grubx64.efi"),
    "fedora": (r"fedora\shimx64.efi", r"fedora\grubx64.efi"),
    "sles": (r"sles\shim.efi", r"sles\grubx64.efi"),
    "opensuse": (r"opensuse\shim.efi", r"opensuse\grubx64.efi"),
    "freebsd": (r"freebsd\loader.efi",),
    "win": (r"Microsoft\Boot\bootmgfw.efi",),
}
r"""How vSphere's name of a guest begins → where its system puts loaders, below ``\EFI`` (reported)."""


def named(nvram: bytes) -> tuple[str, ...]:
    r"""Loaders that a firmware's variables name, such as ``\EFI\debian\shimx64.efi``, in the file's order,
    whatever its format: EFI writes paths in UCS-2 (UEFI 2.10, 10.3.5.4). Of VMware's, ``MRVN`` with
    ``EFI_NV`` within, there are only reports."""
    found: dict[str, str] = {}
    for match in _NAMED.finditer(nvram[:_LARGEST]):
        path = match[0].decode("utf-16-le")
        found.setdefault(path.lower(), path)
    found.pop(FALLBACK.lower(), None)
    return tuple(islice(found.values(), MOST_NAMED))


def to_try(named_ones: Sequence[str], guest: str) -> tuple[str, ...]:
    """In this order: what the NVRAM names, what is usual for `guest`, which is vSphere's name; what any disk
    boots with, and what is usual elsewhere."""
    own = [path for begins, paths in _USUAL.items() if guest.startswith(begins) for path in paths]
    others = [path for paths in _USUAL.values() for path in paths]
    usual = [rf"\EFI\{path}" for path in own], [rf"\EFI\{path}" for path in others]
    found: dict[str, str] = {}
    for path in (*named_ones, *usual[0], FALLBACK, *usual[1]):
        found.setdefault(path.lower(), path)
    return tuple(found.values())


def prepared(template: bytes, loaders: Sequence[str], partitions: Sequence[Partition]) -> bytes:
    """The variable store of a machine: `template`, with an entry for each loader on each EFI system
    partition. Raises BootError for a template that is no variable store of OVMF."""
    return with_boot_entries(template, tuple(islice(_entries(loaders, partitions), MOST_ENTRIES)))


def _entries(loaders: Sequence[str], partitions: Sequence[Partition]) -> Iterator[BootEntry]:
    for loader, partition in product(loaders, partitions):
        # The folder has its system's name, which is what the firmware then says that it loads.
        yield BootEntry(loader.split("\\")[2], _hard_drive(partition) + _file(loader) + _END)


_END = b"\x7f\xff\x04\x00"
_MEDIA = 4
"""Type of a node of a device path (UEFI 2.10, 10.3.5)."""


def _hard_drive(partition: Partition) -> bytes:
    """``HD(1,GPT,…)`` (UEFI 2.10, 10.3.5.1)."""
    scheme, kind = (2, 2) if partition.scheme == "gpt" else (1, 1)
    place = struct.pack("<IQQ", partition.number, partition.start, partition.sectors)
    return struct.pack("<BBH", _MEDIA, 1, 42) + place + partition.signature + bytes((scheme, kind))


def _file(path: str) -> bytes:
    """``File(\\EFI\\…)`` (UEFI 2.10, 10.3.5.4)."""
    name = path.encode("utf-16-le") + bytes(2)
    return struct.pack("<BBH", _MEDIA, 4, 4 + len(name)) + name
