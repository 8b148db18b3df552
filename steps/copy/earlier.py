"""What the target is known to hold from an earlier moment of the disk: it saves the write where the bytes are
the same."""

from __future__ import annotations

from collections.abc import Iterable

from steps.copy.digests import ENTRY, Digests
from steps.copy.extents import BLOCK
from steps.copy.ledger import Flushed


class Earlier:
    """`digests` is of the disk's capacity and takes the entries; what is recorded later counts."""

    def __init__(self, digests: Digests, ranges: Iterable[Flushed]) -> None:
        self._digests = digests
        self._known = bytearray(-(-digests.size // ENTRY // 8) + 1)
        for one in ranges:
            blocks = -(-one.length // BLOCK)
            digests.put(one.offset, one.digests or bytes(blocks * ENTRY))
            for block in range(one.offset // BLOCK, one.offset // BLOCK + blocks):
                self._known[block >> 3] |= 1 << (block & 7)

    @classmethod
    def whole(cls, digests: Digests) -> Earlier:
        """Every block is known, by `digests` as they are."""
        earlier = cls(digests, ())
        earlier._known = bytearray(b"\xff" * len(earlier._known))
        return earlier

    def holds(self, offset: int, digest: bytes) -> bool:
        """Whether the target is known to have a block of this digest at `offset`."""
        block = offset // BLOCK
        if not self._known[block >> 3] >> (block & 7) & 1:
            return False
        return self._digests.expected(offset) == digest
