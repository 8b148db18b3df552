"""Whether files of a repository can share blocks, and what pruning copies where they cannot.

A point that is committed into a copy of the full below it needs that copy: for nothing where it shares the
full's blocks, else byte by byte.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from runner.base.units import MINUTE, MiB, counted, human_bytes, human_seconds
from runner.hosts.host import Host
from runner.hosts.script import load
from steps.repository.vm_directory import VmDirectory

COPY_RATE = 100 * MiB
"""Bytes a second that a full copy on one disk is told to take: it reads and writes the same one."""

_CLONES = ("btrfs", "xfs", "bcachefs", "ocfs2")
"""File systems whose files can share blocks (ioctl_ficlonerange(2)), as `stat -f` calls them."""

_FILE_SYSTEM = load("steps/points/scripts/file-system.sh")
_TRY_REFLINK = load("steps/points/scripts/try-reflink.sh")

SHARED = "fulls share their blocks, as files of its kind of file system can: only the run tries it"
"""What a forecast says where no room for them is counted."""


def may_share(host: Host, root: str) -> bool:
    """Whether files there can share blocks, as far as the kind of its file system tells: for a plan,
    and writes nothing anywhere. An XFS that cannot be asked is believed to be as the default."""
    kind, *more = _kind(host, root)
    return kind in _CLONES and "reflink=0" not in more


def _kind(host: Host, root: str) -> list[str]:
    """As `stat -f` calls it, with what is known of an XFS; an empty text if that cannot be told."""
    done = host.run(_FILE_SYSTEM.argv(root), timeout=MINUTE, ok=None)
    return done.stdout.decode(errors="replace").split() or [""]


def can_share(host: Host, directory: str) -> bool:
    """Whether they do, by trying it with a file that is gone afterwards. Where none may be written they do
    not."""
    return host.run(_TRY_REFLINK.argv(directory), timeout=MINUTE, ok=None).exit_code == 0


def copied_in(count: int) -> str:
    """``about 10.0 s at 100.0 MiB/s``"""
    return f"about {human_seconds(count / COPY_RATE)} at {human_bytes(COPY_RATE)}/s"


@dataclass(frozen=True)
class Nightly:
    """What retention copies in a night in which the oldest point of each VM goes."""

    vms: int
    """Of how many VMs that point is a full that others are backed by."""
    bytes: int


def nightly(vms: Iterable[VmDirectory]) -> Nightly:
    found = [size for vm in vms if (size := _oldest_fulls(vm))]
    return Nightly(len(found), sum(found))


def _oldest_fulls(vm: VmDirectory) -> int:
    """Bytes of the images of the VM's oldest point that others are backed by."""
    if not vm.entries:
        return 0
    oldest, *newer = vm.entries
    backing = {disk.key for entry in newer for disk in entry.manifest.disks if disk.parent == oldest.point}
    fulls = [disk for disk in oldest.manifest.disks if disk.parent is None and disk.key in backing]
    return sum(vm.stored.get(posixpath.join(oldest.path, disk.image), 0) for disk in fulls)


def unshared(host: Host, root: str) -> str:
    """Why pruning copies there, in words; empty where files may share blocks, or nobody can tell."""
    kind, *more = _kind(host, root)
    if kind in ("", *_CLONES) and "reflink=0" not in more:
        return ""
    called = {"ext2/ext3": "ext4", "xfs": "this XFS, which was made without reflink,"}.get(kind, kind)
    return (
        f"files on {called} cannot share blocks: each time retention deletes the full that a chain begins "
        "with, its next point takes a copy of it; btrfs, and XFS with reflink, copy nothing"
    )


def told(found: Nightly) -> str:
    """What that comes to in a night, in words."""
    if not found.vms:
        return "no chain here begins with a full that others are backed by yet"
    return (
        f"a night in which the oldest point of each VM goes copies {human_bytes(found.bytes)}, of "
        f"{counted(found.vms, 'VM')}, {copied_in(found.bytes)}"
    )
