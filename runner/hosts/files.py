"""Files of this machine: replaced whole, appended durably, renamed without overwriting, locked.

A crash between two steps leaves at most a temporary file beside the real one, known by its name
(`is_temporary`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.base.errors import HostError, LockedError, SendenseError
from runner.base.units import HOUR
from runner.base.waiting import NEVER, until
from runner.hosts.identity import own
from runner.hosts.lock_file import ATTEMPTS, LockText, compose, read_lock
from runner.hosts.regular_file import open_regular

TEMPORARY_PREFIX = ".sd-tmp-"
HOLDER_TIMEOUT = 1.0
"""A holder writes its name right after it got the lock."""
LONGEST = 4096
"""Bytes of a lock file."""

THIS_MACHINE = "this machine"
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


class NoSpaceError(SendenseError):
    fix_first = True

    def __init__(self, where: str, path: str) -> None:
        super().__init__(f"no space left on {where} for {path}: make room and run the same command again")
        self.shared = f"no room on {where}"
        self.where = where
        self.path = path


@contextlib.contextmanager
def translate_os_errors(where: str, path: str, *passed_on: type[OSError]) -> Iterator[None]:
    """What the system refuses of `path` is an error for a person, NoSpaceError or HostError; `passed_on` are
    raised as they are. `where` names the machine."""
    try:
        yield
    except OSError as error:
        if isinstance(error, passed_on):
            raise
        if error.errno in _OUT_OF_SPACE:
            raise NoSpaceError(where, path) from error
        raise HostError(f"{path} on {where}: {error.strerror}") from error


SYNC_TIMEOUT = HOUR
"""An fsync waits for all of a file's dirty pages: a disk of 100 MB/s needs ten minutes for 64 GiB of them."""

_STRERRORS = {
    os.strerror(code): code
    for code in (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EROFS,
    )
}


def errno_said(stderr: str) -> int | None:
    """The error that a program names as the cause of its failure, in the words of the C locale."""
    codes = (_STRERRORS.get(line.rpartition(": ")[2]) for line in stderr.strip().splitlines())
    return next((code for code in codes if code is not None), None)


def temporary_name() -> str:
    """A new name for a temporary file beside the one it will replace."""
    return TEMPORARY_PREFIX + secrets.token_hex(6)


def is_temporary(name: str) -> bool:
    """Whether a file of that name is what a crash left of an unfinished write."""
    return name.startswith(TEMPORARY_PREFIX)


def write(path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Whole, atomic and durable: temp beside it, fsync, rename, fsync of the directory. Raises OSError."""
    write_sparse(path, len(content), [(0, content)], mode=mode)


def write_sparse(path: str, size: int, pieces: Iterable[tuple[int, bytes]], *, mode: int = 0o600) -> None:
    """As `write`: a file of `size` bytes with `pieces` (offset, content) in it and holes elsewhere."""
    with _replacing(path, mode) as file:
        for offset, content in pieces:
            if offset < 0 or offset + len(content) > size:
                raise ValueError(f"a piece of {len(content)} bytes at {offset} is outside of {size} bytes")
            pwrite(file, content, offset)
        os.ftruncate(file, size)


def append(path: str, content: bytes, *, where: str = THIS_MACHINE) -> None:
    """Appends and syncs; creates with mode 0600. A failed append removes what it wrote. Raises
    NotAFileError, OSError."""
    file = open_regular(path, where, os.O_WRONLY | os.O_CREAT)
    try:
        size = os.fstat(file).st_size
        try:
            pwrite(file, content, size)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if size == 0:
        sync(parent(path))


def sync(path: str) -> None:
    """fsync of a file or directory. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def rename(old: str, new: str) -> None:
    """Renames a file or directory, then syncs the directories. Raises FileExistsError instead of overwriting,
    by renameat2(RENAME_NOREPLACE), see rename(2). Where the file system lacks it (NFS), a file gets its new
    name as a hard link, which fails if the name is taken, and loses the old one; a plain rename of a
    directory never replaces anything but an empty directory."""
    rename_within(None, old, new)
    for directory in {parent(old), parent(new)}:
        sync(directory)


def replace(old: str, new: str) -> None:
    """Renames a file over another one or none, then syncs the directories. Raises OSError, also if `new` is a
    directory."""
    Path(old).rename(new)
    for directory in {parent(old), parent(new)}:
        sync(directory)


def rename_within(directory: int | None, old: str, new: str) -> None:
    """As `rename`, of names in an open directory (None: of paths); nothing is synced."""
    at = _AT_FDCWD if directory is None else directory
    if _libc.renameat2(at, os.fsencode(old), at, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), old, None, new)
        _rename_stepwise(directory, old, new)


def refuse_taken(directory: int | None, name: str) -> None:
    """Raises FileExistsError if something has that name in an open directory (None: that path), be it a
    dangling link."""
    with contextlib.suppress(FileNotFoundError):
        os.lstat(name, dir_fd=directory)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def pwrite(file: int, content: bytes, offset: int) -> None:
    """All of it: one call may write less than it was given (pwrite(2)). Raises OSError."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        offset += written
        rest = rest[written:]


def make_directory(path: str, *, mode: int = 0o700, parents: bool = False) -> None:
    """Existing is fine and keeps its mode; parents get 0700; synced. Raises OSError."""
    directory = Path(path)
    if parents and not directory.parent.exists():
        make_directory(str(directory.parent), parents=True)
    try:
        directory.mkdir(mode)
    except FileExistsError:
        if not directory.is_dir():
            raise
        return
    directory.chmod(mode)
    sync(parent(path))


def parent(path: str) -> str:
    """The directory of a file: ``/a`` of ``/a/b``, ``.`` of ``b``."""
    return str(Path(path).parent)


class FileLock:
    """`flock` on `path`, taken without waiting and freed by our death; what the file holds is told by
    `runner.hosts.lock_file`."""

    def __init__(self, path: str, holder: str, token: str = "", *, where: str = THIS_MACHINE) -> None:
        """Raises LockedError with the text of the present holder, NotAFileError, OSError."""
        self._path = path
        self._file = _locked(path, where)
        self._token = token
        try:
            self.before = read_lock(os.pread(self._file, LONGEST, 0)).token
            self._write(holder)
        except BaseException:
            os.close(self._file)
            raise

    def alive(self) -> bool:
        if self._file >= 0 and not _is_at(self._file, self._path):
            self._close()
        return self._file >= 0

    def release(self) -> None:
        """Twice is fine."""
        if self._file >= 0:
            self._write("")
            self._close()

    def _close(self) -> None:
        os.close(self._file)
        self._file = -1

    def _write(self, holder: str) -> None:
        content = compose(holder, self._token, own())
        pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))


def _locked(path: str, where: str) -> int:
    """A descriptor that has the lock, of the file that is at `path`: between opening and locking somebody may
    have removed it, and the next process locks another."""
    for _ in range(ATTEMPTS):
        file = open_regular(path, where, os.O_RDWR | os.O_CREAT)
        kept = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if kept := _is_at(file, path):
                return file
        except BlockingIOError:
            if _is_at(file, path):
                present = _holder_of(file)
                raise LockedError(
                    f"{path} on {where}", present.holder or "it left no name", present.token
                ) from None
        finally:
            if not kept:
                os.close(file)
    raise HostError(
        f"{path} on {where} cannot be locked: something replaces it again and again", transient=True
    )


def _is_at(file: int, path: str) -> bool:
    """Whether `file` is the one at `path`. What cannot be looked at is not."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except OSError:
        return False


def _holder_of(file: int) -> LockText:
    def found() -> LockText:
        return read_lock(os.pread(file, LONGEST, 0))

    try:
        return until(lambda: text if (text := found()).holder else None, stop=NEVER, timeout=HOLDER_TIMEOUT)
    except TimeoutError:
        return found()


@contextlib.contextmanager
def _replacing(path: str, mode: int) -> Iterator[int]:
    temporary = Path(path).with_name(temporary_name())
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            yield file
            os.fchmod(file, mode)
            os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            # The first error is the one to hear of.
            temporary.unlink()
        raise
    sync(parent(path))


def _rename_stepwise(directory: int | None, old: str, new: str) -> None:
    if stat.S_ISDIR(os.lstat(old, dir_fd=directory).st_mode):
        refuse_taken(directory, new)
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.link(old, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.unlink(old, dir_fd=directory)
