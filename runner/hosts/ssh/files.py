"""The file verbs of a host as shell scripts, one round trip each.

What a script needs comes as arguments, so that no name is ever part of a script; a name never comes back
through `$( )` either, which would eat its last newlines. A script that gets content knows its length: if we
die while we send, it notices and leaves no half file. What fails is told by the C locale's words on standard
error.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import PurePosixPath

from runner.base.errors import CommandError, HostError
from runner.base.units import HOUR, MINUTE
from runner.hosts.files import NoSpaceError, temporary_name
from runner.hosts.host import LARGEST_LOG, LARGEST_RECORD, FileStat
from runner.hosts.regular_file import (
    NOT_A_FILE,
    REFUSE_UNLESS_REGULAR,
    TOO_LARGE,
    NotAFileError,
    TooLargeError,
    kind_in_words,
)

SCRIPT_TIMEOUT = MINUTE
SYNC_TIMEOUT = HOUR
"""An fsync waits for all of a file's dirty pages: a disk of 100 MB/s needs ten minutes for 64 GiB of them."""

RECORD_TIMEOUT = MINUTE
"""For what is small and synced by itself. A copy waits meanwhile, and neither names whom it waits for nor
stops if told."""

_ABSENT = (FileNotFoundError, NotADirectoryError)

_PRELUDE = "export LC_ALL=C; umask 077\n"

# All that is sent is read, to its end, also after a failure: see `Session.finish`. What stood still for so
# long that nobody waits for it any more must not come through later, over what was written since: time counts
# from before the session began. TERM ends a script at once, also one that waits for content of a frozen
# runner: a trap would wait for `head`. What it leaves is a temporary. 1 path, 2 directory, 3 temporary, 4
# size, 5 mode, 6 hundredths of seconds
_IN_TIME = """\
read -r began rest </proc/uptime
longest=$6
in_time() {
    read -r now rest </proc/uptime
    [ $((${now%.*}${now#*.} - ${began%.*}${began#*.})) -lt "$longest" ] || { echo "it came too late" >&2; return 1; }
}
"""

_STAGE = """\
trap 'rm -f "$3"; cat >/dev/null' EXIT
trap 'exit 1' HUP INT PIPE
set -C
head -c "$4" >"$3" || exit
set +C
[ "$(stat -c %s "$3")" -eq "$4" ] || { echo "only a part of the content came" >&2; exit 1; }
"""

_REPLACE = """\
chmod "$5" "$3" && sync "$3" && in_time && mv -f -T "$3" "$1" && sync "$2"
"""

_APPEND = f"""\
{REFUSE_UNLESS_REGULAR}
before=0
if [ -e "$1" ] || [ -L "$1" ]; then refuse_unless_regular "$1"; before=${{found##* }}; fi
in_time || exit
cat "$3" >>"$1" && sync "$1" "$2" && exit
truncate -s "$before" "$1"
exit 1
"""

# Arguments as above; reads lines "offset length", each followed by that many bytes
_SPARSE = """\
trap 'rm -f "$3"; cat >/dev/null' EXIT
trap 'exit 1' HUP INT PIPE
set -C
: >"$3" || exit
set +C
while read -r offset length && [ "$offset" != end ]; do
    dd of="$3" bs=65536 count="$length" seek="$offset" status=none conv=notrunc \\
        iflag=fullblock,count_bytes oflag=seek_bytes || exit
done
[ "$offset" = end ] || { echo "only a part of the content came" >&2; exit 1; }
truncate -s "$4" "$3" || exit
"""

# mv -n asks the kernel for RENAME_NOREPLACE (coreutils 8.30 and later); it may be silent when it did nothing.
# 1 old, 2 new, 3 and 4 their directories
_RENAME = """\
[ "$(stat -c %d "$3")" = "$(stat -c %d "$4")" ] || { echo "rename: Invalid cross-device link" >&2; exit 1; }
stat "$1" >/dev/null || exit
mv -T -n "$1" "$2" 2>/dev/null
if [ -e "$1" ] || [ -L "$1" ]; then
    if [ -e "$2" ] || [ -L "$2" ]; then echo "rename: File exists" >&2; exit 1; fi
    exec mv -T -n "$1" "$2"
fi
sync "$3" "$4"
"""

_SUPERSEDE = """\
[ "$(stat -c %d "$3")" = "$(stat -c %d "$4")" ] || { echo "rename: Invalid cross-device link" >&2; exit 1; }
mv -f -T "$1" "$2" && sync "$3" "$4"
"""

# dd waits for nobody and follows no link, whatever stands there by now; one byte more than may be there shows
# that it grew. 1 path, 2 the most bytes that it may have
_READ = f"""\
{REFUSE_UNLESS_REGULAR}
refuse_unless_regular "$1"
[ "${{found##* }}" -le "$2" ] || exit {TOO_LARGE}
exec dd if="$1" iflag=nofollow,nonblock,count_bytes count="$(($2 + 1))" bs=1048576 status=none
"""

_IN_PART = 9
"""Exit code of the list of a directory that is there, and could not be read to its end."""

# That one of the names is gone again when find looks at it does not make the directory absent.
_LIST = f"""\
stat -L "$1" >/dev/null || exit
if [ ! -d "$1" ]; then echo "find: Not a directory" >&2; exit 1; fi
find -H "$1" -mindepth 1 -maxdepth 1 -printf '%f\\0' || exit {_IN_PART}
"""

# 1 path, 2 mode, 3 parent, 4 "parents" or nothing
_MKDIR = """\
if [ -d "$1" ]; then exit 0; fi
if [ -n "$4" ]; then mkdir -p "$3" || exit; fi
mkdir -m "$2" "$1" || { code=$?; [ -d "$1" ] && exit 0; exit "$code"; }
sync "$3"
"""

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


class ScriptError(Exception):
    """A script failed; `stderr` has its words."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        super().__init__(stderr)
        self.exit_code = exit_code
        self.stderr = stderr


class RemoteFiles(ABC):
    """See `runner.hosts.host.Host`."""

    name: str

    @abstractmethod
    def script(
        self, text: str, *args: str, stdin: Iterable[bytes] | None = None, timeout: float = SCRIPT_TIMEOUT
    ) -> bytes:
        """Its output. A script that is given `stdin` reads it to the end; its time begins when it was
        started. Raises ScriptError, CommandError if it takes too long, HostError if the connection breaks."""

    @abstractmethod
    def stream(self, text: str, *args: str) -> Generator[bytes, None, None]:
        """Its output as it comes. Raises as `script`."""

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def stat(self, path: str) -> FileStat | None:
        try:
            output = self._do(path, "exec stat -L -c '%s %b %B %Y %f' \"$1\"", _plain(path), answers=_ABSENT)
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

    def mkdir(self, path: str, *, mode: int = 0o700, parents: bool = False) -> None:
        self._do(path, _MKDIR, _plain(path), f"{mode:o}", _parent(path), "parents" if parents else "")

    def read(self, path: str, *, limit: int = LARGEST_RECORD) -> bytes:
        output = self._do(path, _READ, _plain(path), str(limit), answers=(FileNotFoundError,), limit=limit)
        if len(output) > limit:
            raise TooLargeError(self.name, path, limit)
        return output

    def read_chunks(self, path: str, chunk: int = 1 << 20, *, limit: int = LARGEST_LOG) -> Iterator[bytes]:
        held = bytearray()
        left = limit
        with closing(self.stream(_PRELUDE + _READ, _plain(path), str(limit))) as contents:
            try:
                for content in contents:
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
        self._stage(path, _STAGE + _REPLACE, len(content), mode, [content], RECORD_TIMEOUT)

    def write_sparse(
        self, path: str, size: int, pieces: Iterable[tuple[int, bytes]], *, mode: int = 0o600
    ) -> None:
        self._stage(path, _SPARSE + _REPLACE, size, mode, _framed(pieces, size), SYNC_TIMEOUT)

    def append(self, path: str, content: bytes) -> None:
        self._stage(path, _STAGE + _APPEND, len(content), 0o600, [content], RECORD_TIMEOUT)

    def sync(self, *paths: str) -> None:
        if paths:
            self._do(posixpath.commonpath(paths), 'exec sync "$@"', *map(_plain, paths), timeout=SYNC_TIMEOUT)

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        answers = (FileNotFoundError, FileExistsError)
        self._do(
            old,
            _SUPERSEDE if replace else _RENAME,
            _plain(old),
            _plain(new),
            _parent(old),
            _parent(new),
            answers=answers,
        )

    def remove(self, *paths: str, recursive: bool = False) -> None:
        if not paths:
            return
        # rm does not follow a link unless its name ends in a slash.
        names = [_plain(path.rstrip("/")) for path in paths]
        text = f'exec rm {"-rf" if recursive else "-f"} "$@"'
        self._do(posixpath.commonpath(paths), text, *names, timeout=SYNC_TIMEOUT)

    def free_bytes(self, path: str) -> int:
        blocks, size = self._do(path, "exec stat -f -c '%a %S' \"$1\"", _plain(path)).split()
        return int(blocks) * int(size)

    def _stage(
        self, path: str, text: str, size: int, mode: int, content: Iterable[bytes], timeout: float
    ) -> None:
        directory = _parent(path)
        temporary = f"{directory}/{temporary_name()}"
        arguments = (_plain(path), directory, temporary, str(size), f"{mode:o}", str(int(timeout * 100)))
        self._do(path, _IN_TIME + text, *arguments, stdin=content, timeout=timeout)

    def _do(
        self,
        path: str,
        text: str,
        *args: str,
        stdin: Iterable[bytes] | None = None,
        timeout: float = SCRIPT_TIMEOUT,
        answers: tuple[type[OSError], ...] = (),
        limit: int = 0,
    ) -> bytes:
        """`answers` are failures that the caller is told as such; all others are sentences."""
        try:
            return self.script(_PRELUDE + text, *args, stdin=stdin, timeout=timeout)
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
        codes = (_STRERRORS.get(line.rpartition(": ")[2]) for line in lines)
        code = next((code for code in codes if code is not None), None)
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
