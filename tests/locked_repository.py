"""A repository on a file system of its own, root's timer that locks it, and the account that may write it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from runner.base.model import Model
from runner.base.sealed import unseal
from runner.base.units import DAY, MiB
from runner.hosts.local import LocalHost
from runner.hosts.script import source
from steps.repository import layout, marker

UID = 64123
"""Of an account with no name; its group has no other members."""
VM = "pgtest1-12345678-1234-1234-1234-123456789012"
FIRST = datetime(2026, 11, 1, 17, tzinfo=UTC)
BOOT = "9bfb7faa-84bf-4939-9488-88faca2a3f85"
SIZES = {"ext4": 64 * MiB, "xfs": 320 * MiB, "btrfs": 128 * MiB}
"""Of sparse files; the least that the three take."""


@contextmanager
def mounted(kind: str, size: int | None = None) -> Iterator[Path]:
    """The root of a new file system of that kind, which every account can enter."""
    with tempfile.TemporaryDirectory(prefix="sl-") as name:
        disk, top = Path(name) / "disk", Path(name) / kind
        Path(name).chmod(0o755)
        with disk.open("wb") as file:
            file.truncate(size or SIZES[kind])
        top.mkdir()
        call("mkfs", "-t", kind, "-q", disk)
        call("mount", "-o", "loop", disk, top)
        try:
            yield top
        finally:
            call("umount", "--lazy", top)


def call(*argv: str | Path) -> str:
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class LockedRepository:
    """`lock`: seconds. The machine's clock, uptime and boot are what is said here."""

    root: Path
    record: Path
    fakes: Path
    lock: float = 30 * DAY
    wall: float = FIRST.timestamp()
    uptime: float = 1000.0
    boot: str = BOOT
    synchronized: bool = True
    capabilities: str = ""
    """Those that it has, as setpriv takes them; all without."""

    @classmethod
    def create(cls, top: Path, directory: Path) -> LockedRepository:
        root, record, fakes = top / "repository", directory / "record", directory / "fakes"
        for made in (root, record, fakes):
            made.mkdir(mode=0o700)
        marker.init(LocalHost(), str(root))
        (fakes / "lock.sh").write_text(source("steps/lock/scripts/lock.sh"))
        for name, text in {
            # It takes any format that the script asks for.
            "date": '#!/bin/sh\nexec /bin/date --utc --date="@$(cat "${0%/*}/wall")" "$@"\n',
            "timedatectl": '#!/bin/sh\ncat "${0%/*}/synchronized"\n',
        }.items():
            (fakes / name).write_text(text)
            (fakes / name).chmod(0o755)
        for own in (root, root / layout.MARKER):
            os.chown(own, UID, UID)
        return cls(root, record, fakes)

    def point(self, number: int, *, on: int | None = None, vm: str = VM) -> Path:
        """Published by the account: the day tells which, its image stands on that of another day."""
        directory = self.root / vm
        if not directory.exists():
            directory.mkdir(mode=0o700)
            os.chown(directory, UID, UID)
        point = directory / name_of(number)
        (point / layout.VM_FILES).mkdir(parents=True)
        (point / layout.VM_FILES / layout.VM_CONFIG).write_text("{}")
        (point / layout.MANIFEST).write_text(f'{{"point": "{point.name}"}}')
        backing = [] if on is None else ["-F", "qcow2", "-b", layout.backing(name_of(on), 2000)]
        size = ["1M"] if on is None else []
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *backing, layout.image(2000), *size],
            cwd=point,
            check=True,
            timeout=60,
        )
        (point / layout.digests(2000)).write_bytes(os.urandom(32))
        self.give(point)
        return point

    def give(self, directory: Path) -> None:
        """Makes it the account's with all that is in it, as if that had written it."""
        for path in (directory, *directory.rglob("*")):
            os.chown(path, UID, UID)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def argv(self, *, lock: float | None = None) -> list[str]:
        """Of the timer, in a namespace whose /proc says what this machine's does not."""
        (self.fakes / "wall").write_text(f"{self.wall:.0f}")
        (self.fakes / "synchronized").write_text("yes" if self.synchronized else "no")
        (self.fakes / "uptime").write_text(f"{self.uptime:.2f} 0.00\n")
        (self.fakes / "boot_id").write_text(f"{self.boot}\n")
        mounts = (
            f"mount --bind {self.fakes}/uptime /proc/uptime && "
            f"mount --bind {self.fakes}/boot_id /proc/sys/kernel/random/boot_id && "
            f'PATH={self.fakes}:$PATH exec "$@"'
        )
        arguments = (str(self.root), f"{UID}:{UID}", f"{lock or self.lock:.0f}", "300", str(self.record))
        apart = ("unshare", "--mount", "sh", "-c", mounts, "sh")
        sets = (f"--bounding-set={self.capabilities}", f"--inh-caps={self.capabilities}")
        granted = ("setpriv", *sets) if self.capabilities else ()
        return [*apart, *granted, "sh", str(self.fakes / "lock.sh"), *arguments]

    def run(self, *, lock: float | None = None) -> list[str]:
        """The timer, once; the problems that it has."""
        done = subprocess.run(self.argv(lock=lock), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    def told(self) -> dict[str, datetime]:
        """Locked points of the VM, until when."""
        return unseal((self.root / VM / layout.LOCKED).read_bytes(), Locked, 1).points

    def states(self) -> dict[str, str]:
        """In the record: point → new, locked or free."""
        lines = (self.record / "points").read_text().splitlines()
        return {line.split()[0].rpartition("/")[2]: line.split()[3] for line in lines}


class Locked(Model):
    """locked.json"""

    schema_version: Literal[1]
    points: dict[str, datetime]


def name_of(number: int) -> str:
    return layout.point(FIRST + timedelta(days=number), f"20261101T170000Z-{number:04x}0000")


def flags(path: Path) -> str:
    """Such as ``i`` and ``a``, of what lsattr shows."""
    return call("lsattr", "-d", path).split()[0].replace("-", "").replace("e", "")


def picture(point: Path) -> dict[str, tuple[int, int, str]]:
    """All that a point holds: inode, mode and content by name."""
    return {
        str(path.relative_to(point)): (
            path.lstat().st_ino,
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else "",
        )
        for path in (point, *sorted(point.rglob("*")))
    }


def as_account(work: Callable[[], object], number: int = UID) -> None:
    """Does it in a process of the account's, which may do all of it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become_account(number)
            work()
            code = 0
        except (OSError, AssertionError) as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def become_account(number: int = UID) -> None:
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)


def shell_as_account(*commands: str, cwd: Path) -> Sequence[int]:
    """Their exit codes."""
    return [
        subprocess.run(
            ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "sh", "-c", command],
            cwd=cwd,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
        for command in commands
    ]
