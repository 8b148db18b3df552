from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.units import GiB, KiB, MiB, TiB
from runner.hosts.local import LocalHost
from steps.qemu import img

HOST = LocalHost("hub")
L2_ENTRY = 4 * 64 * KiB
"""In an image of the default geometry written once at its start: header, refcount table and block, L1, then the L2 table."""


def io(path: Path, *commands: str) -> None:
    argv = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *argv, str(path)], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(512, id="one sector"),
        pytest.param(MiB + 512, id="not a whole cluster"),
        pytest.param(5 * GiB + 512, id="5 GiB and a sector"),
        pytest.param(64 * TiB, id="64 TiB"),
    ],
)
def test_an_image_is_as_large_as_the_disk_to_the_byte(tmp_path: Path, size: int) -> None:
    path = tmp_path / "disk.qcow2"
    img.create(HOST, str(path), size)
    seen = img.info(HOST, str(path))
    assert (seen.format, seen.virtual_size, seen.cluster_size) == ("qcow2", size, 64 * KiB)
    assert (seen.backing_file, seen.corrupt) == (None, False)
    assert path.stat().st_size < 2 * MiB
    assert img.check(HOST, str(path)) == img.CheckReport()


@pytest.mark.parametrize("size", [0, -512, 1, 513], ids=str)
def test_a_size_qcow2_would_round_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(img.BadImageError, match="multiple of 512"):
        img.create(HOST, str(tmp_path / "disk.qcow2"), size)
    assert not list(tmp_path.iterdir())


def test_only_its_owner_reads_an_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    img.create(HOST, str(path), MiB)
    assert path.stat().st_mode & 0o777 == 0o600


def test_creating_empties_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    img.create(HOST, str(path), MiB)
    io(path, "write -P 7 0 64k")
    img.create(HOST, str(path), 2 * MiB)
    io(path, "read -P 0 0 2M")


def test_a_backing_file_is_named_relative_with_its_format(tmp_path: Path) -> None:
    for point in ("a", "b"):
        (tmp_path / point).mkdir()
    img.create(HOST, str(tmp_path / "a" / "disk.qcow2"), MiB)
    img.create(HOST, str(tmp_path / "b" / "disk.qcow2"), MiB, backing="../a/disk.qcow2")
    seen = img.info(HOST, str(tmp_path / "b" / "disk.qcow2"))
    assert (seen.backing_file, seen.backing_format) == ("../a/disk.qcow2", "qcow2")


@pytest.mark.parametrize(
    "name", ["with space", "ünïcode", "a,b:c=d", "-disk1-", "json:{}", "$(touch x);'"], ids=lambda name: name
)
def test_a_hostile_directory_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    img.create(HOST, str(directory / "disk.qcow2"), MiB)
    assert img.info(HOST, str(directory / "disk.qcow2")).virtual_size == MiB
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_raw_disk_is_never_taken_for_an_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(bytes(MiB))
    with pytest.raises(img.BadImageError, match="not in qcow2 format"):
        img.info(HOST, str(path))
    with pytest.raises(img.BadImageError, match="not in qcow2 format"):
        img.check(HOST, str(path))


def test_a_missing_image_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(img.BadImageError, match=r"nothing\.qcow2 on hub cannot be checked .*No such file"):
        img.check(HOST, str(tmp_path / "nothing.qcow2"))


@pytest.mark.parametrize(
    "put", [os.mkfifo, lambda path: path.symlink_to("image"), Path.mkdir], ids=["fifo", "link", "dir"]
)
def test_what_is_no_regular_file_is_not_given_to_qemu(tmp_path: Path, put: Callable[[Path], object]) -> None:
    img.create(HOST, str(tmp_path / "image"), MiB)
    put(tmp_path / "disk.qcow2")
    with pytest.raises(img.BadImageError, match=r"disk.qcow2 on hub cannot be opened .* it is not a regular file"):
        img.infos(HOST, [str(tmp_path / "image"), str(tmp_path / "disk.qcow2")])
    with pytest.raises(img.BadImageError, match="it is not a regular file"):
        img.info(HOST, str(tmp_path / "disk.qcow2"), force_share=True)


def test_leaked_clusters_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    img.create(HOST, str(path), 4 * MiB)
    io(path, "write -P 7 0 128k")
    overwrite(path, L2_ENTRY, bytes(8))
    assert img.check(HOST, str(path)) == img.CheckReport(leaks=1)


def test_corruption_is_counted_and_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    img.create(HOST, str(path), 4 * MiB)
    io(path, "write -P 7 0 128k")
    # Two guest clusters in one place.
    overwrite(path, L2_ENTRY + 8, path.read_bytes()[L2_ENTRY : L2_ENTRY + 8])
    before = path.read_bytes()
    assert img.check(HOST, str(path)).corruptions > 0
    assert path.read_bytes() == before


def test_the_version_is_the_one_qemu_img_says() -> None:
    said = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout
    assert f"version {img.version(HOST)} " in said


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
