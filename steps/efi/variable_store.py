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

from runner.base.errors import SendenseError

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


class VariableStoreError(SendenseError):
    """It is damaged, of another kind, or full."""


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


class VariableStore:
    """Of OVMF, as flash has it; `where` names it: ``/usr/share/OVMF/OVMF_VARS_4M.fd on store``. Raises
    VariableStoreError if it is damaged, or of another kind."""

    def __init__(self, content: bytes, where: str) -> None:
        self._flash = bytearray(content)
        self._where = where
        begin, self._end = self._bounds()
        self._variables: dict[tuple[bytes, str], int] = {}
        """Vendor and name → where its header is."""
        self._free = begin
        for at, vendor, name, after in self._walk(begin):
            if self._flash[at + 2] == _ADDED:
                self._variables[vendor, name] = at
            self._free = after
        if self._flash[self._free : self._end].strip(_ERASED):
            raise self._damaged(f"what follows its variables at {self._free} is not erased")

    @property
    def has_secure_boot(self) -> bool:
        """Whether a firmware that begins with it starts nothing that is not signed: it has a platform key,
        and EDK2's own switch is not off."""
        return bool(self._variable("PK")) and self._variable("SecureBootEnable", _SECURE_BOOT) != b"\0"

    @property
    def content(self) -> bytes:
        return bytes(self._flash)

    def add(self, entries: Sequence[BootEntry]) -> None:
        """They are tried before those that are in it, and in this order. Raises VariableStoreError if they do
        not fit."""
        if not entries:
            return
        taken = {name.upper() for vendor, name in self._variables if vendor == GLOBAL.bytes_le}
        free = (name for number in range(0x10000) if (name := f"Boot{number:04X}").upper() not in taken)
        names = list(islice(free, len(entries)))
        for name, entry in zip(names, entries, strict=True):
            self._put(name, entry.content)
        ours = b"".join(int(name[4:], 16).to_bytes(2, "little") for name in names)
        self._put("BootOrder", ours + self._variable("BootOrder"))

    def _walk(self, at: int) -> Iterator[tuple[int, bytes, str, int]]:
        """Of each variable, also of those that were replaced: where it is, vendor, name, where the next one
        is."""
        while at + _VARIABLE.size <= self._end:
            starts, _, _, _, _, _, _, name_size, data_size, vendor = _VARIABLE.unpack_from(self._flash, at)
            if starts != _STARTS:
                return
            name_at = at + _VARIABLE.size
            after = name_at + name_size + data_size
            if after > self._end:
                raise self._damaged(f"the variable at {at} is longer than the store")
            name = self._flash[name_at : name_at + name_size].decode("utf-16-le", errors="replace")
            at, this = after + -after % _ALIGNED, at
            yield this, vendor, name.rstrip("\0"), min(at, self._end)

    def _variable(self, name: str, vendor: UUID = GLOBAL) -> bytes:
        """Of a variable; empty if there is none."""
        if (at := self._variables.get((vendor.bytes_le, name))) is None:
            return b""
        *_, name_size, data_size, _ = _VARIABLE.unpack_from(self._flash, at)
        begin = at + _VARIABLE.size + name_size
        return bytes(self._flash[begin : begin + data_size])

    def _put(self, name: str, content: bytes) -> None:
        """In place of the one of that name. Raises VariableStoreError if it does not fit."""
        encoded = _ucs2(name)
        header = _VARIABLE.pack(
            _STARTS, _ADDED, 0, _NON_VOLATILE, 0, bytes(16), 0, len(encoded), len(content), GLOBAL.bytes_le
        )
        variable = header + encoded + content
        if self._free + len(variable) > self._end:
            raise VariableStoreError(
                f"{self._where} has no room for {name}, which takes {len(variable)} bytes"
            )
        if (old := self._variables.get((GLOBAL.bytes_le, name))) is not None:
            self._flash[old + 2] &= _DELETED
        self._flash[self._free : self._free + len(variable)] = variable
        self._variables[GLOBAL.bytes_le, name] = self._free
        self._free = min(self._free + len(variable) + -len(variable) % _ALIGNED, self._end)

    def _bounds(self) -> tuple[int, int]:
        """Where variables begin and end."""
        flash = bytes(self._flash)
        if len(flash) < _VOLUME.size:
            raise self._damaged(f"it has {len(flash)} bytes")
        _, file_system, length, signature, _, header, _, _, _, _ = _VOLUME.unpack_from(flash)
        if signature != b"_FVH" or file_system != _FILE_SYSTEM:
            raise self._damaged("it does not begin as a volume of variables does")
        if length > len(flash) or header % 2 or not _VOLUME.size <= header <= len(flash) - _STORE.size:
            raise self._damaged("its sizes exceed the file")
        if sum(struct.unpack_from(f"<{header // 2}H", flash)) & 0xFFFF:
            raise self._damaged("the checksum of its header is wrong")
        kind, size, formatted, state, _, _ = _STORE.unpack_from(flash, header)
        if kind != _AUTHENTICATED or (formatted, state) != (_FORMATTED, _HEALTHY):
            raise self._damaged("it has no store of authenticated variables")
        if not _STORE.size <= size <= length - header:
            raise self._damaged("its sizes exceed the file")
        begin = header + _STORE.size
        return begin + -begin % _ALIGNED, header + size

    def _damaged(self, why: str) -> VariableStoreError:
        return VariableStoreError(
            f"{self._where} is no variable store of OVMF, or damaged ({why}): install OVMF again there"
        )


def _ucs2(text: str) -> bytes:
    return text.encode("utf-16-le") + bytes(2)
