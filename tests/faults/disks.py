"""The disks of the VM whose backup is killed: 600 MiB of them in `make torture`, fewer where every change is tested."""

from __future__ import annotations

import os

from runner.base.units import MiB
from tests.e2e.site import disk, inventory

TORTURE = "TORTURE" in os.environ
SEED = int(os.environ.get("SEED", "1"))
KEYS = (2000, 2001, 2002)
SIZES = (400, 150, 50) if TORTURE else (48, 16, 5)
"""MiB."""
WINDOW = 32 * MiB if TORTURE else 4 * MiB
"""What a kill may make us read twice, of each disk: small, so that many FLUSHes are killed between."""


def _disk(number: int, key: int, size: int) -> dict[str, object]:
    """The pattern has data, holes and odd ends; the piece behind it makes the copy long enough to be killed in."""
    made = disk(key, f"{size} MiB", number, number + 1)
    piece = {"offset": f"{size // 4} MiB", "length": f"{size // 2} MiB", "seed": key}
    return made | {"content": made["content"] | {"pieces": [piece]}}


INVENTORY = inventory({"name": "vm", "disks": [_disk(n, key, SIZES[n]) for n, key in enumerate(KEYS)]})
