"""What QEMU counts of a machine's disks. (QEMU's qapi: block-core.json, BlockDeviceStats; documented)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True)
class DiskCounters:
    node: str
    """``disk-2000``"""
    written: int
    """Bytes, by the guest."""
    failed_reads: int
    failed_writes: int


def parsed(blockstats: JsonValue) -> tuple[DiskCounters, ...]:
    """Of the disks alone, from what `query-blockstats` answers."""
    return tuple(_parsed(blockstats))


def _parsed(blockstats: JsonValue) -> Iterator[DiskCounters]:
    for one in blockstats if isinstance(blockstats, list) else ():
        if not isinstance(one, dict) or not isinstance(stats := one.get("stats"), dict):
            continue
        if (node := str(one.get("node-name"))).startswith("disk-"):
            names = ("wr_bytes", "failed_rd_operations", "failed_wr_operations")
            yield DiskCounters(node, *(_count(stats.get(name)) for name in names))


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
