"""The file verbs of a host as shell scripts, one round trip each.

No name comes back through `$( )`, which would eat its last newlines. A script that gets content knows its
length: if we die while we send, it notices and leaves no half file. What fails is told by the C locale's
words on standard error.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import PurePosixPath

from runner.base.errors import CommandError, HostError
from runner.base.units import MINUTE
from runner.base.waiting import NEVER, heeding
from runner.hosts.files import SYNC_TIMEOUT, NoSpaceError, errno_said, temporary_name
from runner.hosts.host import LARGEST_LOG, LARGEST_RECORD, FileStat
from runner.hosts.regular_file import (
    NOT_A_FILE,
    TOO_LARGE,
    NotAFileError,
    TooLargeError,
    kind_in_words,
)
from runner.hosts.script import Script, load

SCRIPT_TIMEOUT = MINUTE
RECORD_TIMEOUT = MINUTE
"""For what is small and synced by itself. A copy waits meanwhile, and neither names whom it waits for nor
stops if told."""

_ABSENT = (FileNotFoundError, NotADirectoryError)

_WRITE = load("runner/hosts/ssh/scripts/write.sh")
_WRITE_SPARSE = load("runner/hosts/ssh/scripts/write-sparse.sh")
_APPEND = load("runner/hosts/ssh/scripts/append.sh")
_READ = load("runner/hosts/ssh/scripts/read.sh")
_LIST = load("runner/hosts/ssh/scripts/list.sh")
_STAT = load("runner/hosts/ssh/scripts/stat.sh")
_MKDIR = load("runner/hosts/ssh/scripts/mkdir.sh")
_RENAME = load("runner/hosts/ssh/scripts/rename.sh")
_RENAME_OVER = load("runner/hosts/ssh/scripts/rename-over.sh")
_REMOVE = load("runner/hosts/ssh/scripts/remove.sh")
_SYNC = load("runner/hosts/ssh/scripts/sync.sh")
_FREE_SPACE = load("runner/hosts/ssh/scripts/free-space.sh")

_IN_PART = 9
"""Exit code of the list of a directory that is there, and could not be read to its end."""


class ScriptError(Exception):
    """A script failed; `stderr` has its words."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        super().__init__(stderr)
        self.exit_code = exit_code
        self.stderr = stderr


class RemoteFiles(ABC):
    """See `runner.hosts.host.Host`."""

    name: str
    stop: threading.Event = NEVER
    """What ends the work that it is used for, see `runner.hosts.host.Host.until`."""

    @abstractmethod
    def script(
        self,
        script: Script,
        *args: str,
        stdin: Iterable[bytes] | None = None,
        timeout: float = SCRIPT_TIMEOUT,
        stop: threading.Event = NEVER,
        leashed: bool = False,
    ) -> bytes:
        """Its output. A script that is given `stdin` reads it to the end; its time begins when it was
        started. One that is `leashed` is ended when it is waited for no longer; any other one keeps running
        there. Raises ScriptError, CommandError if it takes too long, HostError if the connection breaks,
        Interrupted once `stop` is set."""

    @abstractmethod
    def stream(self, script: Script, *args: str) -> Generator[bytes, None, None]:
        """Its output as it comes. Raises as `script`."""

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def stat(self, path: str) -> FileStat | None:
        try:
            output = self._do(path, _STAT, _plain(path), answers=_ABSENT)
        except _ABSENT:
            return None
        size, blocks, block, mtime, mode = output.split()
        return FileStat(
            size=int(size),
            allocated=int(blocks) * int(block),
            mtime_ns=int(mtime) * 1_000_000_000,
            is_dir=stat.S_ISDIR(int(mode, 16)),
            mode=stat.S_IMODE(int(mode, 16)),
        )

    def listdir(self, path: str) -> list[str]:
        try:
            output = self._do(path, _LIST, _plain(path), answers=(FileNotFoundError,))
        except FileNotFoundError:
            return []
        return sorted(name.decode("utf-8", "surrogateescape") for name in output.split(b"\0")[:-1])

    def mkdir(self, *paths: str, mode: int = 0o700, parents: bool = False) -> None:
        pairs = [word for path in paths for word in (_plain(path), _parent(path))]
        self._do(paths[0], _MKDIR, f"{mode:o}", "parents" if parents else "", *pairs, changes=True)

    def read(self, path: str, *, limit: int = LARGEST_RECORD) -> bytes:
        output = self._do(path, _READ, _plain(path), str(limit), answers=(FileNotFoundError,), limit=limit)
        if len(output) > limit:
            raise TooLargeError(self.name, path, limit)
        return output

    def read_chunks(self, path: str, chunk: int = 1 << 20, *, limit: int = LARGEST_LOG) -> Iterator[bytes]:
        held = bytearray()
        left = limit
        with closing(self.stream(_READ, _plain(path), str(limit))) as contents:
            try:
                for content in heeding(self.stop, contents):
                    if (left := left - len(content)) < 0:
                        raise TooLargeError(self.name, path, limit)
                    held += content
                    while len(held) >= chunk:
                        yield bytes(held[:chunk])
                        del held[:chunk]
            except ScriptError as error:
                raise self._meaning(path, error, (FileNotFoundError,), limit) from None
        if held:
            yield bytes(held)

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        self._stage(path, _WRITE, len(content), mode, [content], RECORD_TIMEOUT)

    def write_sparse(
        self,
        path: str,
        size: int,
        pieces: Iterable[tuple[int, bytes]],
        *,
        mode: int = 0o600,
        then: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        content = chain(_framed(heeding(self.stop, pieces), size), (content for _, content in then))
        further = [word for name, content in then for word in (f"{_parent(path)}/{name}", str(len(content)))]
        self._stage(path, _WRITE_SPARSE, size, mode, content, SYNC_TIMEOUT, further)

    def append(self, path: str, content: bytes) -> None:
        self._stage(path, _APPEND, len(content), 0o600, [content], RECORD_TIMEOUT)

    def sync(self, *paths: str) -> None:
        if paths:
            where = posixpath.commonpath(paths)
            self._do(where, _SYNC, *map(_plain, paths), timeout=SYNC_TIMEOUT, leashed=True)

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        answers = (FileNotFoundError, FileExistsError)
        self._do(
            old,
            _RENAME_OVER if replace else _RENAME,
            _plain(old),
            _plain(new),
            _parent(old),
            _parent(new),
            answers=answers,
            changes=True,
        )

    def remove(self, *paths: str, recursive: bool = False) -> None:
        if not paths:
            return
        # rm does not follow a link unless its name ends in a slash.
        names = [_plain(path.rstrip("/")) for path in paths]
        how = "-rf" if recursive else "-f"
        self._do(posixpath.commonpath(paths), _REMOVE, how, *names, timeout=SYNC_TIMEOUT, changes=True)

    def free_bytes(self, path: str) -> int:
        blocks, size = self._do(path, _FREE_SPACE, _plain(path)).split()
        return int(blocks) * int(size)

    def _stage(
        self,
        path: str,
        script: Script,
        size: int,
        mode: int,
        content: Iterable[bytes],
        timeout: float,
        further: Sequence[str] = (),
    ) -> None:
        directory = _parent(path)
        temporary = f"{directory}/{temporary_name()}"
        arguments = (_plain(path), directory, temporary, str(size), f"{mode:o}", str(int(timeout * 100)))
        self._do(path, script, *arguments, *further, stdin=content, timeout=timeout, changes=True)

    def _do(
        self,
        path: str,
        script: Script,
        *args: str,
        stdin: Iterable[bytes] | None = None,
        timeout: float = SCRIPT_TIMEOUT,
        answers: tuple[type[OSError], ...] = (),
        limit: int = 0,
        changes: bool = False,
        leashed: bool = False,
    ) -> bytes:
        """`answers` are failures that the caller is told as such; all others are sentences. What `changes`
        something is not left in the middle for a stop."""
        stop = NEVER if changes else self.stop
        try:
            return self.script(script, *args, stdin=stdin, timeout=timeout, stop=stop, leashed=leashed)
        except CommandError:
            raise HostError(
                f"{path} on {self.name}: no answer within {timeout:.0f} s", transient=True
            ) from None
        except ScriptError as error:
            raise self._meaning(path, error, answers, limit) from None

    def _meaning(
        self, path: str, error: ScriptError, answers: tuple[type[OSError], ...], limit: int
    ) -> Exception:
        if error.exit_code == NOT_A_FILE:
            return NotAFileError(self.name, path, kind_in_words(error.stderr.strip()))
        if error.exit_code == TOO_LARGE:
            return TooLargeError(self.name, path, limit)
        lines = error.stderr.strip().splitlines() or [f"it failed with exit code {error.exit_code}"]
        code = errno_said(error.stderr)
        if code in (errno.ENOSPC, errno.EDQUOT):
            return NoSpaceError(self.name, path)
        if error.exit_code == _IN_PART:
            # What was gone again is the work of another, and is not listed the next time.
            return HostError(f"{path} on {self.name}: {lines[0]}", transient=code == errno.ENOENT)
        if code is not None and isinstance(answer := OSError(code, os.strerror(code), path), answers):
            return answer
        return HostError(f"{path} on {self.name}: {os.strerror(code) if code is not None else lines[-1]}")


def _framed(pieces: Iterable[tuple[int, bytes]], size: int) -> Iterator[bytes]:
    for offset, content in pieces:
        if offset < 0 or offset + len(content) > size:
            raise ValueError(f"a piece of {len(content)} bytes at {offset} is outside of {size} bytes")
        if content:
            yield f"{offset} {len(content)}\n".encode() + content
    yield b"end\n"


def _plain(path: str) -> str:
    """`path`, unless a tool would take it for an option or (find) for a part of an expression."""
    return path if path.startswith("/") else f"./{path}"


def _parent(path: str) -> str:
    return _plain(str(PurePosixPath(path).parent))
