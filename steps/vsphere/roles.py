"""The vCenter roles of two accounts: the one of every night, which reads, and the one of a restore, which
writes. What is granted on which object, and what else an account may do that has it."""

from __future__ import annotations

from dataclasses import dataclass

from steps.vsphere import privileges, restore_privileges

READ_ONLY = "Read-only on the vCenter's root folder, propagated to children"
"""A role that each vCenter has: by it an account sees clusters, datastores, networks, and VMs that no job
names."""


@dataclass(frozen=True)
class Grant:
    on: str
    """The objects, in words."""
    privileges: tuple[str, ...]
    when: str = ""
    """Empty: always."""
    beware: str = ""
    """What more the account can do by it than its work takes."""


def backup() -> tuple[Grant, ...]:
    return (
        Grant(
            "each VM, or the folder above them",
            privileges.BACKUP,
            beware="reads every disk, and removes snapshots that others made",
        ),
        _over_vddk(),
        _over_https(),
    )


def restore() -> tuple[Grant, ...]:
    """For new VMs, and for a rollback of old ones. Beside those of a backup for the latter."""
    folder = "the folder of the new VMs"
    return (
        Grant(folder, restore_privileges.NEW_VM, beware="changes and deletes the VMs that are there"),
        Grant("the resource pool", ("Resource.AssignVMToPool",)),
        Grant("the datastores of the new VMs", ("Datastore.AllocateSpace", *privileges.FOLDER), "", _FILES),
        Grant("their datacenter", privileges.FOLDER, "", _FILES),
        Grant("the networks", ("Network.Assign",)),
        Grant(f"the resource pool, and {folder}", (restore_privileges.IMPORT,), "for `--transport lease`"),
        Grant(folder, privileges.EXPORT, "for a lease to vSAN or vVol"),
        Grant(folder, (restore_privileges.WRITE_DISKS,), "for `--transport vddk`"),
        _over_vddk(),
        Grant(folder, (restore_privileges.SET_ATTRIBUTE,), "for custom attributes"),
        Grant(folder, (restore_privileges.POWER_ON,), "for `--power-on`"),
        Grant(
            "each VM that is rolled back",
            tuple(dict.fromkeys((*privileges.BACKUP, *privileges.ROLLBACK))),
            "for `sendense rollback`",
            "overwrites its disks",
        ),
    )


_FILES = "reads, overwrites and deletes every file there, disks of other VMs too"
"""vSphere Security, "Datastore Privileges": Low level file operations."""


def _over_vddk() -> Grant:
    return Grant("the vCenter's root folder, not propagated", privileges.VDDK, "with VDDK")


def _over_https() -> Grant:
    """A VM's NVRAM is a file, too."""
    return Grant(
        "the VMs' datacenter and their datastores",
        privileges.FOLDER,
        "without VDDK; with it, to save the NVRAM of EFI guests",
        _FILES,
    )
