"""Which restore points nobody but root of the host can change or delete: what its timer tells, what their
files say themselves, and whether their file system can."""

from __future__ import annotations

import posixpath
import re
from datetime import datetime
from typing import Literal

from runner.base.errors import CommandError, Interrupted, SendenseError, StateError
from runner.base.sealed import Damaged, unseal
from runner.base.units import MINUTE
from runner.hosts.host import Host
from runner.hosts.supervisor import is_missing
from steps.repository import layout
from steps.repository.manifest import PointName
from steps.repository.recorded import Recorded, UtcTime

SCHEMA_VERSION: Literal[1] = 1

ROOTS = (0, 65534)
"""Numbers of the owner of root's files: also that of all whom a mapped mount does not show as somebody else
(X-mount.idmap in mount(8)), which is how accounts that only read see a repository."""

NOT_ROOTS = (
    "it is not root's, so that nothing it says of locks is believed: remove it; root's timer writes its own"
)

_NEVER = ("nfs", "cifs", "smb", "smb2")
"""As `stat -f` calls them. CIFS answers lsattr(1) all the same, with whether the file is compressed
(fs/smb/client/ioctl.c)."""

_NO_FLAGS = ("Operation not supported", "Inappropriate ioctl")
"""What FS_IOC_GETFLAGS gives on all others that have no such flag (ioctl_iflags(2))."""

_IMMUTABLE = re.compile(r"[-A-Za-z]*i[-A-Za-z]* ", re.ASCII)
"""How a line of lsattr begins; those that name a directory begin with its path, which is absolute."""


class IsLockedError(SendenseError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(
            f"{path} on {host} is kept: it is immutable, which root of that host alone can lift; "
            "see `sendense help lock`"
        )
        self.point = posixpath.basename(path)


class Locked(Recorded):
    """locked.json in a VM's directory; root's timer writes it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    points: dict[PointName, UtcTime]
    """Until when they are locked, as its clock says today: a point stands here until it is unlocked."""


def parse(content: bytes, where: str) -> dict[str, datetime]:
    """`where` names the file in the sentence. Raises StateError for damage, NewerError."""
    try:
        return dict(unseal(content, Locked, SCHEMA_VERSION).points)
    except Damaged as error:
        raise error.error(where) from error


def until(host: Host, directory: str, point: str) -> datetime | None:
    """Of one point in the VM's `directory`, None where nobody says that it is locked. Raises StateError for
    damage, NewerError."""
    path = posixpath.join(directory, layout.LOCKED)
    if not host.exists(path):
        return None
    if not is_roots(host, path):
        raise StateError(f"{path} on {host.name}: {NOT_ROOTS}")
    return parse(host.read(path, limit=layout.RECORD_LIMIT), f"{path} on {host.name}").get(point)


def is_roots(host: Host, path: str) -> bool:
    """Whether it is a regular file of root's. Raises CommandError, HostError."""
    said = host.run(("stat", "-c", "%u %F", "--", path), timeout=MINUTE).stdout.decode(errors="replace")
    owner, _, kind = said.partition(" ")
    return int(owner) in ROOTS and kind.startswith("regular")


def is_immutable(host: Host, path: str) -> bool:
    """Whether the file or directory itself is, whatever anybody tells of it. Not where that cannot be seen: a
    file system without such a flag (chattr(1)) has no locks."""
    return any(map(_IMMUTABLE.match, _attributes(host, "-d", path)))


def refuse(host: Host, point: str) -> None:
    """Before anything of a point is changed or deleted, since half of it could be. Raises IsLockedError if
    its directory is immutable, or anything in it."""
    if is_held(host, point):
        raise IsLockedError(point, host.name)


def is_held(host: Host, point: str) -> bool:
    """Whether its directory is immutable, or anything in it."""
    return any(
        _IMMUTABLE.match(line)
        for line in _attributes(host, "-aR", point)
        if not line.endswith("/..")  # also listed, and another's
    )


def came_meanwhile(host: Host, point: str) -> bool:
    """Of an act on the point that failed: whether it did because that is locked. Where this cannot be seen,
    the failure itself is to be told."""
    try:
        return is_held(host, point)
    except Interrupted:
        raise
    except SendenseError:
        return False


def _attributes(host: Host, options: str, path: str) -> list[str]:
    argv = ("lsattr", options, "--", path)
    done = host.run(argv, timeout=MINUTE, ok=None)
    no_flags = any(words in done.stderr for words in _NO_FLAGS)
    # Without the program the kernel still refuses; any other failure says nothing of the path.
    if done.exit_code != 0 and not (no_flags or is_missing(done.exit_code, done.stderr)):
        raise CommandError(host.name, argv, done.exit_code, done.stderr)
    # A link or a socket among the files has no flags either, and hides those of no other.
    return done.stdout.decode(errors="replace").splitlines()


def cannot_be_immutable(host: Host, path: str) -> str:
    """Why no file in the directory `path` can, in words; empty where they can, as far as its file system
    tells: root alone can try it. Raises CommandError, HostError."""
    kind = host.run(("stat", "-f", "-c", "%T", "--", path), timeout=MINUTE).stdout.decode(errors="replace")
    argv = ("lsattr", "-d", "--", path)
    done = host.run(argv, timeout=MINUTE, ok=None)
    if is_missing(done.exit_code, done.stderr):
        return f"host {host.name} has no lsattr, without which nothing is locked there: install e2fsprogs"
    if kind.strip() in _NEVER or any(words in done.stderr for words in _NO_FLAGS):
        return (
            f"no restore point in {path} on {host.name} can be locked, since its file system "
            f"({kind.strip()}) makes no files immutable: use ext4, XFS or btrfs"
        )
    if done.exit_code != 0:
        raise CommandError(host.name, argv, done.exit_code, done.stderr)
    return ""
