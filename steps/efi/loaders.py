r"""The boot loaders of a machine with EFI: those that its saved NVRAM names, and usual ones.

VMware's firmware keeps its boot entries in the VM's NVRAM file, which OVMF cannot read. A guest whose loader
is not ``\EFI\BOOT\BOOTX64.EFI`` boots by such an entry alone, so it gets new ones: by partition, not by
controller, so that they hold whatever the disk is attached to here. One whose file is not there is passed
over without a word (tried).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice, product

from steps.efi.gpt import Partition
from steps.efi.variable_store import BootEntry

FALLBACK = r"\EFI\BOOT\BOOTX64.EFI"
"""What the firmware itself starts from a disk (UEFI 2.10, 3.5.1.1)."""

MOST_ENTRIES = 64
"""About 13 KiB of variables; the smallest store of OVMF has 56."""

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


def to_try(named: Sequence[str], guest: str) -> tuple[str, ...]:
    """In this order: what the saved NVRAM names, what is usual for `guest`, which is vSphere's name, what any
    disk boots with, and what is usual elsewhere."""
    own = [path for begins, paths in _USUAL.items() if guest.startswith(begins) for path in paths]
    others = [path for paths in _USUAL.values() for path in paths]
    first = [path for path in named if path.lower() != FALLBACK.lower()]
    found: dict[str, str] = {}
    for path in (*first, *map(_below_efi, own), FALLBACK, *map(_below_efi, others)):
        found.setdefault(path.lower(), path)
    return tuple(found.values())


def _below_efi(path: str) -> str:
    return rf"\EFI\{path}"


def entries(loaders: Sequence[str], partitions: Sequence[Partition]) -> tuple[BootEntry, ...]:
    """One for each loader on each EFI system partition."""
    return tuple(islice(_entries(loaders, partitions), MOST_ENTRIES))


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
