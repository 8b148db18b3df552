"""discover: what the VM is and which disks it has."""

from __future__ import annotations

from runner.model import Model
from steps.vsphere.inventory import VM, Disk, Uncovered


class Discovered(Model):
    vm: VM
    disks: tuple[Disk, ...]
    """Covered by a snapshot, in key order."""
    uncovered: tuple[Uncovered, ...]
    change_tracking: bool
