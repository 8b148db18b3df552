"""Boot entries in OVMF's variable store: what the firmware reads there, and what is refused."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.efi import loaders
from steps.efi.gpt import Partition
from steps.efi.variable_store import BootEntry, VariableStore, VariableStoreError

PATH = b"\x04\x04\x06\0a\0\x7f\xff\x04\0"
ENTRIES = (BootEntry("first", PATH), BootEntry("second", PATH))
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
VARIABLES = 0x64
"""Where the first one of OVMF's stores is."""


def with_boot_entries(content: bytes, entries: Sequence[BootEntry]) -> bytes:
    store = VariableStore(content, "VARS.fd on store")
    store.add(entries)
    return store.content


def template(size: int = 528 << 10, store: int = 256 << 10) -> bytes:
    """As OVMF's build makes it (OvmfPkg/VarStore.fdf.inc), with a store of `store` bytes behind its header."""
    volume = struct.pack("<16s16sQ4sIHHHBB", b"", uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le, size,
                         b"_FVH", 0x4FEFF, 72, 0, 0, 0, 2) + struct.pack("<IIII", size // 4096, 4096, 0, 0)  # fmt: skip
    checksum = -sum(struct.unpack("<36H", volume)) & 0xFFFF
    volume = volume[:50] + struct.pack("<H", checksum) + volume[52:]
    kind = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
    header = struct.pack("<16sIBBHI", kind, store - len(volume), 0x5A, 0xFE, 0, 0)
    return (volume + header).ljust(size, b"\xff")


def variables(flash: bytes) -> list[tuple[int, uuid.UUID, str, bytes]]:
    """State, vendor, name and content of each, also of those that were replaced: read apart from what writes them."""
    found, at = [], VARIABLES
    while flash[at : at + 2] == b"\xaa\x55":
        name_size, size = struct.unpack_from("<II", flash, at + 36)
        vendor = uuid.UUID(bytes_le=flash[at + 44 : at + 60])
        name = flash[at + 60 : at + 60 + name_size]
        content = flash[at + 60 + name_size : at + 60 + name_size + size]
        assert name.endswith(b"\0\0")
        found.append((flash[at + 2], vendor, name[:-2].decode("utf-16-le"), content))
        at = (at + 60 + name_size + size + 3) & ~3
    return found


def present(flash: bytes) -> dict[str, bytes]:
    return {name: content for state, vendor, name, content in variables(flash) if (state, vendor) == (0x3F, GLOBAL)}


def option(description: str) -> bytes:
    return b"\x01\0\0\0" + len(PATH).to_bytes(2, "little") + description.encode("utf-16-le") + b"\0\0" + PATH


def debians(name: str) -> bytes:
    path = Path("/usr/share/OVMF") / name
    if not path.exists():
        pytest.skip("Debian's ovmf is not installed")
    return path.read_bytes()


def test_entries_are_in_an_empty_store_in_their_order() -> None:
    flash = with_boot_entries(template(), ENTRIES)
    assert present(flash) == {
        "Boot0000": option("first"),
        "Boot0001": option("second"),
        "BootOrder": b"\0\0\x01\0",
    }
    assert len(flash) == len(template())


def test_those_that_are_in_it_stay_and_are_tried_after_them() -> None:
    before = with_boot_entries(template(), ENTRIES)
    flash = with_boot_entries(before, [BootEntry("third", PATH)])
    assert present(flash) == {
        "Boot0000": option("first"),
        "Boot0001": option("second"),
        "Boot0002": option("third"),
        "BootOrder": b"\x02\0\0\0\x01\0",
    }
    assert [state for state, _, name, _ in variables(flash) if name == "BootOrder"] == [0x3D, 0x3F]


def test_a_store_that_nothing_is_put_into_is_as_it_was() -> None:
    assert with_boot_entries(template(), ()) == template()


def test_a_full_store_is_an_error() -> None:
    small = template(size=64 << 10, store=1024)
    with pytest.raises(VariableStoreError, match="no room for Boot"):
        with_boot_entries(small, ENTRIES * 10)


def test_the_last_bytes_of_a_store_can_be_used() -> None:
    used = [60 + 18 + len(option("first")), 60 + 20 + 2]
    exact = VARIABLES + sum(size + -size % 4 for size in used)
    flash = with_boot_entries(template(size=64 << 10, store=exact), ENTRIES[:1])
    assert set(present(flash)) == {"Boot0000", "BootOrder"}
    with pytest.raises(VariableStoreError, match="no room for BootOrder"):
        with_boot_entries(template(size=64 << 10, store=exact - 4), ENTRIES[:1])


def damaged(at: int, content: bytes) -> bytes:
    flash = bytearray(with_boot_entries(template(), ENTRIES))
    flash[at : at + len(content)] = content
    return bytes(flash)


@pytest.mark.parametrize(
    ("flash", "why"),
    [
        (b"", "it has 0 bytes"),
        (b"\x7fELF" * 1024, "does not begin as a volume"),
        (template()[:4096], "its sizes exceed the file"),
        (damaged(50, b"\0\0"), "checksum"),
        (damaged(72, bytes(16)), "no store of authenticated variables"),
        (damaged(92, b"\0"), "no store of authenticated variables"),
        (damaged(88, b"\xff\xff\xff\x7f"), "its sizes exceed the file"),
        (damaged(88, bytes(4)), "its sizes exceed the file"),
        (damaged(VARIABLES + 40, b"\xff\xff\xff\xff"), "longer than the store"),
        (damaged(VARIABLES, b"\0\0"), "is not erased"),
    ],
    ids=["empty", "another file", "cut", "checksum", "another store", "unformatted", "size", "no size", "variable", "gap"],
)  # fmt: skip
def test_a_damaged_template_is_an_error_that_says_why(flash: bytes, why: str) -> None:
    with pytest.raises(
        VariableStoreError, match=rf"^VARS\.fd on store is no variable store of OVMF, or damaged \(.*{why}"
    ):
        with_boot_entries(flash, ENTRIES)


@settings(max_examples=200, deadline=None)
@given(st.integers(), st.integers(1, 32))
def test_no_bytes_break_it_otherwise(seed: int, flips: int) -> None:
    flash, chance = bytearray(with_boot_entries(template(), ENTRIES)), random.Random(seed)
    for _ in range(flips):
        flash[chance.randrange(512)] = chance.randrange(256)
    try:
        assert len(with_boot_entries(bytes(flash), ENTRIES)) == len(flash)
    except VariableStoreError:
        pass


@pytest.mark.parametrize("name", ["OVMF_VARS_4M.fd", "OVMF_VARS_4M.ms.fd", "OVMF_VARS.fd", "OVMF_VARS.ms.fd"])
def test_into_the_templates_of_debian_all_entries_go_and_nothing_else_changes(name: str) -> None:
    before = debians(name)
    partitions = [Partition("gpt", number, 2048, 2048, bytes(16)) for number in range(1, 9)]
    flash = with_boot_entries(before, loaders.entries(loaders.to_try((), ""), partitions))
    ours = [name for name in present(flash) if name.startswith("Boot0") and name not in present(before)]
    assert len(ours) == loaders.MOST_ENTRIES
    order = present(flash)["BootOrder"]
    assert order[: 2 * len(ours)] == b"".join(int(name[4:], 16).to_bytes(2, "little") for name in ours)
    assert order[2 * len(ours) :] == present(before).get("BootOrder", b"")
    others = [one for one in variables(before) if one[2] != "BootOrder"]
    assert [one for one in variables(flash) if one[2] != "BootOrder"][: len(others)] == others


@pytest.mark.parametrize(
    ("name", "is_on"),
    [("OVMF_VARS_4M.fd", False), ("OVMF_VARS_4M.ms.fd", True), ("OVMF_VARS.fd", False), ("OVMF_VARS.ms.fd", True)],
)
def test_secure_boot_is_on_where_debian_enrolled_keys(name: str, is_on: bool) -> None:
    store = VariableStore(debians(name), name)
    assert store.has_secure_boot == is_on
    store.add(ENTRIES)
    assert VariableStore(store.content, name).has_secure_boot == is_on


def test_secure_boot_is_off_where_its_switch_is() -> None:
    content = bytearray(debians("OVMF_VARS_4M.ms.fd"))
    name = "SecureBootEnable".encode("utf-16-le") + b"\0\0"
    at = content.index(name) + len(name)
    assert content[at] == 1
    content[at] = 0
    assert not VariableStore(bytes(content), "VARS.fd").has_secure_boot
