"""Counts and sums what passes."""

from __future__ import annotations

import hashlib


class Tally:
    def __init__(self) -> None:
        self.size = 0
        """Bytes."""
        self._checksums = {name: hashlib.new(name) for name in ("sha1", "sha256")}

    def note(self, content: bytes) -> None:
        self.size += len(content)
        for checksum in self._checksums.values():
            checksum.update(content)

    def checksums(self) -> dict[str, str]:
        """By algorithm, in hex."""
        return {name: checksum.hexdigest() for name, checksum in self._checksums.items()}
