"""This machine as a host."""

from __future__ import annotations

import contextlib
import copy
import getpass
import math
import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from runner.base.errors import CommandError
from runner.base.waiting import NEVER, heeding, unless_stopped
from runner.hosts import files, process
from runner.hosts.host import LARGEST_LOG, LARGEST_RECORD, Child, Completed, FileStat, Forwards, Lock
from runner.hosts.regular_file import read_pieces


class LocalHost:
    """See `runner.hosts.host.Host`."""

    local = True

    def __init__(self, name: str = process.LOCAL) -> None:
        self.name = name
        self.mark = ""
        self._stop: threading.Event = NEVER

    def until(self, stop: threading.Event) -> LocalHost:
        bound = copy.copy(self)
        bound._stop = stop
        return bound

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        silence: float = math.inf,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        return process.run(
            argv,
            stdin=stdin,
            timeout=timeout,
            silence=silence,
            ok=ok,
            host=self.name,
            mark=self.mark,
            stop=self._stop,
        )

    def popen(self, argv: Sequence[str]) -> Child:
        return process.start(argv, host=self.name, mark=self.mark, stop=self._stop)

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def stat(self, path: str) -> FileStat | None:
        with self._translate_os_errors(path):
            try:
                found = Path(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return FileStat(
            size=found.st_size,
            allocated=found.st_blocks * 512,
            mtime_ns=found.st_mtime_ns,
            is_dir=stat.S_ISDIR(found.st_mode),
            mode=found.st_mode & 0o7777,
        )

    def listdir(self, path: str) -> list[str]:
        with self._translate_os_errors(path):
            try:
                return sorted(entry.name for entry in Path(path).iterdir())
            except FileNotFoundError:
                return []

    def mkdir(self, *paths: str, mode: int = 0o700, parents: bool = False) -> None:
        for path in paths:
            with self._translate_os_errors(path):
                files.make_directory(path, mode=mode, parents=parents and path == paths[0])

    def read(self, path: str, *, limit: int = LARGEST_RECORD) -> bytes:
        return b"".join(self.read_chunks(path, limit=limit))

    def read_chunks(self, path: str, chunk: int = 1 << 20, *, limit: int = LARGEST_LOG) -> Iterator[bytes]:
        with self._translate_os_errors(path, FileNotFoundError):
            yield from heeding(self._stop, read_pieces(path, chunk, limit, self.name))

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        with self._translate_os_errors(path):
            files.write(path, content, mode=mode)

    def write_sparse(
        self,
        path: str,
        size: int,
        pieces: Iterable[tuple[int, bytes]],
        *,
        mode: int = 0o600,
        then: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        with self._translate_os_errors(path):
            files.write_sparse(path, size, heeding(self._stop, pieces), mode=mode)
        for name, content in then:
            self.write(os.path.join(os.path.dirname(path), name), content, mode=mode)  # noqa: PTH118, PTH120

    def append(self, path: str, content: bytes) -> None:
        with self._translate_os_errors(path):
            files.append(path, content, where=self.name)

    def sync(self, *paths: str) -> None:
        # By a program: a thread that waits for a disk cannot be left, and keeps this process from its end.
        for path in paths:
            done = process.run(
                ("sync", os.path.abspath(path)),  # noqa: PTH100  as it is named, also where links lead elsewhere
                timeout=files.SYNC_TIMEOUT,
                ok=None,
                host=self.name,
                mark=self.mark,
                stop=self._stop,
            )
            if done.exit_code:
                self._raise(path, done)

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        with self._translate_os_errors(old, FileNotFoundError, FileExistsError):
            if replace:
                files.replace(old, new)
            else:
                files.rename(old, new)

    def remove(self, *paths: str, recursive: bool = False) -> None:
        for path in (each.rstrip("/") for each in paths):
            with self._translate_os_errors(path), contextlib.suppress(FileNotFoundError):
                if recursive and Path(path).is_dir() and not Path(path).is_symlink():
                    shutil.rmtree(path)
                else:
                    Path(path).unlink()

    def free_bytes(self, path: str) -> int:
        with self._translate_os_errors(path):
            found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def tempdir(self, room: int = 0, *, on_disk: bool = False) -> AbstractContextManager[str]:
        return process.temporary_directory(self.name, self.mark, self._stop, room, on_disk=on_disk)

    def lock(self, path: str, holder: str, token: str = "") -> Lock:
        with self._translate_os_errors(path):
            return files.FileLock(path, holder, token, where=self.name)

    @property
    def account(self) -> str:
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # as Python 3.13 says it
            return str(os.geteuid())  # containers run as users that their passwd does not know

    @property
    def ports(self) -> range:
        return range(0)

    def reach(self, server: str, port: int, timeout: float = 15.0) -> str:
        def connect() -> None:
            socket.create_connection((server, port), timeout).close()

        try:
            unless_stopped(connect, self._stop)
        except socket.gaierror as error:
            return f"its name cannot be resolved ({error.strerror})"
        except TimeoutError:
            return f"nothing answers in {timeout:.0f} s"
        except OSError as error:
            return error.strerror or str(error)
        return ""

    @contextlib.contextmanager
    def forward(self, sockets: Sequence[str], *, dedicated: bool = False) -> Iterator[Forwards]:
        yield Forwards(tuple(sockets), ())

    @contextlib.contextmanager
    def lend(self, sockets: Sequence[str]) -> Iterator[tuple[str, ...]]:
        yield tuple(sockets)

    def close(self) -> None:
        return None

    def _raise(self, path: str, ended: Completed) -> NoReturn:
        """What a program of this machine said of its failure with `path`."""
        if (code := files.errno_said(ended.stderr)) is not None:
            with self._translate_os_errors(path):
                raise OSError(code, os.strerror(code), path)
        raise CommandError(self.name, ended.argv, ended.exit_code, ended.stderr)

    def _translate_os_errors(self, path: str, *passed_on: type[OSError]) -> AbstractContextManager[None]:
        return files.translate_os_errors(self.name, path, *passed_on)
