r"""Loaders are found in NVRAM files of any format, and become entries by partition."""

from __future__ import annotations

import pytest

from steps.boot import loaders
from steps.boot.gpt import Partition
from tests.steps.boot.nvram import ucs2, vmware

ESP = Partition("gpt", 1, 2048, 61440, bytes(range(16)))


def test_each_is_told_once_in_the_files_order_as_it_is_written() -> None:
    paths = [r"\EFI\debian\shimx64.efi", r"\EFI\Microsoft\Boot\bootmgfw.efi", r"\efi\DEBIAN\SHIMX64.EFI"]
    assert loaders.named(vmware(*paths)) == (*paths[:2],)


@pytest.mark.parametrize(
    "path",
    [r"\EFI\my system\loader-1.0_x64.efi", r"\EFI\loader.efi", r"\EFI\a\b\c\d\e.efi"],
)
def test_a_path_may_look_like_this(path: str) -> None:
    assert loaders.named(vmware(path)) == (path,)


@pytest.mark.parametrize(
    "path",
    [
        r"\EFI\BOOT\BOOTX64.EFI",
        r"\EFI\debian\grub.cfg",
        r"\boot\loader.efi",
        "\\EFI\\a\nb\\loader.efi",
        "\\EFI\\<b>\\loader.efi",
        "\\EFI\\a\u202eb\\loader.efi",
        "\\EFI\\" + "x" * 100 + "\\loader.efi",
    ],
    ids=["fallback", "no program", "elsewhere", "control", "markup", "right to left", "long"],
)
def test_a_path_that_looks_like_this_is_none(path: str) -> None:
    assert loaders.named(vmware(path)) == ()


def test_only_so_many_are_believed() -> None:
    assert len(loaders.named(vmware(*(rf"\EFI\{n}\loader.efi" for n in range(99))))) == loaders.MOST_NAMED


@pytest.mark.parametrize("unit", [ucs2("\\EFI\\"), ucs2("\\EFI\\a")[:-2] * 3, ucs2("\\EFI\\a.ef")[:-2], b"\\\0"])
def test_a_file_made_to_take_long_does_not(unit: bytes) -> None:
    assert loaders.named(unit * (loaders._LARGEST // len(unit) + 1)) == ()


def test_what_the_nvram_names_comes_first_and_what_any_disk_boots_with_before_what_is_usual_elsewhere() -> None:
    tried = loaders.to_try([r"\EFI\own\loader.efi", r"\EFI\DEBIAN\grubx64.efi"], "debian12_64Guest")
    assert tried[:4] == (
        r"\EFI\own\loader.efi",
        r"\EFI\DEBIAN\grubx64.efi",
        r"\EFI\debian\shimx64.efi",
        loaders.FALLBACK,
    )
    assert r"\EFI\Microsoft\Boot\bootmgfw.efi" in tried[4:]
    assert len({path.lower() for path in tried}) == len(tried)


@pytest.mark.parametrize(
    ("guest", "loader"),
    [
        ("windows2019srv_64Guest", r"\EFI\Microsoft\Boot\bootmgfw.efi"),
        ("rockylinux_64Guest", r"\EFI\rocky\shimx64.efi"),
        ("oracleLinux9_64Guest", r"\EFI\redhat\shimx64.efi"),
        ("sles15_64Guest", r"\EFI\sles\shim.efi"),
        ("otherLinux64Guest", loaders.FALLBACK),
        ("", loaders.FALLBACK),
    ],
)
def test_the_guests_own_is_tried_first(guest: str, loader: str) -> None:
    assert loaders.to_try((), guest)[0] == loader


def test_the_device_path_is_that_of_the_specification() -> None:
    (entry,) = loaders._entries([r"\EFI\debian\a.efi"], [ESP])
    assert entry.description == "debian"
    assert entry.path.hex(" ") == (
        "04 01 2a 00 01 00 00 00 00 08 00 00 00 00 00 00 00 f0 00 00 00 00 00 00 "
        "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 02 02 "
        "04 04 28 00 5c 00 45 00 46 00 49 00 5c 00 64 00 65 00 62 00 69 00 61 00 6e 00 5c 00 61 00 2e 00 65 00 66 00 "
        "69 00 00 00 7f ff 04 00"
    )
