"""The ledger of one disk's copy: the ranges that are safe in the target, in a file that only grows.

A head line says what is copied (`LedgerHead`), each further line what one FLUSH made safe of it, and what all
that was written by then looks like (`Sampling`). When the moment that is read had to be replaced by another
one, a new head follows: what was safe of the old moment is then only known to be in the target. A line is
``<BLAKE3 of the rest, 16 hex digits> <JSON>``, written by one append that is synced before the next: a crash
can tear the last line only. A torn last line is dropped; a line that is damaged elsewhere means that the file
cannot be trusted.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from blake3 import blake3

from runner.base.errors import StateError
from steps.copy.digests import ENTRY
from steps.copy.extents import BLOCK
from steps.copy.sampling import Sampling

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Flushed:
    """Whole blocks (the disk's last one may be shorter) that are safe in the target. `digests` is empty for a
    run of zeroes, else one entry of the digests file a block."""

    offset: int
    length: int
    digests: bytes

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True)
class LedgerHead:
    """What is copied from where to where: a ledger that says anything else is of another copy."""

    disk_key: int
    capacity: int
    backing_uuid: str
    image: str
    """Host and path of the image."""
    snapshot: str
    """Which moment is read: nothing else may ever be called so."""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Segment:
    """What became safe under one head, in the order in which it did."""

    head: LedgerHead
    ranges: tuple[Flushed, ...]


@dataclass(frozen=True)
class Reading:
    """`intact`: bytes of the file before a torn last line; if it is `torn`, it is to be cut there before it
    grows again."""

    segments: tuple[Segment, ...]
    intact: int
    torn: bool
    sampling: Sampling
    """Of all that was written, whatever the moment: what did not differ is not written again."""


class Ledger:
    """`append` makes bytes durable at the end of the file before it returns."""

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self._append = append

    def begin(self, head: LedgerHead) -> None:
        """What is recorded from now on is of `head`."""
        self._append(head_line(head))

    def record(self, ranges: Iterable[Flushed], sampling: Sampling | None = None) -> None:
        """What one FLUSH made safe, and how the sample stands by then: it may count blocks that no FLUSH made
        safe yet, which a resume copies and counts again."""
        self._append(ranges_line(ranges, sampling))


def head_line(head: LedgerHead) -> bytes:
    return _line(asdict(head))


def ranges_line(ranges: Iterable[Flushed], sampling: Sampling | None = None) -> bytes:
    # In one line, since two of one append may both be torn.
    told: list[object] = [] if sampling is None else [asdict(sampling)]
    told += [[one.offset, one.length, base64.b64encode(one.digests).decode()] for one in ranges]
    return _line(told)


def read_ledger(content: bytes | Iterable[bytes], name: str) -> Reading | None:
    """None if not even the first line is whole. `content` may come in pieces, cut anywhere: what is then held
    of it are the digests alone, 32 MiB for a TiB of disk. Raises StateError, which calls the file `name`."""
    heads: list[LedgerHead] = []
    ranges: list[list[Flushed]] = []
    sampling = Sampling()
    intact = size = 0
    damaged = False
    for number, line in enumerate(_lines((content,) if isinstance(content, bytes) else content), 1):
        size += len(line)
        # A kill tears the last line only; a bad line with another behind it was harmed on the disk.
        if damaged:
            raise _damage(number - 1, name)
        value = _value(line[:-1]) if line.endswith(b"\n") else None
        if value is None:
            damaged = True
            continue
        intact = size
        if number == 1 or isinstance(value, dict):
            heads.append(_head(value, name))
            ranges.append([])
        else:
            if isinstance(value, list) and value and isinstance(value[0], dict):
                sampling = _sampling(value.pop(0), number, name)
            ranges[-1].extend(_ranges(value, heads[-1], number, name))
    if not heads:
        return None
    segments = tuple(Segment(head, tuple(ones)) for head, ones in zip(heads, ranges, strict=True))
    return Reading(segments, intact, torn=damaged, sampling=sampling)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """With their newlines, which the last one may lack."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _damage(number: int, name: str) -> StateError:
    return StateError(
        f"line {number} of the ledger {name} is damaged: remove the file to copy the disk from the start"
    )


def _line(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    return b"%s %s\n" % (_checksum(text), text)


def _checksum(text: bytes) -> bytes:
    return str(blake3(text).hexdigest(length=8)).encode()


def _value(line: bytes) -> object | None:
    """What a line says, None if its checksum is wrong."""
    checksum, _, text = line.partition(b" ")
    return json.loads(text) if checksum == _checksum(text) else None


def _head(value: object, name: str) -> LedgerHead:
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(value, dict) or version != SCHEMA_VERSION:
        raise StateError(
            f"the ledger {name} has schema version {version}, and this sendense reads {SCHEMA_VERSION}: "
            "use the version that wrote it, or remove the file to copy the disk from the start"
        )
    return LedgerHead(**value)


def _sampling(value: Any, number: int, name: str) -> Sampling:
    try:
        return Sampling(**value).checked()
    except (TypeError, ValueError) as error:
        raise StateError(
            f"line {number} of the ledger {name} says of a sample what cannot be: remove the file"
        ) from error


def _ranges(value: Any, head: LedgerHead, number: int, name: str) -> Iterable[Flushed]:
    try:
        ranges = [
            Flushed(offset, length, base64.b64decode(text, validate=True)) for offset, length, text in value
        ]
        sound = all(_fits(one, head.capacity) for one in ranges)
    except (TypeError, ValueError, binascii.Error):
        sound = False
    if not sound:
        raise StateError(
            f"line {number} of the ledger {name} names ranges that its disk does not have: remove the file"
        )
    return ranges


def _fits(one: Flushed, capacity: int) -> bool:
    blocks = -(-one.length // BLOCK)
    # Half a block cannot be believed: its digest is of the whole, and which half was written is unknown.
    whole = one.offset % BLOCK == 0 and (one.length % BLOCK == 0 or one.end == capacity)
    return whole and one.length > 0 and one.end <= capacity and len(one.digests) in (0, blocks * ENTRY)


def join(ranges: Iterable[Flushed]) -> list[Flushed]:
    """In order of offset; neighbours of the same kind become one."""
    parts: list[list[Flushed]] = []
    for one in sorted(ranges, key=lambda one: one.offset):
        last = parts[-1][-1] if parts else None
        if last is not None and last.end == one.offset and bool(last.digests) == bool(one.digests):
            parts[-1].append(one)
        else:
            parts.append([one])
    return [
        Flushed(run[0].offset, run[-1].end - run[0].offset, b"".join(one.digests for one in run))
        for run in parts
    ]
