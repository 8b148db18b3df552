"""What is in a repository, by one `find`, and the content of its small files, by one `tar`: a request for
each of 10,000 manifests takes minutes over SSH.

What either could not read is told with its path and the reason: what is not listed is never taken for absent.
`find` ends with 1 and names what it could not open or read; of the files that it listed, all that `tar` did
not deliver is named; and where a directory's link count tells of more directories than were listed (ext4,
XFS, tmpfs, ZFS, and NFS on these: two, and one for each directory in it; stat(2) of a file system without
such a count says 1), the listing came short.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from runner.base.errors import StateError
from runner.base.units import MINUTE
from runner.hosts.files import is_temporary
from runner.hosts.host import Host
from runner.hosts.script import load
from steps.repository import layout, verification_records

TIMEOUT = 10 * MINUTE

ATTEMPTS = 3
"""What another run deletes or publishes just then is gone, or has its name, at the second look."""

READ = (layout.MANIFEST, *verification_records.NAMES.values())
"""Names of the small files of a point."""

_COUNTS_LINKS = frozenset({"ext2/ext3", "xfs", "tmpfs", "zfs", "nfs"})
"""File systems, as `stat -f` calls them, whose directories have a link for each directory in them."""

_FIND = load("steps/repository/scripts/find.sh")
_READ_VM = load("steps/repository/scripts/read-vm.sh")
_READ_FILES = load("steps/repository/scripts/read-files.sh")

_LISTED = tuple(word for name in (layout.MOVING, layout.LOCKED, *READ) for word in ("-o", "-name", name))

_SECTOR = 512
_SOME_FAILED, _NOT_ENTERED = 1, 3
"""find: of some it said on standard error why; the script: it is no directory, or none for us."""
_CHANGED, _TAR_FAILED = 1, 2
"""tar: a file changed while it was read; some could not be read. Its standard error says which."""
_BESIDE_TAR = 16
"""What the script of both adds to tar's exit code where find failed."""

_QUOTED = re.compile(r"'(?P<path>\.(?:/[^']*)?)'(?:: (?P<why>.*))?")
_OF_TAR = re.compile(r"tar: (?P<path>\./[^:]+): (?P<why>.*)")
_GONE = ("No such file or directory", "File removed before we read it")
_WHOLE = "file changed as we read it"
"""tar's words of one that has another name or is gone since; it was read to its end."""
_SHORT = "its link count tells of more directories than were listed"


class UnreadableError(StateError):
    """A directory cannot be read, or only in part: what is in it is not known."""

    def __init__(self, path: str, host: str, why: str) -> None:
        super().__init__(f"{path} on {host} cannot be read: {why}; look at that disk and its file system")
        self.path = path
        self.host = host
        self.why = why


class Found(NamedTuple):
    """`path` is relative to the repository, ``.`` itself; `kind` as find(1) says it: f, d, l and others.
    `taken`: on disk, bytes. `owner`: the user's number."""

    kind: str
    links: int
    size: int
    taken: int
    owner: int
    path: str


@dataclass
class Listing:
    found: dict[str, Found] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of the small files that were read whole."""
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be read, by its path, and why."""


def find(host: Host, root: str, only: str | None = None, *, depth: int = 3) -> Listing:
    """What is in the repository at `root`, or in its directory `only` alone, `depth` levels below `root`,
    without contents; nothing where there is no `root`. Raises UnreadableError if it is unknown what there is
    at all, CommandError, HostError."""
    for _ in range(ATTEMPTS):
        found = _find(host, root, only, depth)
        if not vanished(found, only):
            break
    refuse_unknown(host, root, found)
    return found


def refuse_unknown(host: Host, root: str, listing: Listing) -> None:
    """Raises UnreadableError if it is unknown what there is at all."""
    if "." in listing.failed:
        raise UnreadableError(root, host.name, listing.failed["."])


def read_vm(host: Host, root: str, vm: str) -> Listing:
    """`find` of a VM's directory, with the contents of its small files and of the repository's marker, by one
    request. A content that is missing says nothing: `read_files` tells why."""
    argv = _READ_VM.argv(root, f"./{vm}", "2", layout.DROPPED, *_LISTED)
    ok = (*(tar + find for tar in (0, _CHANGED, _TAR_FAILED) for find in (0, _BESIDE_TAR)), _NOT_ENTERED)
    done = host.run(argv, timeout=TIMEOUT, ok=ok)
    if done.exit_code == _NOT_ENTERED:
        return _not_entered(host, root)
    listed, archive = _apart(done.stdout)
    found = _listing(listed, done.stderr, vm, 3, failed=done.exit_code >= _BESIDE_TAR)
    said = _said_by_tar(done.stderr)
    for name, content in _unpack(root, host, archive).items():
        if said.get(name, _WHOLE) == _WHOLE:
            found.contents[name.removeprefix("./")] = content
    return found


def _apart(stdout: bytes) -> tuple[bytes, bytes]:
    """What find said, and the archive, of the script of both: there is a NUL more than find's last."""
    kind, newline, rest = stdout.partition(b"\n")
    if rest.startswith(b"\0"):
        return kind + newline, rest[1:]
    records, end, archive = rest.partition(b"\0\0")
    return kind + newline + records + end[:1], archive


def names(host: Host, directory: str) -> list[str]:
    """Of what is in a VM's directory, sorted; none if it is not there. Raises UnreadableError, CommandError,
    HostError."""
    root, vm = posixpath.split(directory)
    found = find(host, root, vm, depth=2)
    why = found.failed.get(vm)
    if why is not None and not is_gone(why):
        raise UnreadableError(directory, host.name, why)
    return sorted(posixpath.basename(path) for path in found.found if path != vm)


def _find(host: Host, root: str, only: str | None, depth: int) -> Listing:
    start, below = (".", depth) if only is None else (f"./{only}", depth - 1)
    ok = (0, _SOME_FAILED, _NOT_ENTERED)
    argv = _FIND.argv(root, start, str(below), layout.DROPPED, *_LISTED)
    done = host.run(argv, timeout=TIMEOUT, ok=ok)
    if done.exit_code == _NOT_ENTERED:
        return _not_entered(host, root)
    return _listing(done.stdout, done.stderr, only, depth, failed=done.exit_code != 0)


def _not_entered(host: Host, root: str) -> Listing:
    return Listing(failed={} if host.stat(root) is None else {".": "it cannot be entered"})


def _listing(stdout: bytes, stderr: str, only: str | None, depth: int, *, failed: bool) -> Listing:
    """Of what find said; `failed`: not all could be read."""
    kind, _, records = stdout.decode("utf-8", "backslashreplace").partition("\n")
    listing = Listing({found.path: found for found in _parse(records)})
    if failed:
        listing.failed = dict(_failures(stderr))
    # readdir(3) over NFS can come short without an error; the link count is then the only witness.
    if kind in _COUNTS_LINKS:
        listing.failed = {**_short(listing.found, depth), **listing.failed}
    if (first := only or ".") not in listing.found:
        listing.failed.setdefault(first, "find did not list it")
    return listing


def read_files(host: Host, root: str, listing: Listing, paths: Iterable[str]) -> None:
    """Adds the contents of `paths`, which are of the listing and plain ASCII."""
    wanted = [f"./{path}" for path in paths]
    if not wanted:
        return
    names = b"".join(name.encode() + b"\0" for name in wanted)
    ok = (0, _CHANGED, _TAR_FAILED)
    done = host.run(_READ_FILES.argv(root), stdin=names, timeout=TIMEOUT, ok=ok)
    said = _said_by_tar(done.stderr)
    delivered = _unpack(root, host, done.stdout)
    for name in wanted:
        path, why = name.removeprefix("./"), said.get(name, "")
        if name in delivered and why in ("", _WHOLE):
            listing.contents[path] = delivered[name]
        else:
            listing.failed[path] = why or "it was listed, and not read"


def _said_by_tar(stderr: str) -> dict[str, str]:
    """What is wrong with which of the names that tar was given."""
    return {line["path"]: line["why"] for line in map(_OF_TAR.fullmatch, stderr.splitlines()) if line}


def is_gone(why: str) -> bool:
    """Whether that is said of what did not exist (any longer)."""
    return why.endswith(_GONE)


def vanished(listing: Listing, only: str | None) -> bool:
    """Whether some of it went away, or moved, while it was read: another run works there. What was read then
    says nothing."""
    return any(why == _SHORT or (is_gone(why) and path != only) for path, why in listing.failed.items())


def _parse(records: str) -> Iterator[Found]:
    for record in records.split("\0"):
        if record:
            kind, links, size, blocks, owner, path = record.split(" ", 5)
            taken = int(blocks) * _SECTOR
            yield Found(kind, int(links), int(size), taken, int(owner), path.removeprefix("./"))


def _failures(stderr: str) -> Iterator[tuple[str, str]]:
    """By what find said; of what it did not name, all is in doubt."""
    lines = [line for line in stderr.splitlines() if line.startswith("find: ")]
    for line in lines:
        named = _QUOTED.search(line)
        path = "." if named is None else posixpath.normpath(named["path"])
        # A name of ours that is written at this moment: nobody reads it.
        if not is_temporary(posixpath.basename(path)):
            yield (
                path,
                line.removeprefix("find: ") if named is None else named["why"] or line.removeprefix("find: "),
            )
    if not lines:
        yield ".", " ".join(stderr.split()) or "find failed and did not say why"


def _short(found: Mapping[str, Found], depth: int) -> dict[str, str]:
    """The repository and VMs' directories of which fewer directories were listed than they have."""
    directories = [one for one in found.values() if one.kind == "d"]
    inside = Counter(posixpath.dirname(one.path) or "." for one in directories if one.path != ".")
    looked_into = (
        one for one in directories if one.path == "." or (depth > 1 and layout.uuid_of_vm_directory(one.path))
    )
    return {one.path: _SHORT for one in looked_into if inside[one.path] < one.links - 2}


def _unpack(root: str, host: Host, archive: bytes) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(
            fileobj=io.BytesIO(archive),
            mode="r:",
            tarinfo=_Member,
            encoding="utf-8",
            errors="backslashreplace",
        ) as tar:
            for member in tar:
                # Cut from what is in memory anyway: a file object for each takes longer than all else here.
                content = archive[member.offset_data : member.offset_data + member.size]
                if member.isreg() and len(content) == member.size:
                    contents[member.name] = content
    except tarfile.TarError as error:
        raise UnreadableError(root, host.name, f"tar's answer is damaged ({error})") from error
    return contents


class _Member(tarfile.TarInfo):
    """Of a regular file's header, name and size alone are read: all sixteen fields take as long as to read
    the manifest behind them."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: str) -> Self:
        """As GNU tar writes it, tar(5); `tarfile` knows about all others, and about damage."""
        member = cls(buf[:100].partition(b"\0")[0].decode(encoding, errors))
        try:
            member.size = int(buf[124:135], 8)
            # The checksum counts its own eight bytes as spaces.
            whole = int(buf[148:154], 8) == sum(buf) - sum(buf[148:156]) + 8 * 0x20
        except ValueError:
            whole = False
        plain = buf[156:157] == tarfile.REGTYPE and buf[345:346] == b"\0"
        return member if whole and plain else super().frombuf(buf, encoding, errors)
