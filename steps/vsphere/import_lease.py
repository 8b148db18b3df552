"""A VM is imported: vCenter makes it, and its disks are uploaded to an ESXi host while the lease lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runner.base.errors import SendenseError
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.lease import Lease
from steps.vsphere.nfc import Device, Upload
from steps.vsphere.session import Session
from steps.vsphere.vm_spec import NewDisk, NewMachine

Send = Callable[[bytes], None]


@dataclass(frozen=True)
class Sent:
    """A disk's stream: bytes, and digests in hex."""

    size: int
    sha1: str
    sha256: str


class UploadDiffersError(SendenseError):
    """What arrived is not what was sent. Sent again it may be."""

    transient = True


@contextmanager
def importing(
    client: Client, machine: NewMachine, spec: Any, name: str, begun: Callable[[str], None]
) -> Iterator[ImportLease]:
    """The VM of that name, from `spec` (see `specs.import_spec`). It is removed unless the block ends with
    `complete`. `begun` is told the lease's moref before anything else is done with it. Raises what vCenter
    says of the spec, PermissionMissing, LeaseEnded and Unreachable (transient)."""
    doing = f"importing VM {name}"

    def work(session: Session) -> str:
        host = machine.host and session.object(vmomi.vim.HostSystem, machine.host)
        lease = session.object(vmomi.vim.ResourcePool, machine.pool).ImportVApp(
            spec=spec, folder=session.object(vmomi.vim.Folder, machine.folder), host=host
        )
        return str(lease._moId)

    moref = client.act(doing, work, repeatable=False)
    begun(moref)
    with Lease(client, moref, doing) as lease:
        yield ImportLease(lease, machine)


class ImportLease:
    """A lease that is ready. Uploads may run at once, each in a thread of its own."""

    def __init__(self, lease: Lease, machine: NewMachine) -> None:
        """Raises VSphereError where the lease does not take every disk."""
        self._lease = lease
        self._devices = paired(machine, lease.devices)
        self._ask_for_sha256()

    @property
    def vm(self) -> str:
        """moref of the VM that is made."""
        return self._lease.vm

    def show(self, percent: int) -> None:
        """To people in vSphere, with the next sign of life."""
        self._lease.percent = max(0, min(percent, 100))

    def upload(self, disk: int, size: int, feed: Callable[[Send], None], sent: Callable[[int], None]) -> None:
        """The stream of the disk with that saved key: ``feed(send)`` sends all `size` bytes of it. Raises
        UploadRefused, Unreachable (transient), LeaseEnded, Interrupted, NotTrusted, NotReached."""
        device = self._devices[disk]
        with self._lease.connected(device) as connection:
            upload = Upload(connection, device, size, sent)

            def send(piece: bytes) -> None:
                self._lease.raise_failure()
                upload.send(piece)

            feed(send)
            upload.finish()

    def compare(self, disks: Mapping[int, Sent]) -> tuple[int, ...]:
        """What the host says that it got, with what was sent, by saved key; returns the disks of which it
        says nothing. Raises UploadDiffersError, LeaseEnded."""
        manifest = self._lease.ask("reading the manifest of", lambda lease: lease.HttpNfcLeaseGetManifest())
        entries = {str(entry.key): entry for entry in manifest or ()}
        silent = []
        for key, sent in disks.items():
            entry = entries.get(self._devices[key].key)
            if entry is None:
                silent.append(key)
            elif why := difference(entry, sent):
                raise UploadDiffersError(
                    f"disk {key} did not arrive as it was sent to the ESXi host: {why}; it is sent again"
                )
        return tuple(silent)

    def complete(self) -> None:
        """The VM stays from here on. Raises LeaseEnded, Unreachable."""
        self._lease.complete()

    def _ask_for_sha256(self) -> None:
        """Since 6.7 (API reference, HttpNfcLeaseSetManifestChecksumType); before, SHA-1 has to do."""
        pair: Any = vmomi.vim.KeyValue
        wanted = [pair(key=device.key, value="sha256") for device in self._devices.values()]
        try:
            self._lease.ask(
                "choosing checksums of", lambda lease: lease.HttpNfcLeaseSetManifestChecksumType(wanted)
            )
        except VSphereError as error:
            if error.transient:
                raise


def difference(entry: Any, sent: Sent) -> str:
    """Of an entry of the host's manifest from what was sent; empty where there is none."""
    if entry.size is not None and int(entry.size) != sent.size:
        return f"it has {entry.size} bytes of {sent.size}"
    told = {"sha1": str(entry.sha1 or ""), str(entry.checksumType or ""): str(entry.checksum or "")}
    for name, digest in (("sha256", sent.sha256), ("sha1", sent.sha1)):
        if told.get(name) and told[name].lower() != digest:
            return f"its {name.upper()} is {told[name]}, of what was sent {digest}"
    return ""


def paired(machine: NewMachine, devices: tuple[Device, ...]) -> dict[int, Device]:
    """The devices by the saved keys of their disks: by importKey, never by order, by which disks of restored
    VMs were swapped (cloudstack issues 4547 and 13922). Raises VSphereError."""
    by_place: dict[str, list[Device]] = {}
    for device in devices:
        by_place.setdefault(device.place, []).append(device)
    return {disk.key: _one(machine, disk, by_place) for disk in machine.disks}


def _one(machine: NewMachine, disk: NewDisk, by_place: Mapping[str, list[Device]]) -> Device:
    place = machine.place(disk)
    found = by_place.get(place, [])
    if len(found) != 1:
        raise VSphereError(
            f"the lease takes {disk.label} ({place}) in {len(found)} places instead of one (it names "
            f"{', '.join(sorted(by_place)) or 'no disk'}): nothing was uploaded"
        )
    return found[0]
