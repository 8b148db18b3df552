"""`mount -o bind,ro,X-mount.idmap=u:FROM:TO:1\\040g:FROM:TO:1`, which util-linux has since 2.39, by the system calls that it makes:
a directory seen read-only, with the files of one account as those of another."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
"""Their numbers, alike on all architectures (linux/include/uapi/asm-generic/unistd.h)."""
AT_FDCWD, AT_EMPTY_PATH, OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = -100, 0x1000, 1, 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_IDMAP = 1, 0x100000
CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mapped(source: Path, target: Path, before: int, shown: int) -> Iterator[None]:
    """Files of user and group `before` are shown as those of user and group `shown`. Skips the test where that cannot be."""
    try:
        users = _user_namespace(f"{before} {shown} 1")
        tree = _call(OPEN_TREE, AT_FDCWD, os.fsencode(source), OPEN_TREE_CLONE | os.O_CLOEXEC)
        attributes = struct.pack("QQQQ", MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY, 0, 0, users)
        _call(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))
        _call(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    except OSError as error:
        pytest.skip(f"no directory can be shown with other owners here: {error}")
    os.close(users)
    os.close(tree)
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True, timeout=30)


def _call(number: int, *arguments: object) -> int:
    done: int = _LIBC.syscall(number, *arguments)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def _user_namespace(numbers: str) -> int:
    """A file descriptor of one that has this mapping of users and groups."""
    argv = ["unshare", "--user", "sh", "-c", "echo; read _"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text(numbers)
        return os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY)
