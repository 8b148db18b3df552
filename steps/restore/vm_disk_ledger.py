"""The ledger of a disk that a restore writes in vSphere, and whether the disk still is as vSphere made it
where nothing was written.

vSphere makes every disk of a new VM so that a guest reads zeroes: thin, thick and zeroed on demand, or zeroed
when it is made (API reference, VirtualDiskType; only the type `thick` of the VirtualDiskManager may have
stale data, which no VM's own disk is). As long as nothing but this very disk of the point was written to it,
all the rest is zeroes, and need not be.
"""

from __future__ import annotations

from runner.step.context import Context
from steps.copy.digests import Digests
from steps.copy.endpoint import Endpoint
from steps.copy.ledger import LedgerHead
from steps.incremental.disk_ledger import DiskLedger
from steps.repository import layout
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk


class VmDiskLedger(DiskLedger):
    def __init__(self, ctx: Context, vm: MarkedVm, disk: StoredDisk) -> None:
        made = vm.disk(disk.key)
        super().__init__(
            ctx,
            LedgerHead(
                disk_key=disk.key,
                capacity=disk.capacity,
                backing_uuid=made.backing_uuid,
                image=f"{vm.vcenter}:{vm.moref}:{made.file}",
                snapshot=disk.point,
            ),
        )
        self._note = ctx.log(f"{layout.ledger(disk.key)}-differs")
        self._of = made.backing_uuid.encode()

    @property
    def is_blank(self) -> bool:
        """Whether the disk has zeroes wherever nothing of the point was written to it."""
        return self._note.read() != self._of

    def distrust(self) -> None:
        """The disk was found, or may be found, to hold anything: the next attempt reads all of it."""
        self._doubt()
        self.forget()

    def believe(self, target: Endpoint, digests: Digests, *, stall_timeout: float = 60.0) -> None:
        if not self.holds_something or not self.is_blank:
            super().believe(target, digests, stall_timeout=stall_timeout)
            return
        # First, since what is forgotten looks as if nothing had been written.
        self._doubt()
        super().believe(target, digests, stall_timeout=stall_timeout)
        if self.holds_something:
            self._note.remove()

    def _doubt(self) -> None:
        self._note.remove()
        self._note.append(self._of)
