"""What can go wrong at a vCenter, as errors with one sentence each.

VSphereError                      the run failed
├── NotReached                    no connection to it could be made at all
├── LoginRefused                  wrong user name or password
├── NotTrusted                    its certificate is not the one the job pins or its CA signed
├── PermissionMissing             the account lacks a privilege on an object
├── Unset                         a property that we need is not set
├── Gone                          an object (VM, snapshot, task) does not exist (any longer)
├── Busy              transient   another task holds the VM
├── Unreachable       transient   no answer, or none that is one
├── LeaseEnded        transient   an import or export lease is over, and what it was for with it
├── UploadRefused                 an ESXi host does not take a disk; transient for one that is busy
├── QuiesceFailed                 the guest could not be brought to rest
├── SnapshotRefused               the VM, its hardware or its datastore does not allow a snapshot
└── TrackingError                 changed block tracking does not say what changed
    ├── TrackingOff               it is off for the disk
    ├── TrackingLost              it does not reach back to the changeId
    └── TrackingSilent            its file is locked or missing, perhaps for the moment
"""

from __future__ import annotations

from runner.base.errors import SendenseError


class VSphereError(SendenseError):
    pass


class NotReached(VSphereError):
    pass


class LoginRefused(VSphereError):
    fix_first = True


class NotTrusted(VSphereError):
    fix_first = True


class PermissionMissing(VSphereError):
    """`object` reads ``VirtualMachine vm-16``, `privilege` is the API's id, like
    VirtualMachine.State.CreateSnapshot."""

    fix_first = True

    def __init__(self, message: str, privilege: str, object_: str) -> None:
        super().__init__(message)
        self.privilege = privilege
        self.object = object_


class Unset(VSphereError):
    """`property` is the API's name, as a path (``hardware.device``); `whose` says what it describes."""

    def __init__(self, property_: str, whose: str) -> None:
        super().__init__(
            f"vSphere gives no {property_} for {whose}, which a backup needs: check in vSphere that it is "
            "whole and reachable, then run again"
        )
        self.property = property_
        self.whose = whose


class Gone(VSphereError):
    pass


class Busy(VSphereError):
    transient = True


class Unreachable(VSphereError):
    transient = True


class LeaseEnded(VSphereError):
    transient = True


class UploadRefused(VSphereError):
    """`status` is HTTP's."""

    def __init__(self, host: str, status: int, said: str) -> None:
        super().__init__(f"the ESXi host {host} refused a disk: it answered with status {status} ({said})")
        self.transient = status == 503
        self.status = status


class QuiesceFailed(VSphereError):
    """`reason` is what vSphere said of the guest."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SnapshotRefused(VSphereError):
    fix_first = True


class TrackingError(VSphereError):
    pass


class TrackingOff(TrackingError):
    pass


class TrackingLost(TrackingError):
    pass


class TrackingSilent(TrackingError):
    pass


class WrongDisk(VSphereError):
    pass
