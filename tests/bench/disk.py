"""The disk that is copied: 1 GiB, half of it random bytes and half holes, in runs of 0.25 to 16 MiB; always the same."""

from __future__ import annotations

import random
from pathlib import Path

from runner.base.units import GiB, KiB, MiB

SIZE = GiB
SHORTEST, LONGEST, STEP = 256 * KiB, 16 * MiB, 4 * KiB
SEED = 2000


def make_disk(path: Path) -> int:
    """Writes it as a sparse raw file; returns its bytes of data."""
    chance = random.Random(SEED)
    data = at = 0
    with path.open("wb") as file:
        file.truncate(SIZE)
        while at < SIZE:
            length = min(chance.randrange(SHORTEST, LONGEST + STEP, STEP), SIZE - at)
            file.seek(at)
            file.write(chance.randbytes(length))
            data += length
            at += length + chance.randrange(SHORTEST, LONGEST + STEP, STEP)
    return data
