"""What a port of the guest says: kept as it came, its beginning and its end; and as a person reads it."""

from __future__ import annotations

import re

from runner.base.units import KiB

HEAD = 256 * KiB
"""Bytes that are kept from the beginning: the firmware, the boot loader, how the kernel was started."""

TAIL = 768 * KiB
"""Bytes that are kept from the end: what it said before the verdict."""

RECENT = 64 * KiB
"""Bytes that are kept as text: what is looked for is at the end, or in what came since the last look."""

LONGEST_LINE = 512
"""Characters of a line that are looked into: a hostile one may be made to be slow to match."""

_ESCAPE = re.compile(
    rb"\x1b(?:"
    rb"\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, the cursor's place
    rb"|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)"  # OSC: titles
    rb"|[PX^_][^\x1b]{0,256}\x1b\\"  # DCS and the like
    rb"|[ -/]{1,8}[0-~]"  # character sets
    rb"|[0-OQ-WYZ\\`-~]"  # two characters
    rb")"
)
"""ECMA-48, and what xterm and VT220 add to it."""

_LONGEST_ESCAPE = 300

_UNREADABLE = bytes(byte for byte in range(0x20) if byte not in b"\t\n") + b"\x7f"


class SerialLog:
    """At most HEAD + TAIL bytes of it, and a line that says how much is missing between them."""

    def __init__(self) -> None:
        self.total = 0
        """Bytes that it said."""
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, said: bytes) -> None:
        self.total += len(said)
        room = HEAD - len(self._head)
        self._head += said[:room]
        self._tail += said[room:] if room else said
        if len(self._tail) > 2 * TAIL:  # not at each byte: what is in front of the end is moved each time
            del self._tail[:-TAIL]

    @property
    def content(self) -> bytes:
        cut = self.total - HEAD - TAIL
        if cut <= 0:
            return bytes(self._head + self._tail)
        said = f"\r\n[... {cut} bytes are left out here: the guest said {self.total} bytes ...]\r\n"
        return bytes(self._head) + said.encode() + bytes(self._tail[-TAIL:])


class PlainText:
    """The end of what a port says, without what colours it and moves the cursor: GRUB, systemd and OVMF write
    such sequences between any two characters."""

    def __init__(self) -> None:
        self.recent = b""
        """The last RECENT bytes before the last look, and all that came with it."""
        self.began = 0
        """How many bytes of text came before `recent`."""
        self.changed_at = 0.0
        """When something came, the last time, in seconds since the start."""
        self._unfinished = b""

    def add(self, said: bytes, now: float) -> None:
        """What came since the last look."""
        if not said:
            return
        self.changed_at = now
        said = self._unfinished + said
        end = _end(said)
        self._unfinished = said[end:]
        plain = _ESCAPE.sub(b"", said[:end]) if b"\x1b" in said else said
        plain = plain.replace(b"\r\n", b"\n").replace(b"\r", b"\n").translate(None, _UNREADABLE)
        kept = self.recent[-RECENT:]
        self.began += len(self.recent) - len(kept)
        self.recent = kept + plain

    def find(self, wanted: bytes, since: int) -> int | None:
        """Where `wanted` stands, in bytes from the very beginning; `since`: where to look from, and what was
        looked at before need not be looked at again."""
        found = self.recent.find(wanted, max(0, since - self.began))
        return None if found < 0 else self.began + found

    def line(self, at: int) -> str:
        """The line that goes through that place."""
        at -= self.began
        begin = self.recent.rfind(b"\n", 0, at) + 1
        end = self.recent.find(b"\n", at)
        return self.recent[begin : end if end >= 0 else None].decode(errors="replace")

    @property
    def end(self) -> int:
        return self.began + len(self.recent)

    def lines(self, size: int) -> tuple[str, ...]:
        """Those of the last `size` bytes that are not blank."""
        text = self.recent[-size:].decode(errors="replace")
        return tuple(line[:LONGEST_LINE].rstrip() for line in text.split("\n") if line.strip())


def _end(said: bytes) -> int:
    """Where a sequence begins that `said` has only the beginning of; its length if there is none."""
    last = said.rfind(b"\x1b")
    is_whole = last < 0 or len(said) - last > _LONGEST_ESCAPE or _ESCAPE.match(said, last)
    return len(said) if is_whole else last
