"""Files of a guest, through the real libguestfs where it is installed: one boot for all."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.process import temporary_directory
from steps.guest import appliance
from steps.guest.appliance import Appliance, GuestError
from steps.guest.tree import Tree, stays_inside
from tests.nbd_servers import Servers

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    ("target", "depth", "inside"),
    [
        pytest.param("name", 0, True, id="beside"),
        pytest.param("a/b", 0, True, id="below"),
        pytest.param("../name", 1, True, id="up as far as it is deep"),
        pytest.param("..", 0, False, id="above"),
        pytest.param("../../name", 1, False, id="further up than it is deep"),
        pytest.param("/etc/passwd", 3, False, id="absolute"),
        pytest.param("a/../../name", 1, False, id="up behind another name, which may be a link"),
        pytest.param("./../name", 0, False, id="up behind a dot"),
        pytest.param("", 3, False, id="nothing"),
    ],
)
def test_a_symlink_is_copied_only_if_it_stays_inside(target: str, depth: int, inside: bool):
    assert stays_inside(target, depth) is inside


def test_without_libguestfs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(appliance, "guestfs", None)
    with pytest.raises(GuestError, match=r"apt-get install .* python3-guestfs"):
        Appliance(["nbd+unix:///x?socket=/x"], tmp_path, threading.Event())


SCRIPT = """
run
part-disk /dev/sda mbr
mkfs ext4 /dev/sda1
mount /dev/sda1 /
mkdir-p /etc/deep
write /etc/hello "from the guest\\n"
upload {big} /etc/deep/big
ln-s /etc/hello /etc/inside-the-guest
ln-s hello /etc/beside
ln-s ../../../../../../../etc/passwd /etc/deep/out
ln-s /etc/passwd /passwd
mkfifo 0600 /etc/deep/pipe
touch "/etc/deep/with\\nnewline"
mkdir /link-dir
umount-all
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk with an ext4 in it. It is made by the same libguestfs: nothing else makes one without a mount."""
    if appliance.guestfs is None:
        pytest.skip("libguestfs is not installed here: it takes a kernel package, a minute and 400 MB")
    directory = tmp_path_factory.mktemp("guest")
    raw, big = directory / "disk.raw", directory / "big"
    big.write_bytes(b"start" + bytes(3 << 20) + b"end")
    raw.write_bytes(b"")
    with raw.open("r+b") as file:
        file.truncate(32 << 20)
    done = subprocess.run(
        ["guestfish", "--format=raw", "-a", str(raw)],
        input=SCRIPT.format(big=big),
        text=True,
        capture_output=True,
        timeout=600,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LIBGUESTFS_BACKEND": "direct",
            "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return raw


@pytest.fixture(scope="module")
def tree(disk: Path) -> Iterator[Tree]:
    with Servers() as servers, temporary_directory() as scratch:
        uri = servers.qemu_nbd(disk, "raw", "--read-only").uri
        with Appliance([uri], Path(scratch), threading.Event()) as started:
            yield Tree(started, Path(scratch))


def test_a_disk_without_a_system_has_its_file_systems_below_their_names(tree: Tree):
    assert tree.appliance.mounted == {"/sda1": "/dev/sda1"}
    names = {entry.name: entry.kind for entry in tree.entries("/sda1")}
    assert names == {"etc": "directory", "link-dir": "directory", "lost+found": "directory", "passwd": "link"}


def test_a_file_is_read_and_a_link_is_followed_inside_the_guest(tree: Tree):
    assert b"".join(tree.read("/sda1/etc/hello")) == b"from the guest\n"
    assert b"".join(tree.read("/sda1/etc/beside")) == b"from the guest\n"
    with pytest.raises(GuestError, match="No such file"):
        # This machine has one, and so has the appliance; the guest has none there.
        b"".join(tree.read("/sda1/passwd"))
    with pytest.raises(GuestError, match="is a special file"):
        b"".join(tree.read("/sda1/etc/deep/pipe"))


def test_what_is_copied_out_stays_below_its_directory(tree: Tree, tmp_path: Path):
    told: list[str] = []
    tree.copy("/sda1/etc", tmp_path, told.append)
    found = tmp_path / "etc"
    assert (found / "hello").read_bytes() == b"from the guest\n"
    assert (found / "deep" / "big").read_bytes() == b"start" + bytes(3 << 20) + b"end"
    assert (found / "deep" / "with\nnewline").read_bytes() == b""
    assert {path.name for path in found.rglob("*") if path.is_symlink()} == {"beside"}
    assert sorted(text.partition(" is skipped")[0] for text in told) == [
        "/sda1/etc/deep/out",
        "/sda1/etc/deep/pipe",
        "/sda1/etc/inside-the-guest",
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in found.rglob("*") if not path.is_symlink())
    with pytest.raises(GuestError, match="exists already and is not overwritten"):
        tree.copy("/sda1/etc/hello", found, told.append)


def test_a_question_that_takes_too_long_is_ended(tree: Tree):
    """The last one: the appliance is gone afterwards."""
    with pytest.raises(GuestError, match="counting took longer than 0 s"):
        tree.appliance.ask(lambda g: g.checksum("sha512", "/sda1/etc/deep/big"), "counting", deadline=0.0)
