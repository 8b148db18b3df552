"""What copied blocks look like: a few are compressed, to tell text and tables from what is encrypted."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from steps.copy.extents import PART

ALL_OF = 64
"""Blocks of content that are looked at one by one; of the next 64 every second, of the next 128 every fourth,
and so on: a terabyte takes 512 looks, and a small change enough of them."""

RANDOM = 0.95
"""Deflate, at its fastest, leaves at least this share of what is encrypted or compressed already (of random
bytes 1.0003), and of text, tables and programs a fifth to three quarters."""


@dataclass
class Sampling:
    """Of one copy, over all executions of it."""

    seen: int = 0
    """Blocks with content."""
    blocks: int = 0
    """Those that the looks stand for: later ones for more."""
    incompressible: int = 0

    def checked(self) -> Sampling:
        """Raises ValueError for numbers that no sample has."""
        numbers = (self.seen, self.blocks, self.incompressible)
        if any(type(one) is not int or one < 0 for one in numbers) or self.incompressible > self.blocks:
            raise ValueError(f"{numbers} is no sample")
        return self

    def take(self, block: memoryview, parts: int) -> None:
        """`parts`: the mask of those that have content, of which the first is looked at."""
        number = self.seen
        self.seen += 1
        stands_for = 1 << (number // ALL_OF).bit_length()
        if number % stands_for:
            return
        self.blocks += stands_for
        first = (parts & -parts).bit_length() - 1
        part = block[first * PART : (first + 1) * PART]
        if len(zlib.compress(part, 1)) >= RANDOM * len(part):
            self.incompressible += stands_for
