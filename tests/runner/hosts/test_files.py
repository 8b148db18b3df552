"""Files of this machine: what a crash leaves, what is refused."""

from __future__ import annotations

import ctypes
import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.base.errors import LockedError
from runner.hosts import files
from tests.eventually import children_of_ours, open_descriptors

CRASH = """
import os, signal, sys
from runner.hosts import files

def pieces():
    yield 0, b"half"
    os.kill(os.getpid(), signal.SIGKILL)

files.write_sparse(sys.argv[1], 8, pieces())
"""


def test_a_crash_in_a_write_leaves_the_old_file_and_a_name_that_says_so(tmp_path: Path) -> None:
    files.write(f"{tmp_path}/state", b"before")
    crashed = subprocess.run([sys.executable, "-c", CRASH, f"{tmp_path}/state"], cwd=Path(__file__).parents[3])
    assert crashed.returncode == -signal.SIGKILL
    assert (tmp_path / "state").read_bytes() == b"before"
    assert [files.is_temporary(path.name) for path in sorted(tmp_path.iterdir())] == [True, False]


def test_a_write_replaces_a_link_and_not_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    files.write(f"{tmp_path}/link", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious" and not (tmp_path / "link").is_symlink()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write(f"{tmp_path}/directory", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


class NoRenameat2:
    """A file system without renameat2's flags, as NFS is: there is none on a test machine."""

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1


@pytest.mark.parametrize("renameat2", [True, False], ids=["renameat2", "a file system without it"])
class TestRename:
    @pytest.fixture(autouse=True)
    def _renameat2(self, renameat2: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if not renameat2:
            monkeypatch.setattr(files, "_libc", NoRenameat2())

    @pytest.mark.parametrize("kind", ["file", "directory", "link"])
    def test_a_free_name_is_taken(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "target").write_bytes(b"x")
        match kind:
            case "file":
                (tmp_path / "old").write_bytes(b"x")
            case "directory":
                (tmp_path / "old").mkdir()
            case "link":
                (tmp_path / "old").symlink_to("target")
        files.rename(f"{tmp_path}/old", f"{tmp_path}/new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "target"]
        assert (tmp_path / "new").is_symlink() == (kind == "link")

    @pytest.mark.parametrize("new", ["file", "directory", "full directory", "dangling link"])
    @pytest.mark.parametrize("old", ["file", "directory"])
    def test_a_taken_name_is_refused(self, tmp_path: Path, old: str, new: str) -> None:
        for name, kind in (("old", old), ("new", new)):
            match kind:
                case "file":
                    (tmp_path / name).write_text(name)
                case "dangling link":
                    (tmp_path / name).symlink_to("nowhere")
                case _:
                    (tmp_path / name).mkdir()
        if new == "full directory":
            (tmp_path / "new/child").touch()
        with pytest.raises(FileExistsError):
            files.rename(f"{tmp_path}/old", f"{tmp_path}/new")
        assert {path.name for path in tmp_path.iterdir()} == {"old", "new"}

    def test_an_absent_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            files.rename(f"{tmp_path}/old", f"{tmp_path}/new")


def test_a_lock_is_not_inherited_by_a_child(tmp_path: Path) -> None:
    before = children_of_ours()
    lock = files.FileLock(f"{tmp_path}/lock", "us")
    with subprocess.Popen(["sleep", "600"], close_fds=False) as child:
        lock.release()
        files.FileLock(f"{tmp_path}/lock", "the next").release()
        child.kill()
    assert children_of_ours() == before


def test_a_lock_whose_holder_left_no_name_is_still_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HOLDER_TIMEOUT", 0.05)
    lock = files.FileLock(f"{tmp_path}/lock", "")
    with pytest.raises(LockedError, match="it left no name"):
        files.FileLock(f"{tmp_path}/lock", "us")
    lock.release()


def test_a_refused_lock_leaves_no_descriptor(tmp_path: Path) -> None:
    lock = files.FileLock(f"{tmp_path}/lock", "us")
    before = open_descriptors()
    with pytest.raises(LockedError):
        files.FileLock(f"{tmp_path}/lock", "the second")
    assert open_descriptors() == before
    lock.release()


@pytest.mark.parametrize(("path", "parent"), [("/a/b", "/a"), ("/a", "/"), ("b", "."), ("/a/b/", "/a"), ("/", "/")])
def test_the_directory_of_a_file(path: str, parent: str) -> None:
    assert files.parent(path) == parent
