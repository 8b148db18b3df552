"""Files of a guest: listed, read, and copied out so that nothing of it can land anywhere but below the
directory it is put into."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.base.model import Model
from runner.base.units import MiB
from runner.hosts import files
from steps.guest.appliance import Appliance, GuestError

CHUNK = 2 * MiB
"""libguestfs's messages have 4 MiB at most (guestfs(3), "Protocol limits")."""

DEEPEST = 200
"""Directories below each other: each keeps a descriptor open while it is copied."""

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class Entry(Model):
    """`mode` with the file's type, as in stat(2). Names are bytes; of one that is not UTF-8 nothing else is
    known, since libguestfs's binding cannot be asked for it."""

    name: str
    """What is not UTF-8 in it is written as ``\\xe9``."""
    mode: int | None = None
    size: int | None = None
    modified: datetime | None = None
    target: str | None = None
    """Of a symlink, as it is written there, if that is UTF-8."""

    @property
    def kind(self) -> str:
        return "unknown" if self.mode is None else _KINDS.get(stat.S_IFMT(self.mode), "special file")


@dataclass(frozen=True)
class Tree:
    appliance: Appliance
    scratch: Path

    def entries(self, path: str) -> tuple[Entry, ...]:
        """The directory's entries in order of name, or the file itself. Raises GuestError."""
        real = self._real(path)
        if self._entry(real).kind != "directory":
            return (self._entry(real),)
        return tuple(self._below(real))

    def read(self, path: str) -> Iterator[bytes]:
        """A regular file in pieces; a symlink is followed, inside the guest. Raises GuestError."""
        real = self._real(path)
        if (kind := self._entry(real).kind) != "file":
            raise GuestError(f"{path} is a {kind}: only files can be read")
        yield from self._content(real)

    def copy(self, path: str, directory: Path, tell: Callable[[str], None]) -> Path:
        """The file or the whole directory `path` into `directory`, which exists; what is there is never
        replaced. `tell` gets a sentence for each thing that is left out. Where it is now. Raises
        GuestError."""
        real = self._real(path)
        name = posixpath.basename(real) or "root"
        into = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._copy(self._entry(real), real, name, into, 0, tell)
        except FileExistsError as error:
            raise GuestError(f"{directory / name} exists already and is not overwritten") from error
        except OSError as error:
            raise GuestError(f"{directory / name} cannot be written: {error.strerror}") from error
        finally:
            os.close(into)
        return directory / name

    def _copy(
        self, entry: Entry, path: str, name: str, into: int, depth: int, tell: Callable[[str], None]
    ) -> None:
        if entry.kind == "file":
            self._copy_file(path, name, into)
        elif entry.kind == "directory" and depth < DEEPEST:
            os.mkdir(name, 0o700, dir_fd=into)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
            try:
                for each in self._below(path):
                    self._copy(each, posixpath.join(path, each.name), each.name, below, depth + 1, tell)
            finally:
                os.close(below)
        elif entry.kind == "link" and stays_inside(entry.target or "", depth - 1):
            os.symlink(entry.target or "", name, dir_fd=into)
        else:
            tell(f"{path} is skipped: {_why_left_out(entry, depth)}")

    def _copy_file(self, path: str, name: str, into: int) -> None:
        """With its holes; it gets its name when it is whole."""
        files.refuse_taken(into, name)
        temporary = files.temporary_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=into), "wb", buffering=0) as file:
                at = 0
                for piece in self._content(path):
                    if piece.strip(b"\0"):
                        files.pwrite(file.fileno(), piece, at)
                    at += len(piece)
                os.ftruncate(file.fileno(), at)
            files.rename_within(into, temporary, name)
        except BaseException:
            with contextlib.suppress(OSError):
                # The first error is the one to hear of.
                os.unlink(temporary, dir_fd=into)
            raise

    def _content(self, path: str) -> Iterator[bytes]:
        at = 0
        while piece := self._ask(lambda g: g.pread(path, CHUNK, at), f"reading {path}"):  # noqa: B023 - asked at once
            yield piece
            at += len(piece)

    def _real(self, path: str) -> str:
        """Its links followed, in the guest's own tree: libguestfs resolves them with that as the root."""
        if not path.startswith("/"):
            raise GuestError(f"{path}: write an absolute path in the guest, such as /etc/fstab")
        return str(self._ask(lambda g: g.realpath(path), f"looking for {path}"))

    def _below(self, path: str) -> Iterator[Entry]:
        """Of a directory, in order of name."""
        file = self.scratch / "names"
        self._ask(lambda g: g.ls0(path, str(file)), f"listing {path}")
        for name in sorted(file.read_bytes().split(b"\0")):
            if name in (b"", b".", b"..") or b"/" in name:
                continue
            try:
                text = name.decode()
            except UnicodeDecodeError:
                yield Entry(name=name.decode("utf-8", "backslashreplace"))
            else:
                yield self._entry(posixpath.join(path, text))

    def _entry(self, path: str) -> Entry:
        found: dict[str, Any] = self._ask(lambda g: g.lstatns(path), f"looking at {path}")
        return Entry(
            name=posixpath.basename(path) or "/",
            mode=found["st_mode"],
            size=found["st_size"],
            modified=datetime.fromtimestamp(found["st_mtime_sec"], UTC),
            target=self._target(path) if stat.S_ISLNK(found["st_mode"]) else None,
        )

    def _target(self, path: str) -> str | None:
        try:
            return str(self._ask(lambda g: g.readlink(path), f"looking at {path}"))
        except GuestError as error:
            if isinstance(error.__cause__, UnicodeError):
                return None
            raise

    def _ask(self, question: Callable[[Any], Any], doing: str) -> Any:
        return self.appliance.ask(question, doing)


def _why_left_out(entry: Entry, depth: int) -> str:
    if entry.mode is None:
        return "its name is not UTF-8, and libguestfs cannot be asked for it"
    if depth >= DEEPEST:
        return "it is nested too deep"
    if entry.kind == "link":
        return f"it is a link to {'a name that is not UTF-8' if entry.target is None else entry.target}"
    return f"it is a {entry.kind}"


def stays_inside(target: str, depth: int) -> bool:
    """Whether a symlink in a directory `depth` levels below the one that was copied leads to something in
    that, whatever else was copied: it may go up only at its beginning, and no further than it is deep.
    (Behind another symlink, going up leads elsewhere than the text says.)"""
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return up <= depth and ".." not in parts[up:]
