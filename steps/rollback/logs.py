"""What a rollback keeps of a disk with its run, beside the ledger: which blocks differed, and that it was
written to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.base.errors import SendenseError
from runner.step.context import Context
from steps.copy.extents import BLOCK
from steps.copy.ledger import Flushed, Ledger, LedgerHead, read_ledger
from steps.incremental.disk_ledger import DiskLedger
from steps.repository import layout
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk

_AT_ONCE = 4096
"""Runs of blocks in a line: a line is held whole."""


def head_of(vm: MarkedVm, disk: StoredDisk) -> LedgerHead:
    """Of what is written to the VM's disk: the bytes of `disk`."""
    into = vm.disk(disk.key)
    return LedgerHead(
        disk_key=disk.key,
        capacity=disk.capacity,
        backing_uuid=into.backing_uuid,
        image=f"{vm.vcenter}:{vm.moref}:{into.file}",
        snapshot=disk.point,
    )


class NotComparedError(SendenseError):
    """What differs is no longer known, since what was written did not read back right: it is found out again,
    in this run."""

    invalidates = ("differs",)
    self_healing = True

    def __init__(self, disk: StoredDisk) -> None:
        super().__init__(f"what differs of disk {disk.key} is not known any more: it is compared again")


class DiskLogs:
    """Of the disk that `disk` of a restore point is written to."""

    def __init__(self, ctx: Context, vm: MarkedVm, disk: StoredDisk) -> None:
        self._ctx = ctx
        self._head = head_of(vm, disk)
        self._differs = ctx.log(f"differs-{disk.key}")
        self._touched = ctx.log(f"touched-{disk.key}")
        self._written = ctx.log(layout.ledger(disk.key))

    def ledger(self) -> DiskLedger:
        return DiskLedger(self._ctx, self._head)

    @property
    def touched(self) -> bool:
        """Whether anything may have been written to the disk."""
        return bool(self._touched.read())

    def touch(self) -> None:
        """Before the first write."""
        if not self.touched:
            self._touched.append(b"touched\n")

    def untouch(self) -> None:
        """It is as it was before the first write."""
        self._touched.remove()

    def keep_differing(self, ranges: Iterable[tuple[int, int]]) -> None:
        """(offset, length) of the runs of blocks that differ, in place of what was kept before."""
        self.forget_differing()
        book, line = Ledger(self._differs.append), list[Flushed]()
        book.begin(self._head)
        for offset, length in ranges:
            line.append(Flushed(offset, length, b""))
            if len(line) == _AT_ONCE:
                book.record(line)
                line = []
        book.record(line)

    def differing(self) -> list[tuple[int, int]] | None:
        """None where that was not kept, or is of another disk. Raises StateError for damage."""
        reading = read_ledger(self._differs.pieces(), self._differs.path)
        if reading is None or reading.torn or reading.segments[-1].head != self._head:
            return None
        return [(one.offset, one.length) for one in reading.segments[-1].ranges]

    def forget_differing(self) -> None:
        self._differs.remove()

    def forget_written(self) -> None:
        self._written.remove()


class Marked:
    """Some blocks of a disk, a bit each."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bits = bytearray(-(-capacity // BLOCK // 8) + 1)
        self.count = 0

    def add(self, offset: int) -> None:
        number = offset // BLOCK
        if not self._bits[number >> 3] >> (number & 7) & 1:
            self._bits[number >> 3] |= 1 << (number & 7)
            self.count += 1

    def __contains__(self, offset: int) -> bool:
        number = offset // BLOCK
        return bool(self._bits[number >> 3] >> (number & 7) & 1)

    def runs(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of neighbouring ones, in order."""
        begun: int | None = None
        for number in range(-(-self._capacity // BLOCK)):
            offset = number * BLOCK
            if offset in self:
                begun = offset if begun is None else begun
            elif begun is not None:
                yield begun, offset - begun
                begun = None
        if begun is not None:
            yield begun, self._capacity - begun
