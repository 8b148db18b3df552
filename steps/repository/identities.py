"""identities.json: what a VM whose vCenter was rebuilt was called before and is called now; `sendense adopt`
writes it.

Whether a restore point is of a VM is asked here and nowhere else. An instance uuid is unique within one
vCenter only (vSphere API, VirtualMachineConfigInfo.instanceUuid), and changeIds of one vCenter mean nothing
in another.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

from runner.base.errors import SendenseError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.base.units import MINUTE
from runner.hosts.host import Host
from runner.hosts.script import load
from steps.repository import layout
from steps.repository.listing import UnreadableError

SCHEMA_VERSION: Literal[1] = 1

_UNRECORDED = ("", "None")
"""What earlier versions recorded as the vCenter's uuid where they read from an ESXi host, which has none."""

TIMEOUT = 5 * MINUTE

_FILES_WITH = load("steps/repository/scripts/files-with.sh")
_NOT_ALL, _NOT_ENTERED = 1, 3


class Recorded(Protocol):
    """What tells a VM from all others: of a VM that is there, or as it was recorded."""

    @property
    def instance_uuid(self) -> str: ...

    @property
    def vcenter_uuid(self) -> str:
        """about.instanceUuid of its vCenter, or what identifies an ESXi host that has none."""


class DiskIdentity(Model):
    key: int
    backing_uuid: str


class Identity(Model):
    """Of a VM, all by which it is recognised."""

    vcenter_uuid: str
    instance_uuid: str
    bios_uuid: str
    name: str
    inventory_path: str
    disks: tuple[DiskIdentity, ...]

    def resembles(self, other: Identity) -> bool:
        """Whether it may be the same VM though its instance uuid differs: clones may share a BIOS uuid, and a
        disk may be moved to another VM, but not both together."""
        return same(self.bios_uuid, other.bios_uuid) and self.shares_a_disk(other)

    def shares_a_disk(self, other: Identity) -> bool:
        mine, others = ({disk.backing_uuid.lower() for disk in one.disks} for one in (self, other))
        return bool((mine & others) - {""})


class Adoption(Model):
    old: Identity
    new: Identity
    who: str
    """``anna@backup1``"""
    when: datetime


class Identities(Model):
    """identities.json"""

    schema_version: Literal[1] = SCHEMA_VERSION
    adopted: tuple[Adoption, ...]
    """Oldest first; the last one says what the directory's VM is called now."""


class AdoptedTwiceError(SendenseError):
    """Two directories were adopted for one VM."""

    def __init__(self, instance_uuid: str, directories: Sequence[str]) -> None:
        super().__init__(
            f"{' and '.join(directories)} were all adopted for the VM with instance uuid {instance_uuid}: "
            f"move {layout.IDENTITIES} out of those that are not its own"
        )


def read(host: Host, directory: str) -> tuple[Adoption, ...]:
    """Of the VM's `directory`; none where nobody adopted it. Raises StateError."""
    path = posixpath.join(directory, layout.IDENTITIES)
    try:
        content = host.read(path, limit=layout.RECORD_LIMIT)
    except FileNotFoundError:
        return ()
    return parse(content, f"{path} on {host.name}")


def parse(content: bytes, where: str) -> tuple[Adoption, ...]:
    """`where` names the file in the sentence of the StateError that damage and newer versions raise."""
    try:
        return unseal(content, Identities, SCHEMA_VERSION).adopted
    except Damaged as error:
        raise error.error(where) from error


def add(host: Host, directory: str, adoption: Adoption) -> None:
    """The caller has the VM's lock. Raises StateError for a file that cannot be read."""
    document = Identities(adopted=(*read(host, directory), adoption)).to_json_value()
    host.write(posixpath.join(directory, layout.IDENTITIES), seal(document))


def adopted_as(host: Host, root: str, instance_uuid: str) -> str | None:
    """Path of the directory whose VM has that instance uuid now, though it is not named after it. Raises
    StateError, AdoptedTwiceError, UnreadableError where a directory cannot be read: it is unknown whether it
    is that one."""
    wanted = instance_uuid.lower()
    argv = _FILES_WITH.argv(root, wanted, layout.IDENTITIES)
    done = host.run(argv, timeout=TIMEOUT, ok=(0, _NOT_ALL, _NOT_ENTERED))
    if done.exit_code:
        raise UnreadableError(root, host.name, "; ".join(done.stderr.split("\n")).strip("; "))
    files = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    directories = (posixpath.join(root, path.split("/")[1]) for path in sorted(files))
    found = [directory for directory in directories if current_uuid(read(host, directory)) == wanted]
    if len(found) > 1:
        raise AdoptedTwiceError(instance_uuid, found)
    return found[0] if found else None


def current_uuid(adopted: Sequence[Adoption]) -> str | None:
    """The instance uuid by which the VM is found now; None where nobody adopted it: that in its directory's
    name."""
    return adopted[-1].new.instance_uuid.lower() if adopted else None


def same(one: str, other: str) -> bool:
    return one.lower() == other.lower() != ""


def is_known(recorded: Recorded, vm: Recorded) -> bool:
    """Whether `vm` is what `recorded` says. A host that was not recorded may be any: its points must not
    become another VM's for ever, and only what is compared with the points themselves (`why_not_believed`) is
    lost."""
    vcenter = same(recorded.vcenter_uuid, vm.vcenter_uuid) or recorded.vcenter_uuid in _UNRECORDED
    return vcenter and same(recorded.instance_uuid, vm.instance_uuid)


def why_not_believed(point: str, recorded: Recorded, vm: Recorded, adopted: Sequence[Adoption]) -> str | None:
    """Why what `point` (made of the VM as `recorded`) says of changes cannot be asked `vm`; None if it
    can."""
    if same(recorded.vcenter_uuid, vm.vcenter_uuid) and same(recorded.instance_uuid, vm.instance_uuid):
        return None
    if recorded.vcenter_uuid in _UNRECORDED and same(recorded.instance_uuid, vm.instance_uuid):
        return f"{point} does not say which ESXi host it was read from, as an earlier version made it"
    if adopted and is_known(adopted[-1].new, vm):
        day = f"{adopted[-1].when.astimezone(UTC):%Y-%m-%d}"
        return (
            f"{point} was made before the VM was adopted from another vCenter ({day}), whose changeIds are "
            "not valid here"
        )
    return f"{point} is of another VM"
