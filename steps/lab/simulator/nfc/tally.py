"""Counts and sums what passes."""

from __future__ import annotations

import hashlib

ALGORITHMS = ("sha1", "sha256")
"""Those of a manifest (API reference, HttpNfcLeaseManifestEntryChecksumType); the first one unless asked."""


class Tally:
    def __init__(self, algorithm: str) -> None:
        self.size = 0
        """Bytes."""
        self.algorithm = algorithm
        self._sum = hashlib.new(algorithm)

    def note(self, content: bytes) -> None:
        self.size += len(content)
        self._sum.update(content)

    @property
    def checksum(self) -> str:
        """In hex."""
        return self._sum.hexdigest()
