"""A disk of a VM that an export lease gives, compared with a point's digests while it comes in.

A VM has one lease at a time, which locks it (API reference, VirtualMachine.ExportVm): its disks take turns.
What a stream leaves out reads as zeroes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.base.waiting import LOOK, until
from runner.step.context import Context
from steps.copy.compare import BlockDifference, Compared, Comparison
from steps.copy.digests import Digests, digest_of
from steps.copy.endpoint import WrongEndpoint
from steps.copy.extents import BLOCK
from steps.restore.point_copy import first_difference
from steps.stream.reader import StreamReader
from steps.values.created_vm import MarkedVm
from steps.vsphere.client import Client
from steps.vsphere.export_lease import exporting

_PROGRESS_INTERVAL = 0.5


def compare_exported(
    ctx: Context,
    client: Client,
    vm: MarkedVm,
    place: str,
    digests: Digests,
    name: str,
    on_progress: Callable[[Compared], None],
) -> Comparison:
    """All blocks of the disk at `place` (see `hardware.place_in_lease`). Raises BlockDifference for the first
    difference, StreamDamagedError, LeaseEnded, Unreachable, VSphereError, Interrupted."""
    with _turn(ctx, client, vm), exporting(client, vm.moref, vm.name) as lease, lease.reading(place) as read:
        reader = StreamReader(read, name)
        if reader.capacity != digests.capacity:
            raise WrongEndpoint(
                f"the {name} has {reader.capacity} bytes but the digests are of {digests.capacity}"
            )
        with Digests.create(ctx.scratch / "exported", digests.capacity) as found:
            blocks = _digest(reader, found, on_progress, lease.show)
            lease.complete()
            if found.digest() != digests.digest():
                raise _difference(digests, found, name)
    every = -(-digests.capacity // BLOCK)
    return Comparison(blocks=every, compared=every, read=blocks)


@contextmanager
def _turn(ctx: Context, client: Client, vm: MarkedVm) -> Iterator[None]:
    """Raises Interrupted."""
    lock = ctx.once(("export lease of", client.name, vm.moref), threading.Lock)
    until(lambda: lock.acquire(timeout=LOOK), stop=ctx.stop, timeout=math.inf, pause=0)
    try:
        yield
    finally:
        lock.release()


def _digest(
    reader: StreamReader,
    found: Digests,
    on_progress: Callable[[Compared], None],
    show: Callable[[int], None],
) -> int:
    """Into `found`; returns how many blocks came."""
    began = reported = time.monotonic()
    blocks = read = 0
    for offset, block in _blocks(reader):
        digest = digest_of(block)
        if any(block):
            found.put(offset, digest)
        blocks += 1
        read += len(block)
        if (now := time.monotonic()) - reported >= _PROGRESS_INTERVAL:
            reported = now
            on_progress(Compared(offset + len(block), reader.capacity, read, now - began))
            show(100 * offset // reader.capacity)
    on_progress(Compared(reader.capacity, reader.capacity, read, time.monotonic() - began))
    return blocks


def _blocks(reader: StreamReader) -> Iterator[tuple[int, memoryview]]:
    """(offset, bytes) of the blocks of which something came; one is held at a time."""
    block, at = bytearray(), -1
    for offset, grain in reader.grains():
        if offset // BLOCK * BLOCK != at:
            if at >= 0:
                yield at, memoryview(block)
            at = offset // BLOCK * BLOCK
            block = bytearray(min(BLOCK, reader.capacity - at))
        block[offset - at : offset - at + len(grain)] = grain
    if at >= 0:
        yield at, memoryview(block)


def _difference(digests: Digests, found: Digests, name: str) -> BlockDifference:
    offset = first_difference(digests, found)
    length = min(BLOCK, digests.capacity - offset)
    return BlockDifference(name, offset, length, digests.expected(offset).hex(), found.expected(offset).hex())
