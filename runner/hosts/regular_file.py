"""Files that are files: what is read or grows is a regular file of bounded size, never what waits for a
writer or has no end.

A FIFO, a device, a socket or a link may stand where a record is to be, by somebody's mistake or malice: to
open a FIFO can wait for ever, past every signal, and /dev/zero fills the memory. The directories above may be
links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runner.base.errors import CommandError, StateError

NOT_A_FILE, TOO_LARGE = 90, 91
"""Exit codes of scripts; of the first, the kind is on standard error."""


class NotAFileError(StateError):
    """`kind` is what stands where a regular file is to be, such as ``a FIFO``: reading it could wait for
    ever, or never end."""

    def __init__(self, where: str, path: str, kind: str) -> None:
        super().__init__(
            f"{path} on {where} is {kind}, not a regular file, and is not read: put the file itself there"
        )
        self.where = where
        self.path = path
        self.kind = kind


class TooLargeError(StateError):
    """A file has more than `limit` bytes, which what it is to hold never has."""

    def __init__(self, where: str, path: str, limit: int) -> None:
        super().__init__(
            f"{path} on {where} has more than {limit} bytes, the most that such a file can need, and is "
            "not read: move it away, or restore it from a copy"
        )
        self.where = where
        self.path = path
        self.limit = limit


_KINDS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character special file",
    stat.S_IFBLK: "block special file",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "directory",
}
"""As stat(1) calls them."""


def kind_in_words(kind: str) -> str:
    """``a FIFO`` for what stat(1) calls ``fifo``."""
    return "a FIFO" if kind == "fifo" else f"a {kind}"


def refuse_no_file(error: CommandError, path: str) -> None:
    """Raises NotAFileError if a script ended with `error` because `path` is no regular file."""
    if error.exit_code_seen == NOT_A_FILE:
        raise NotAFileError(error.host, path, kind_in_words(error.stderr.strip())) from error


def open_regular(path: str, where: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file, which waits for nobody; the directories above may be links. Raises
    NotAFileError, OSError."""
    try:
        _refuse_unless_regular(os.lstat(path).st_mode, path, where)  # to open a device may do something
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    file = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _refuse_unless_regular(os.fstat(file).st_mode, path, where)
    except BaseException:
        os.close(file)
        raise
    return file


def _refuse_unless_regular(mode: int, path: str, where: str) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFileError(where, path, kind_in_words(_KINDS.get(stat.S_IFMT(mode), "file of unknown type")))


def read_pieces(path: str, chunk: int, limit: int, where: str) -> Iterator[bytes]:
    """A regular file in pieces of `chunk` bytes, the last one shorter. Raises NotAFileError, TooLargeError,
    OSError."""
    file = open_regular(path, where)
    try:
        if os.fstat(file).st_size > limit:
            raise TooLargeError(where, path, limit)
        left = limit
        while content := os.read(file, chunk):
            if (left := left - len(content)) < 0:  # it grew
                raise TooLargeError(where, path, limit)
            yield content
    finally:
        os.close(file)
