"""A VM's disks are read through an export lease: what every datastore can give, without VMware's library.

The VM is off, and locked meanwhile (API reference, VirtualMachine.ExportVm). Its disks come as
streamOptimized streams, whose length is not known before their end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from steps.vsphere import nfc, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.lease import Lease
from steps.vsphere.session import Session


@contextmanager
def exporting(client: Client, vm: str, name: str) -> Iterator[ExportLease]:
    """Of the VM of that moref; `name` is for messages. Raises PermissionMissing, LeaseEnded and Unreachable
    (transient), VSphereError for one that is on."""
    doing = f"reading the disks of VM {name}"

    def work(session: Session) -> str:
        return str(session.object(vmomi.vim.VirtualMachine, vm).ExportVm()._moId)

    with Lease(client, client.act(doing, work, repeatable=False), doing) as lease:
        yield ExportLease(lease)


class ExportLease:
    """A lease that is ready."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._devices = {device.place: device for device in lease.devices}

    @property
    def places(self) -> tuple[str, ...]:
        """Of the disks that it gives: ``ParaVirtualSCSIController0:0``, as `NewMachine.place` has it."""
        return tuple(self._devices)

    def show(self, percent: int) -> None:
        """To people in vSphere, with the next sign of life."""
        self._lease.percent = max(0, min(percent, 100))

    @contextmanager
    def reading(self, place: str) -> Iterator[Callable[[int], bytes]]:
        """``read(n)`` of the stream of the disk at `place`. Raises VSphereError where there is none; within
        the block LeaseEnded, Unreachable (transient) and Interrupted."""
        device = self._devices.get(place)
        if device is None:
            raise VSphereError(
                f"{self._lease.doing} failed: the lease gives no disk at {place}, only "
                f"{', '.join(self.places) or 'none'}"
            )
        with self._lease.connected(device) as connection:
            give = nfc.download(connection, device)

            def read(length: int) -> bytes:
                self._lease.raise_failure()
                return give(length)

            yield read

    def complete(self) -> None:
        """All that was wanted was read."""
        self._lease.complete()
