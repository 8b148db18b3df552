"""One image of a restore point rebased onto another image, or made a full, so that its parent can be deleted.

    copy → rebase (→ commit) → compare with the digests → moving.json → rename over → manifest → moving.json
    goes

Killed at any moment, the point reads as before: until the rename its own image is untouched, and after it the
image's own backing name tells what the manifest must say. `finish` resumes from there.

All but the rename and the manifest is beside the point, so that nothing is left in one that root's timer
locks meanwhile. Where it comes between these two, moving.json stays until the lock has ended.
"""

from __future__ import annotations

import posixpath
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from runner.base.errors import CommandError, DifferenceError, Interrupted, SendenseError, StateError
from runner.base.units import HOUR
from runner.base.waiting import until
from runner.hosts.host import Host, remove_temporaries
from runner.step.context import Context
from steps.copy.compare import BlockDifference, Compared, compare
from steps.copy.differing import differing
from steps.copy.digests import ENTRY, Digests
from steps.copy.extents import BLOCK
from steps.nbd.growing_endpoint import GrowingEndpoint
from steps.nbd.image_server import serve
from steps.points import stored
from steps.qemu import img, rebase
from steps.repository import layout, locked, manifest, rebase_journal
from steps.repository.locked import IsLockedError
from steps.repository.manifest import Manifest, PointDisk
from steps.repository.retention import Move
from steps.trail import log
from steps.values.stored_point import DiskImage, StoredDisk

TIMEOUT = 48 * HOUR
"""Of one command: a copy of 62 TiB at 400 MB/s."""

SAMPLE_SHARE, SAMPLE_LEAST, SAMPLE_MOST = 100, 64, 4096
"""Of the blocks that were not written one in a hundred is compared, as when an incremental is verified."""


class RebuiltDiffersError(DifferenceError):
    def __init__(self, host: Host, move: Move, difference: BlockDifference) -> None:
        super().__init__(
            f"disk {move.key} of {move.point}, rebuilt without {move.parent}, differs at offset "
            f"{difference.offset} on {host.name}: BLAKE3 {difference.expected} was read at the source, "
            f"{difference.found} is read back; nothing was replaced or deleted: `sendense verify` tells "
            f"whether {move.point} itself is damaged"
        )


class MovedMeanwhileError(SendenseError):
    def __init__(self, path: str, host: Host, found: str | None) -> None:
        super().__init__(
            f"{path} on {host.name} is backed by {found or 'nothing'}, which is neither what its manifest "
            "says nor what a rebuilt image would have: nothing was changed; compare manifest and image by "
            "hand"
        )


@dataclass(frozen=True)
class _Found:
    """A rebuilt image is as the digests say: `blocks` are the offsets of those that were compared, None for
    every one."""

    blocks: list[int] | None
    cached: bool
    at: datetime


@dataclass(frozen=True)
class Rebuilding:
    """Where: `root` of the repository, `directory` of the VM. `shares`: copies share their blocks
    (reflinks)."""

    ctx: Context
    host: Host
    root: str
    directory: str
    shares: bool

    def point(self, name: str) -> str:
        return posixpath.join(self.directory, name)

    def put(self, move: Move) -> None:
        """Carries out one move. Raises RebuiltDiffersError, ChainError, CommandError, NoSpaceError,
        IsLockedError, Interrupted."""
        ctx, host = self.ctx, self.host
        point = self.point(move.point)
        locked.refuse(host, point)
        if rebase_journal.read(host, point) is not None:
            # A lock that has ended since kept the manifest from saying so; what is due follows from that.
            self.finish(move.point)
            return
        (disk,) = stored.read(host, self.root, point, (move.key,)).disks
        below = _below(disk.image, None if move.onto is None else self.point(move.onto))
        aside = layout.rebuilt(point)
        new = posixpath.join(aside, posixpath.basename(disk.image.path))
        # Always a copy: until the rename the point reads as before, whenever this is killed.
        host.mkdir(aside)
        try:
            written = self._overlay(move, disk, new) if move.onto is not None else self._full(move, disk, new)
            host.sync(new)
            locked.refuse(host, point)  # copying took its time, and comparing would be for nothing
            found = self._compare(
                move, disk, DiskImage(**{**dict(disk.image), "images": (new, *below)}), written
            )
            changed = _rebuilt(self._recorded(point, move.key), move.onto, written, found)
            ctx.check_stop()
            locked.refuse(host, point)
        except BaseException:
            host.remove(aside, recursive=True)
            raise
        log.note(ctx, host, self.root, "rebase", vm=self.directory, points=(move.point,), text=_words(move))
        self._replace(new, disk.image.path, changed)

    def finish(self, name: str, *, beside: bool = True) -> None:
        """What a killed one left of the point `name`; `beside`: whether there is anything but in the point.
        Raises MovedMeanwhileError, StateError."""
        path, aside = self.point(name), layout.rebuilt(self.point(name))
        # Earlier versions left it in the point.
        inside = [
            one for one in self.host.listdir(path) if one.endswith(layout.REBUILT) or one == layout.MOVING
        ]
        if not inside and not beside:
            return
        held = locked.is_held(self.host, path)
        if inside and held:
            # It reads as before all the same, and others of the VM need not wait for root's timer.
            self.ctx.warn(
                f"{path} is locked: {', '.join(inside)}, which a killed prune left, stays until it is not"
            )
        for one in self.host.listdir(aside):
            if one != layout.MOVING:  # but for room it is nothing
                self.host.remove(posixpath.join(aside, one))
        if (now := rebase_journal.read(self.host, path)) is not None:
            disk = self._recorded(path, now.disk.key)
            image = posixpath.join(path, disk.image)
            found = img.info(self.host, image).backing_file
            # The image itself tells on which side of the rename the kill came.
            if found == now.disk.backing:
                if held:
                    return  # the note says what the manifest cannot say yet
                self._record(path, now.disk)
            elif found != disk.backing:
                raise MovedMeanwhileError(image, self.host, found)
        if not held:
            for one in inside:
                self.host.remove(posixpath.join(path, one))
            remove_temporaries(self.host, path)  # of a manifest that root's timer came between
        rebase_journal.remove(self.host, path)
        self.host.remove(aside, recursive=True)

    def _overlay(self, move: Move, disk: StoredDisk, new: str) -> list[tuple[int, int]]:
        """What the new image itself holds."""
        self._run(rebase.copy_argv(disk.image.path, new))
        self._run(rebase.rebase_argv(new, _backing(move.onto, move.key) or ""))
        self._expect(new, _backing(move.onto, move.key))
        return rebase.own(self.host, new)

    def _full(self, move: Move, disk: StoredDisk, new: str) -> list[tuple[int, int]] | None:
        """What was written into the copy of the full; None if all of it was."""
        top = f"{new.removesuffix(layout.QCOW2)}.top{layout.QCOW2}"
        try:
            self._run(rebase.copy_argv(disk.image.images[-1], new))
            self._run(rebase.copy_argv(disk.image.path, top))
            lies_on = layout.backing(_full_of(disk), move.key)
            if len(disk.image.images) > 2:
                self._run(rebase.rebase_argv(top, lies_on))
            self._expect(top, lies_on)
            written = rebase.own(self.host, top)
            self._run(rebase.commit_argv(top, new))
            self._expect(new, None)
        finally:
            self.host.remove(top)
        # Without shared blocks the copy itself may have gone wrong anywhere: every block is compared.
        return written if self.shares else None

    def _expect(self, path: str, backing: str | None) -> None:
        if (found := img.info(self.host, path).backing_file) != backing:
            raise MovedMeanwhileError(path, self.host, found)

    def _run(self, argv: Sequence[str]) -> None:
        with self.ctx.scope():
            child = self.ctx.start(self.host, argv)

            def failure(code: int | None = None) -> CommandError:
                return CommandError(self.host.name, tuple(argv), code, child.stderr())

            def has_ended() -> bool:
                if code := child.poll():
                    raise failure(code)
                return code == 0

            until(has_ended, stop=self.ctx.stop, timeout=TIMEOUT, late=failure)

    def _compare(
        self, move: Move, disk: StoredDisk, image: DiskImage, written: list[tuple[int, int]] | None
    ) -> _Found:
        ctx = self.ctx
        with ctx.scope(), self._digests(move.point, move.key) as digests:
            blocks = None if written is None else sorted(self._suspects(move, disk, digests, written))
            served = serve(ctx, self.host, image, "read-only", connections=2)
            name = f"rebuilt disk {move.key} of {move.point}"
            with GrowingEndpoint(ctx, served.uris, served.wire, name) as endpoint:

                def progressed(now: Compared) -> None:
                    ctx.progress(f"{move.point} disk {move.key}", "compare", **asdict(now))
                    endpoint.moved(now.read, now.total - now.done)

                try:
                    compare(endpoint, digests, stop=ctx.stop, blocks=blocks, on_progress=progressed)
                except BlockDifference as difference:
                    raise RebuiltDiffersError(self.host, move, difference) from difference
        return _Found(blocks, served.cached, datetime.now(UTC))

    def _suspects(
        self, move: Move, disk: StoredDisk, digests: Digests, written: list[tuple[int, int]]
    ) -> set[int]:
        """Offsets of the blocks that may be wrong: those that were written, those that are not as in the
        image below, and a sample of the others."""
        with self._digests(move.onto or _full_of(disk), move.key) as below:
            found = {*_blocks_of(written), *differing(digests, below)}
        total = digests.size // ENTRY
        wanted = min(total, max(SAMPLE_LEAST, min(SAMPLE_MOST, total // SAMPLE_SHARE)))
        # Another run looks at other blocks; the same run, resumed, at the same.
        seed = f"{self.ctx.run.id} {move.point} {move.key}"
        return found | {block * BLOCK for block in random.Random(seed).sample(range(total), wanted)}

    @contextmanager
    def _digests(self, point: str, key: int) -> Iterator[Digests]:
        """Proven to be those that the point's manifest names."""
        local = self.ctx.scratch / f"{point}-{key}-{secrets.token_hex(4)}"
        (disk,) = stored.read(self.host, self.root, self.point(point), (key,)).disks
        with stored.receive_digests(self.host, disk, local) as digests:
            try:
                yield digests
            finally:
                local.unlink()

    def _replace(self, new: str, image: str, changed: PointDisk) -> None:
        path = posixpath.dirname(image)
        # The journal first: between the rename and the manifest, the image is not what the manifest says.
        rebase_journal.write(self.host, path, changed)
        try:
            self.host.rename(new, image, replace=True)
            self._record(path, changed)
        except Interrupted:
            raise
        except SendenseError as error:
            if not locked.came_meanwhile(self.host, path):
                raise
            self.finish(posixpath.basename(path))
            raise IsLockedError(path, self.host.name) from error
        rebase_journal.remove(self.host, path)
        self.host.remove(layout.rebuilt(path), recursive=True)

    def _recorded(self, path: str, key: int) -> PointDisk:
        """As the manifest has it."""
        disk = self._manifest(path).disk(key)
        if disk is None:
            raise StateError(f"{path} on {self.host.name} has no disk {key}, which {layout.MOVING} names")
        return disk

    def _record(self, path: str, changed: PointDisk) -> None:
        made = self._manifest(path)
        disks = tuple(changed if disk.key == changed.key else disk for disk in made.disks)
        content = manifest.dump(made.model_copy(update={"disks": disks}))
        self.host.write(posixpath.join(path, layout.MANIFEST), content)

    def _manifest(self, path: str) -> Manifest:
        made = manifest.read(self.host, path)
        if made is None:
            raise StateError(f"{path} on {self.host.name} no longer has a {layout.MANIFEST}")
        return made


def _below(image: DiskImage, onto: str | None) -> tuple[str, ...]:
    """The images below the one in the point `onto`, itself first; they are in the chain already."""
    below = [posixpath.dirname(path) for path in image.images]
    return () if onto is None else image.images[below.index(onto) :]


def _words(move: Move) -> str:
    now = "becomes a full" if move.onto is None else f"is put on {move.onto}"
    return f"disk {move.key}, backed by {move.parent}, {now}"


def _rebuilt(
    disk: PointDisk, onto: str | None, written: list[tuple[int, int]] | None, found: _Found
) -> PointDisk:
    """What the manifest says of a disk whose image is another one now; of how it was read at the source all
    stays. `written` is what the image holds itself, if it is not a full."""
    own = None if onto is None else set(_blocks_of(written or ()))
    compared = range(0, disk.capacity, BLOCK) if found.blocks is None else found.blocks
    return disk.model_copy(
        update={
            "parent": onto,
            "by": disk.by if own is not None else "all",
            "reason": f"{'made a full' if onto is None else f'rebased onto {onto}'} by a prune; it was "
            f"backed by {disk.parent}",
            "changed": None,  # what tracking named were the changes since the parent that it had
            "written": disk.blocks if own is None else len(own),
            "compared": len(compared),
            "inherited": 0 if own is None else sum(block not in own for block in compared),
            "cached": found.cached,
            "readback": "wire",
            "verified": found.at,
        }
    )


def _full_of(disk: StoredDisk) -> str:
    """The point with the full that it is read down to now: a move before may have made one of what a plan saw
    are backed by another."""
    return posixpath.basename(posixpath.dirname(disk.image.images[-1]))


def _backing(point: str | None, key: int) -> str | None:
    return None if point is None else layout.backing(point, key)


def _blocks_of(written: Iterable[tuple[int, int]]) -> Iterator[int]:
    for start, length in written:
        yield from range(start // BLOCK * BLOCK, start + length, BLOCK)
