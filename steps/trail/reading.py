"""Reading a log: its entries, and what is missing or changed in it, by the digests that its lines have of
each other."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from runner.base.errors import StateError
from runner.base.units import MiB, counted
from runner.hosts.host import Host
from steps.repository import layout
from steps.trail.entry import Entry, Head

_LONGEST = 4 * MiB
"""Bytes of a line: a prune of ten thousand points of one VM names them in 300 KB."""


@dataclass
class Trail:
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is missing, changed or no entry, in sentences without a full stop."""
    digests: dict[int, str] = field(default_factory=dict)
    """Of each entry's line, by its number."""

    @property
    def head(self) -> Head:
        last = self.entries[-1].seq if self.entries else 0
        return Head(seq=last, digest=self.digests.get(last, ""))

    def lacks(self, head: Head) -> str | None:
        """Why the log is not the one that had `head` once; None if it is, whatever came since."""
        found = self.digests.get(head.seq)
        if found == head.digest:
            return None
        if found is None and head.seq > self.head.seq:
            return f"the log ends with entry {self.head.seq}, and had entry {head.seq} once: its end is gone"
        return f"entry {head.seq} of the log is {'gone' if found is None else 'not the one that it was'}"


def read(host: Host, root: str) -> Trail:
    """Of the repository at `root`; empty where it has no log. Raises StateError, HostError."""
    trail, before, last = Trail(), "", 0
    for number, line in enumerate(_lines(host, posixpath.join(root, layout.LOG)), 1):
        entry = _entry(line)
        if entry is None:
            trail.problems.append(
                f"line {number} of the log is no entry: its writer was killed, or the line was changed"
            )
        else:
            if (why := _gap(entry, last, before)) is not None:
                trail.problems.append(why)
            last = entry.seq
            trail.entries.append(entry)
        before = hashlib.sha256(line).hexdigest()
        if entry is not None:
            trail.digests[entry.seq] = before
    return trail


def _gap(entry: Entry, last: int, before: str) -> str | None:
    """Why `entry` does not follow on the entry `last` and on a line with the digest `before`."""
    if entry.seq != last + 1:
        missing = entry.seq - last - 1
        if missing < 0:
            return f"entry {entry.seq} of the log comes after entry {last}"
        first = f"entry {last + 1}" if missing == 1 else f"entries {last + 1} to {entry.seq - 1}"
        return f"{first} of the log {'is' if missing == 1 else 'are'} missing"
    if entry.prev != before:
        what = "its first entry" if not before else f"what is before entry {entry.seq}"
        return f"{what} in the log was changed, or something was taken out there"
    return None


def _entry(line: bytes) -> Entry | None:
    try:
        return Entry.model_validate_json(line) if line.endswith(b"\n") else None
    except ValidationError:
        return None


def _lines(host: Host, path: str) -> Iterator[bytes]:
    """With their newlines; the last one may have none. Raises StateError."""
    rest = b""
    try:
        for chunk in host.read_chunks(path):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line + b"\n" for line in lines)
            if len(rest) > _LONGEST:
                raise StateError(
                    f"{path} on {host.name} has a line of more than {counted(_LONGEST, 'byte')}: it is no log"
                )
    except FileNotFoundError:
        return
    if rest:
        yield rest
