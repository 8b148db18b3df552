"""What discover found: the VM, and its disks."""

from __future__ import annotations

from runner.base.model import Model
from steps.vsphere.inventory import VM, Disk, Uncovered


class Discovered(Model):
    vm: VM
    """What the VM is."""
    disks: tuple[Disk, ...]
    """Covered by a snapshot, in key order."""
    uncovered: tuple[Uncovered, ...]
    """Disks that a snapshot does not cover, and why."""
    change_tracking: bool
    """Whether changed block tracking is on."""
    encrypted: bool = False
    """Whether vSphere encrypts the VM or a disk of it: what a backup copies is plain text."""
    kept: tuple[str, ...] = ()
    """Restore points that the job made of other VMs of its name, in words."""
