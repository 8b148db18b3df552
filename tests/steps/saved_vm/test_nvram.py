"""Boot loaders are found in NVRAM files of any format."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.errors import StateError
from runner.hosts.local import LocalHost
from steps.saved_vm import nvram
from tests.steps.saved_vm.nvram_files import ucs2, vmware


def test_each_is_told_once_in_the_files_order_as_it_is_written() -> None:
    paths = [r"\EFI\debian\shimx64.efi", r"\EFI\Microsoft\Boot\bootmgfw.efi", r"\efi\DEBIAN\SHIMX64.EFI"]
    assert nvram.loaders(vmware(*paths)) == (*paths[:2],)


@pytest.mark.parametrize(
    "path",
    [r"\EFI\my system\loader-1.0_x64.efi", r"\EFI\loader.efi", r"\EFI\a\b\c\d\e.efi"],
)
def test_a_path_may_look_like_this(path: str) -> None:
    assert nvram.loaders(vmware(path)) == (path,)


@pytest.mark.parametrize(
    "path",
    [
        r"\EFI\debian\grub.cfg",
        r"\boot\loader.efi",
        "\\EFI\\a\nb\\loader.efi",
        "\\EFI\\<b>\\loader.efi",
        "\\EFI\\a\u202eb\\loader.efi",
        "\\EFI\\" + "x" * 100 + "\\loader.efi",
    ],
    ids=["no program", "elsewhere", "control", "markup", "right to left", "long"],
)
def test_a_path_that_looks_like_this_is_none(path: str) -> None:
    assert nvram.loaders(vmware(path)) == ()


def test_only_so_many_are_believed() -> None:
    assert len(nvram.loaders(vmware(*(rf"\EFI\{n}\loader.efi" for n in range(99))))) == nvram.MOST_NAMED


@pytest.mark.parametrize("unit", [ucs2("\\EFI\\"), ucs2("\\EFI\\a")[:-2] * 3, ucs2("\\EFI\\a.ef")[:-2], b"\\\0"])
def test_a_file_made_to_take_long_does_not(unit: bytes) -> None:
    assert nvram.loaders(unit * (nvram._LARGEST // len(unit) + 1)) == ()


def test_one_that_is_gone_is_not_taken_for_one_that_names_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"the saved NVRAM .*/vm1\.nvram on local is gone: restore it"):
        nvram.read(LocalHost("local"), str(tmp_path / "vm1.nvram"), "restore it")
