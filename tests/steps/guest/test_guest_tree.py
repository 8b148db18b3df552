"""What is written where a guest's files are copied to, when something goes wrong in the middle, and names of any bytes.

The guest is a directory of this machine: libguestfs takes a kernel and a minute, and cannot be told to fail in the middle.
`test_guest` asks the real one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import Interrupted
from runner.base.units import KiB, MiB
from steps.guest.appliance import GuestError
from steps.guest.tree import CHUNK, Tree

ODD = os.fsdecode(b"caf\xe9")
BIG = bytes(MiB) + b"x" * (2 * CHUNK) + bytes(3 * KiB) + b"end"


class Directory:
    """What is asked of libguestfs's handle, of the files below `root`: as its Python binding does, it takes and gives text that
    is UTF-8, and raises UnicodeError for any other."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, path: str) -> Path:
        path.encode()
        return self.root / path.strip("/")

    def _call(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except OSError as error:
            raise RuntimeError(error.strerror) from error

    def realpath(self, path: str) -> str:
        real: Path = self._call(lambda: self._path(path).resolve(strict=True))
        return f"/{real.relative_to(self.root)}"

    def ls0(self, path: str, file: str) -> None:
        names = self._call(lambda: [os.fsencode(below.name) for below in self._path(path).iterdir()])
        Path(file).write_bytes(b"".join(name + b"\0" for name in names))

    def lstatns(self, path: str) -> dict[str, int]:
        found = self._call(lambda: self._path(path).lstat())
        return {"st_mode": found.st_mode, "st_size": found.st_size, "st_mtime_sec": int(found.st_mtime)}

    def readlink(self, path: str) -> str:
        target: Path = self._call(lambda: self._path(path).readlink())
        return os.fsencode(target).decode()

    def pread(self, path: str, count: int, offset: int) -> bytes:
        with self._path(path).open("rb") as file:
            file.seek(offset)
            # A message is no longer than this, and it may be shorter.
            return file.read(min(count, MiB))


class Guest(Tree):
    """The tree of a directory; `before` is called before each question."""

    def __init__(self, root: Path, scratch: Path, before: Callable[[str], None] = lambda doing: None) -> None:
        handle = Directory(root)

        class Asked:
            def ask(self, question: Callable[[Any], Any], doing: str) -> Any:
                before(doing)
                try:
                    return question(handle)
                except (RuntimeError, UnicodeError) as error:
                    raise GuestError(f"{doing} failed: {error}") from error

        super().__init__(Asked(), scratch)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "guest"
    (made / "etc").mkdir(parents=True)
    (made / "etc" / "big").write_bytes(BIG)
    (made / "etc" / "hello").write_bytes(b"from the guest\n")
    return made


@pytest.fixture
def to(tmp_path: Path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_whole_though_each_write_takes_only_a_part(
    root: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda file, content, at: real(file, content[: len(content) // 2 + 1], at))
        Guest(root, tmp_path).copy("/etc/big", to, print)
    assert (to / "big").read_bytes() == BIG
    assert names(to) == ["big"]
    assert (to / "big").stat().st_mode & 0o777 == 0o600


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("trouble", ["no space", "the guest fails", "Ctrl-C"])
def test_a_file_that_was_not_copied_whole_does_not_have_its_name(
    root: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    asked: list[str] = []

    def fail(doing: str) -> None:
        asked.append(doing)
        if trouble != "no space" and asked.count("reading /etc/big") == 3:
            raise (
                Interrupted("interrupted") if trouble == "Ctrl-C" else GuestError("reading /etc/big failed: I/O error")
            )

    with monkeypatch.context() as patched:
        if trouble == "no space":
            patched.setattr(os, "pwrite", no_space)
        why = {"no space": "cannot be written: No space left", "the guest fails": "I/O error", "Ctrl-C": "interrupted"}
        with pytest.raises((GuestError, Interrupted), match=why[trouble]):
            Guest(root, tmp_path, fail).copy("/etc/big", to, print)
    assert names(to) == []
    Guest(root, tmp_path).copy("/etc/big", to, print)
    assert (to / "big").read_bytes() == BIG


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_is_there_stays_as_it_is(root: Path, to: Path, tmp_path: Path, when: str) -> None:
    asked: list[str] = []

    def put(doing: str) -> None:
        asked.append(doing)
        if doing == "reading /etc/big" and asked.count(doing) == 2:
            (to / "big").write_bytes(b"mine")

    if when == "before":
        (to / "big").write_bytes(b"mine")
    with pytest.raises(GuestError, match=r"to/big exists already and is not overwritten"):
        Guest(root, tmp_path, put).copy("/etc/big", to, print)
    assert ((to / "big").read_bytes(), names(to)) == (b"mine", ["big"])
    assert ("reading /etc/big" in asked) == (when == "meanwhile")


def test_names_and_links_of_any_bytes_are_listed_and_what_cannot_be_asked_for_is_left_out(
    root: Path, to: Path, tmp_path: Path
) -> None:
    (root / "etc" / ODD).write_bytes(b"odd")
    (root / "etc" / r"caf\xe9").write_bytes(b"these very characters")
    (root / "etc" / "link").symlink_to(f"to-{ODD}")
    tree, told = Guest(root, tmp_path), list[str]()
    found = [(entry.name, entry.kind, entry.size) for entry in tree.entries("/etc")]
    assert found == [
        ("big", "file", len(BIG)),
        (r"caf\xe9", "file", 21),
        (r"caf\xe9", "unknown", None),
        ("hello", "file", 15),
        ("link", "link", len(ODD) + 3),
    ]
    tree.copy("/etc", to, told.append)
    assert names(to / "etc") == ["big", r"caf\xe9", "hello"]
    assert (to / "etc" / r"caf\xe9").read_bytes() == b"these very characters"
    assert told == [
        r"/etc/caf\xe9 is skipped: its name is not UTF-8, and libguestfs cannot be asked for it",
        "/etc/link is skipped: it is a link to a name that is not UTF-8",
    ]
