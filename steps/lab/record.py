"""lab.json: where everything of a lab is. All paths are absolute; the lab's directory is made with mode
0700."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from runner.base.errors import StateError, UsageError
from runner.base.model import Model
from runner.hosts import files
from runner.hosts.spec import SshSpec

FILE = "lab.json"
LOG = "log"
LOCK = ".lock"
PASSWORD = "password"
VCENTER = "vcenter"
STORE = "store"
BEGUN = frozenset({LOG, LOCK, PASSWORD, VCENTER, STORE})
"""What is in the directory of a lab before its record is: all that a start which failed leaves."""


class VCenterAt(Model):
    server: str
    port: int
    username: str
    password_file: str
    """The password alone, 0600."""
    ca: str
    """PEM of the authority that signed its certificate."""
    thumbprint: str
    """SHA-256 of its certificate."""


class LabDisk(Model):
    key: int
    size: int
    """Bytes."""
    file: str
    """Raw and sparse; equal to the guest's disk whenever the VM has no snapshot."""
    covered: bool
    """By a snapshot: not independent, not a physical RDM, not shared."""


class LabVM(Model):
    name: str
    path: str
    """Inventory path, which no two VMs share."""
    job: str
    """A job file that backs it up."""
    disks: tuple[LabDisk, ...]

    def disk(self, key: int) -> LabDisk:
        """Raises UsageError."""
        for disk in self.disks:
            if disk.key == key:
                return disk
        keys = ", ".join(str(disk.key) for disk in self.disks) or "none"
        raise UsageError(f"the VM {self.name} has no disk {key}; it has {keys}")


class LabRecord(Model):
    schema_version: int = 1
    pid: int
    """Of the process that is the lab."""
    control: str
    """Its unix socket, see `steps.lab.control`."""
    inventory: str
    """The file it was made from."""
    vcenter: VCenterAt
    store: SshSpec
    """How the repository host is reached."""
    repository: str
    """On the repository host."""
    site: str
    """What jobs include to find the vCenter, the repository host and the repository."""
    vms: tuple[LabVM, ...]

    def vm(self, wanted: str) -> LabVM:
        """By inventory path, or by a name that one VM alone has. Raises UsageError."""
        found = [vm for vm in self.vms if vm.path == wanted] or [vm for vm in self.vms if vm.name == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            paths = ", ".join(vm.path for vm in found)
            raise UsageError(f"there are {len(found)} VMs called '{wanted}'; write one of {paths}")
        raise UsageError(f"the lab has no VM '{wanted}'; it has {', '.join(vm.name for vm in self.vms)}")


def write(directory: Path, record: LabRecord) -> None:
    files.write(str(directory / FILE), record.model_dump_json(indent=1, by_alias=True).encode() + b"\n")


def read(directory: Path) -> LabRecord | None:
    """None if no lab was ever started there. Raises StateError for a damaged file."""
    path = directory / FILE
    try:
        return LabRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StateError(f"{path} cannot be read as a lab's: start the lab in another directory") from error
