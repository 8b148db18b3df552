"""Loaders of a machine with EFI: in which order they are tried, and where."""

from __future__ import annotations

import pytest

from steps.efi import loaders
from steps.efi.gpt import Partition

ESP = Partition("gpt", 1, 2048, 61440, bytes(range(16)))


def test_what_the_nvram_names_comes_first_and_what_any_disk_boots_with_before_what_is_usual_elsewhere() -> None:
    named = [r"\EFI\Boot\bootx64.efi", r"\EFI\own\loader.efi", r"\EFI\DEBIAN\grubx64.efi"]
    tried = loaders.to_try(named, "debian12_64Guest")
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
    (entry,) = loaders.entries([r"\EFI\debian\a.efi"], [ESP])
    assert entry.description == "debian"
    assert entry.path.hex(" ") == (
        "04 01 2a 00 01 00 00 00 00 08 00 00 00 00 00 00 00 f0 00 00 00 00 00 00 "
        "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 02 02 "
        "04 04 28 00 5c 00 45 00 46 00 49 00 5c 00 64 00 65 00 62 00 69 00 61 00 6e 00 5c 00 61 00 2e 00 65 00 66 00 "
        "69 00 00 00 7f ff 04 00"
    )
