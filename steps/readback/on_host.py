"""Digests of an image's blocks that its own host makes, by stock tools: only the digests travel."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import secrets
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from runner.base.errors import CommandError, SendenseError
from runner.base.units import HOUR, MINUTE, human_seconds
from runner.events.check_results import Observation, good, noted
from runner.hosts.files import NoSpaceError
from runner.hosts.host import Host
from runner.hosts.script import load
from runner.hosts.supervisor import NoRoomError
from runner.step.context import Context
from runner.step.tools import Program, ToolMissing
from steps.copy.digests import digest_of
from steps.copy.extents import BLOCK
from steps.nbd.exporter import Exporter
from steps.qemu import img
from steps.qemu.nodes import Nodes, in_json, served_in_json
from steps.readback.image import ImageAtRest

B3SUM = Program(
    program="b3sum",
    asks=("b3sum", "--version"),
    answers=r"^b3sum (\d+\.\d+\S*)",
    minimum=(1, 0),
    package="b3sum",
    purpose="digests that a repository host makes of its own images",
)

_MAPS = (5, 1)
"""`qemu-img map` of a part of an image (ChangeLog/5.1: --start-offset, --max-length)."""

WINDOW = 32
"""Blocks that are read at a time (569 MiB of data: 2.3 CPU seconds with 64, 2.7 with 16, 3.1 with 8: a
process of qemu-img takes 30 ms). They may lie in memory, and so may those of the other disks of a run."""

BATCH = 4
"""Windows for one command there: a command costs some round trips."""

SIDE_BY_SIDE = 2
"""Commands at once: while one reads, the other one digests."""

ROOM = 4 * SIDE_BY_SIDE * 2 * WINDOW * BLOCK
"""A window lies there twice while it is split. The room is looked at, not reserved: so it is four times that,
for the disks that begin at the same moment."""

STALL = MINUTE
"""Seconds without a sign of progress: qemu-img tells each hundredth of a window that it read, b3sum each
digest. A hundredth takes 3 s at 100 KiB/s: what is slower than a twentieth of that hangs."""

CLIENTS = SIDE_BY_SIDE * WINDOW
"""Connections to the image's server at once: qemu-img makes one for each run of blocks."""

T = TypeVar("T")

_DIGEST = load("steps/readback/scripts/digest-blocks.sh")
_ZERO_RUNS = load("steps/readback/scripts/zero-runs.sh")
_LINE = re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"(\d+) (\d+)")
_PROGRESS = re.compile(r" *\(\d+\.\d\d/100%\)\r?")
"""As `qemu-img convert -p` prints it."""
_MAP_TIMEOUT = 10 * MINUTE
_LONGEST = HOUR
"""Seconds for the windows of one command, however slowly they come."""
_ENOSPC = os.strerror(errno.ENOSPC)
"""As programs print it in the locale that they get, see `Host.run`."""


class ToolsError(SendenseError):
    """`why`: in words, of the host's tools."""

    def __init__(self, host: Host, why: str) -> None:
        super().__init__(
            f"the digests that qemu-img and b3sum make on host {host.name} cannot be used: {why}"
        )


class StalledError(SendenseError):
    transient = True

    def __init__(self, host: Host, image: ImageAtRest, seconds: float) -> None:
        super().__init__(
            f"the {image.name} is read by host {host.name} itself, and nothing came in "
            f"{human_seconds(seconds)}: look at the storage under {posixpath.dirname(image.path)}"
        )


@dataclass(frozen=True)
class ProvenTools:
    """A host's, which made the digests of random blocks. `directory`: room there for what they read;
    `words`: what they are."""

    host: Host
    directory: str
    words: str


@contextmanager
def proven_tools(ctx: Context, host: Host) -> Iterator[ProvenTools]:
    """The room is theirs for as long as the block. Raises ToolMissing, ToolsError, StalledError, NoRoomError,
    CommandError, HostError, Interrupted."""
    words = f"b3sum {B3SUM.require(ctx, host)} and qemu-img {img.QEMU_IMG.require_newer(ctx, host, _MAPS)}"
    with host.tempdir(room=ROOM) as directory:
        _prove(host, directory)
        yield ProvenTools(host, directory, words)


class HostDigests:
    """Of `image`, by the tools of its host. `served`: the image on that host, read-only, for `CLIENTS`
    connections more than others make."""

    def __init__(self, tools: ProvenTools, image: ImageAtRest, served: Exporter) -> None:
        self.tools = tools.words
        self._host = tools.host
        self._image = image
        self._directory = tools.directory
        self._nodes = (
            in_json(image.opens, direct=not served.cached),
            served_in_json(served.at, served.export),
        )

    def digests(self, blocks: Iterable[int]) -> Generator[tuple[int, bytes], None, None]:
        """Each of the blocks (offsets, in order) with its digest. Raises ToolsError, StalledError,
        NoRoomError, HostError, Interrupted. To be closed."""
        batches = _chunks(_chunks(iter(blocks), WINDOW), BATCH)
        running: deque[tuple[Sequence[Sequence[int]], Future[list[bytes]]]] = deque()
        with ThreadPoolExecutor(SIDE_BY_SIDE, "digests") as pool:
            for batch in batches:
                running.append((batch, pool.submit(self._digest, batch)))
                if len(running) == SIDE_BY_SIDE:
                    yield from _paired(*running.popleft())
            while running:
                yield from _paired(*running.popleft())

    def zeroes(self, start: int, end: int) -> list[tuple[int, int]]:
        """The runs of blocks (first offset, end; whole blocks) in [start, end) that read as zero by the
        image's tables, in order. Raises ToolsError, StalledError, HostError, Interrupted."""
        argv = _ZERO_RUNS.argv(str(BLOCK), self._nodes[0], str(start), str(end))
        try:
            done = self._host.run(argv, timeout=_MAP_TIMEOUT, ok=None)
        except CommandError as error:
            raise StalledError(self._host, self._image, _MAP_TIMEOUT) from error
        *lines, last = done.stdout.decode(errors="replace").splitlines() or [""]
        found = [_RUN.fullmatch(line) for line in lines]
        if done.exit_code or last != f"end {end}" or None in found:
            raise ToolsError(self._host, f"`qemu-img map` of {self._image.path}: {_said(done.stderr)}")
        runs = ((int(one[1]), int(one[1]) + int(one[2])) for one in found if one is not None)
        return [(first * BLOCK, min(last * BLOCK, self._image.capacity)) for first, last in runs]

    def _digest(self, windows: Sequence[Sequence[int]]) -> list[bytes]:
        asked = "".join(f"{self._line(window)}\n" for window in windows)
        return _run(self._host, self._image, self._directory, self._nodes, asked, sum(map(len, windows)))

    def _line(self, window: Sequence[int]) -> str:
        runs: list[list[int]] = []
        for block in window:
            length = min(BLOCK, self._image.capacity - block)
            if runs and sum(runs[-1]) == block:
                runs[-1][1] += length
            else:
                runs.append([block, length])
        return " ".join((self._from(window, runs), *(f"{offset} {length}" for offset, length in runs)))

    def _from(self, window: Sequence[int], runs: Sequence[Sequence[int]]) -> str:
        # qemu-img opens the whole chain for each run, half a millisecond of CPU an image. The server has it
        # open, and costs a connection for each run and 0.3 ms for each MiB that goes through its socket: 1216
        # blocks anywhere take 1.7 CPU seconds from two files and 1.6 from their server, from 31 files 19.8
        # and 1.6.
        opens = len(runs) * (self._image.depth - 1)
        return "server" if 2 * opens > 3 * len(window) else "files"


def examine(ctx: Context, host: Host) -> Observation:
    """Whether `host` can digest its images itself; a note at most, since they can be read over the wire."""
    subject, looked_at = f"host {host.name}", "b3sum and qemu-img, to verify its images without the wire"
    try:
        return good(
            subject,
            looked_at,
            f"b3sum {B3SUM.require(ctx, host)}, qemu-img {img.QEMU_IMG.require_newer(ctx, host, _MAPS)}",
        )
    except ToolMissing as missing:
        remedy = "until then each byte that is verified is sent over the wire"
        return noted(subject, looked_at, missing.message, remedy)


def _prove(host: Host, directory: str) -> None:
    """The whole way, with random blocks whose digests are known here: tools that lack what is needed, or that
    print anything else, show it."""
    sample = secrets.token_bytes(BLOCK + img.SECTOR)
    path = posixpath.join(directory, "known")
    try:
        host.write(path, sample)
    except NoSpaceError as error:
        raise _no_room(host, directory) from error
    known = ImageAtRest(0, "random blocks sent there", path, Nodes((path,), "raw"), len(sample), "")
    node = in_json(known.opens, direct=False)
    if _run(host, known, directory, (node, ""), f"files 0 {len(sample)}\n", 2) != [
        digest_of(sample[:BLOCK]),
        digest_of(sample[BLOCK:]),
    ]:
        raise ToolsError(host, "b3sum printed another digest than that of random blocks that were sent there")
    host.remove(path)


def _run(
    host: Host, image: ImageAtRest, directory: str, nodes: tuple[str, str], asked: str, blocks: int
) -> list[bytes]:
    argv = _DIGEST.argv(directory, str(BLOCK), *nodes)
    try:
        done = host.run(argv, stdin=asked.encode(), timeout=_LONGEST, silence=STALL, ok=None)
    except CommandError as error:
        raise StalledError(host, image, STALL) from error
    lines = _PROGRESS.sub("", done.stdout.decode(errors="replace")).split()
    if done.exit_code:
        raise _no_room(host, directory) if _ENOSPC in done.stderr else ToolsError(host, _said(done.stderr))
    if len(lines) != blocks or not all(map(_LINE.fullmatch, lines)):
        raise ToolsError(host, f"b3sum printed {len(lines)} lines for {blocks} blocks, or no digests")
    return [bytes.fromhex(line) for line in lines]


def _no_room(host: Host, directory: str) -> NoRoomError:
    return NoRoomError(
        f"{host.name} has no room left in {posixpath.dirname(directory)}, where it digests the blocks of its "
        "images: make room there, or verify with `readback: wire`"
    )


def _said(stderr: str) -> str:
    return " ".join(stderr.split()) or "it printed nothing"


def _paired(windows: Sequence[Sequence[int]], made: Future[list[bytes]]) -> Iterator[tuple[int, bytes]]:
    blocks = (block for window in windows for block in window)
    return zip(blocks, made.result(), strict=True)


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk
