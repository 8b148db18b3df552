"""OVMF's variable store, with boot entries in it: the second flash of a machine with EFI.

A firmware volume of the PI specification (volume 3, 3.2.1) with EDK2's store of authenticated variables in it
(MdeModulePkg/Include/Guid/VariableFormat.h), to which the firmware only ever appends: what is put in here
lies where the firmware itself would write next. Nothing of it is signed but the keys of secure boot, which
stay as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from steps.boot.seen import BootError

GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"""The vendor of the variables that the UEFI specification names (3.3)."""

_SECURE_BOOT = UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
"""EDK2's, of its switch beside the keys (SecurityPkg/Include/Guid/AuthenticatedVariableFormat.h)."""

_NON_VOLATILE = 0x1 | 0x2 | 0x4
"""Kept, and to be read while booting and at run time: attributes of a boot entry (UEFI 2.10, 3.3)."""

_VOLUME = struct.Struct("<16s16sQ4sIHHHBB")
_FILE_SYSTEM = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le  # EFI_SYSTEM_NV_DATA_FV_GUID

_STORE = struct.Struct("<16sIBBHI")
_AUTHENTICATED = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
_FORMATTED, _HEALTHY = 0x5A, 0xFE

_VARIABLE = struct.Struct("<HBBIQ16sIII16s")
_STARTS, _ADDED = 0x55AA, 0x3F
_DELETED = 0xFD
"""Of a state, whose bits are only ever cleared, as flash does it: what it leaves of one that is replaced."""

_ALIGNED = 4
_ERASED = b"\xff"

_ACTIVE = 1
"""LOAD_OPTION_ACTIVE: the firmware tries it (UEFI 2.10, 3.1.3)."""


@dataclass(frozen=True)
class BootEntry:
    description: str
    """What the firmware calls it."""
    path: bytes
    """A device path, with its end."""

    @property
    def content(self) -> bytes:
        """EFI_LOAD_OPTION (UEFI 2.10, 3.1.3)."""
        return struct.pack("<IH", _ACTIVE, len(self.path)) + _ucs2(self.description) + self.path


def with_boot_entries(template: bytes, entries: Sequence[BootEntry]) -> bytes:
    """`template`, an OVMF variable store as flash has it, with `entries`, which are tried before those that
    are in it. Raises BootError for a store that is damaged, of another kind, or full."""
    if not entries:
        return template
    store = _Store(template)
    taken = {name.upper() for vendor, name in store.variables if vendor == GLOBAL.bytes_le}
    free = (name for number in range(0x10000) if (name := f"Boot{number:04X}").upper() not in taken)
    names = list(islice(free, len(entries)))
    for name, entry in zip(names, entries, strict=True):
        store.put(name, entry.content)
    ours = b"".join(int(name[4:], 16).to_bytes(2, "little") for name in names)
    store.put("BootOrder", ours + store.content("BootOrder"))
    return bytes(store.flash)


def has_secure_boot(template: bytes) -> bool:
    """Whether a firmware that starts with it starts nothing that is not signed: it has a platform key, and
    EDK2's own switch is not off. Raises BootError for a store that is damaged, or of another kind."""
    store = _Store(template)
    switch = store.content("SecureBootEnable", _SECURE_BOOT)
    return bool(store.content("PK")) and switch != b"\0"


class _Store:
    """`variables`: (vendor, name) → where its header is. Raises BootError."""

    def __init__(self, template: bytes) -> None:
        self.flash = bytearray(template)
        begin, self.end = _bounds(template)
        self.variables: dict[tuple[bytes, str], int] = {}
        self.free = begin
        for at, vendor, name, after in self._walk(begin):
            if self.flash[at + 2] == _ADDED:
                self.variables[vendor, name] = at
            self.free = after
        if self.flash[self.free : self.end].strip(_ERASED):
            raise _damaged(f"what follows its variables at {self.free} is not erased")

    def _walk(self, at: int) -> Iterator[tuple[int, bytes, str, int]]:
        """Of each variable, also of those that were replaced: where it is, vendor, name, where the next one
        is."""
        while at + _VARIABLE.size <= self.end:
            starts, _, _, _, _, _, _, name_size, data_size, vendor = _VARIABLE.unpack_from(self.flash, at)
            if starts != _STARTS:
                return
            name_at = at + _VARIABLE.size
            after = name_at + name_size + data_size
            if after > self.end:
                raise _damaged(f"the variable at {at} is longer than the store")
            name = self.flash[name_at : name_at + name_size].decode("utf-16-le", errors="replace")
            at, this = after + -after % _ALIGNED, at
            yield this, vendor, name.rstrip("\0"), min(at, self.end)

    def content(self, name: str, vendor: UUID = GLOBAL) -> bytes:
        """Of a variable; empty if there is none."""
        if (at := self.variables.get((vendor.bytes_le, name))) is None:
            return b""
        *_, name_size, data_size, _ = _VARIABLE.unpack_from(self.flash, at)
        begin = at + _VARIABLE.size + name_size
        return bytes(self.flash[begin : begin + data_size])

    def put(self, name: str, content: bytes) -> None:
        """In place of the one of that name. Raises BootError if it does not fit."""
        encoded = _ucs2(name)
        header = _VARIABLE.pack(
            _STARTS, _ADDED, 0, _NON_VOLATILE, 0, bytes(16), 0, len(encoded), len(content), GLOBAL.bytes_le
        )
        variable = header + encoded + content
        if self.free + len(variable) > self.end:
            raise BootError(
                f"the firmware's variables have no room for {name}: it takes {len(variable)} bytes"
            )
        if (old := self.variables.get((GLOBAL.bytes_le, name))) is not None:
            self.flash[old + 2] &= _DELETED
        self.flash[self.free : self.free + len(variable)] = variable
        self.variables[GLOBAL.bytes_le, name] = self.free
        self.free = min(self.free + len(variable) + -len(variable) % _ALIGNED, self.end)


def _bounds(flash: bytes) -> tuple[int, int]:
    """Where variables begin and end. Raises BootError."""
    if len(flash) < _VOLUME.size:
        raise _damaged(f"it has {len(flash)} bytes")
    _, file_system, length, signature, _, header, _, _, _, _ = _VOLUME.unpack_from(flash)
    if signature != b"_FVH" or file_system != _FILE_SYSTEM:
        raise _damaged("it does not begin as a volume of variables does")
    if length > len(flash) or header % 2 or not _VOLUME.size <= header <= len(flash) - _STORE.size:
        raise _damaged("its sizes exceed the file")
    if sum(struct.unpack_from(f"<{header // 2}H", flash)) & 0xFFFF:
        raise _damaged("the checksum of its header is wrong")
    kind, size, formatted, state, _, _ = _STORE.unpack_from(flash, header)
    if kind != _AUTHENTICATED or (formatted, state) != (_FORMATTED, _HEALTHY):
        raise _damaged("it has no store of authenticated variables")
    if not _STORE.size <= size <= length - header:
        raise _damaged("its sizes exceed the file")
    begin = header + _STORE.size
    return begin + -begin % _ALIGNED, header + size


def _damaged(why: str) -> BootError:
    return BootError(
        f"the firmware's variables cannot be prepared: the template is no variable store of OVMF ({why}); "
        f"install OVMF again on that host"
    )


def _ucs2(text: str) -> bytes:
    return text.encode("utf-16-le") + bytes(2)
