"""The API's faults as errors of ours: one sentence each that says what to do. The only place that knows fault
types."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from xml.parsers.expat import ExpatError

from runner.base.errors import SendenseError
from steps.vsphere import vmomi
from steps.vsphere.errors import (
    Busy,
    Gone,
    LoginRefused,
    NotTrusted,
    PermissionMissing,
    QuiesceFailed,
    SnapshotRefused,
    Unreachable,
    VSphereError,
)
from steps.vsphere.transport import UnfitAnswer

CONNECTION_FAILURES = (OSError, HTTPException, ExpatError)
"""What pyVmomi lets through when the answer did not come, or was cut: no connection, a bad status, half a
document."""

_OUT_OF_TIME = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (OpenSSL, X509_STORE_CTX_get_error(3))."""


@contextmanager
def explained(server: str, doing: str) -> Iterator[None]:
    """Raises what the API or the connection throws inside as a SendenseError. `doing` begins the sentence:
    ``creating the snapshot of pgtest1``; `server` ends some."""
    try:
        yield
    except vmomi.vmodl.MethodFault as fault:
        raise explain(fault, doing) from fault
    except ssl.SSLCertVerificationError as error:
        remedy = (
            "renew it there, or set this machine's clock right"
            if error.verify_code in _OUT_OF_TIME
            else "check `tls:` and `server:` of the vCenter in the job"
        )
        raise NotTrusted(
            f"the certificate of {server} cannot be verified ({error.verify_message}): {remedy}"
        ) from error
    except socket.gaierror as error:
        kind = Unreachable if error.errno == socket.EAI_AGAIN else VSphereError
        raise kind(f"{doing} failed: the name of {server} cannot be resolved: {error.strerror}") from error
    except UnfitAnswer as error:
        raise VSphereError(
            f"{doing} failed: the answer of {server} {error}: check what stands at `server:` of the vCenter "
            "in the job, and between"
        ) from error
    except CONNECTION_FAILURES as error:
        raise Unreachable(f"{doing} failed: {server} does not answer as it should: {_said(error)}") from error


def explain(fault: vmomi.vmodl.MethodFault, doing: str) -> SendenseError:
    """The error for a fault that a call threw or a task ended with."""
    if isinstance(fault, vmomi.vim.fault.InvalidLogin):
        return LoginRefused(
            f"{doing} failed: wrong user name or password ({text_of(fault)}): correct `username`, or "
            "the secret that `password` names"
        )
    if isinstance(fault, vmomi.vim.fault.NoPermission):
        return _permission_missing(fault, doing)
    if isinstance(fault, vmomi.vmodl.fault.ManagedObjectNotFound):
        return Gone(f"{doing} failed: {_name_of(fault.obj)} no longer exists")
    if isinstance(fault, vmomi.vim.fault.NoDiskSpace):
        return SnapshotRefused(f"{doing} failed: datastore {fault.datastore} has no space left: free some")
    if isinstance(fault, (vmomi.vim.fault.ApplicationQuiesceFault, vmomi.vim.fault.FilesystemQuiesceFault)):
        reason = text_of(fault)
        return QuiesceFailed(
            f"{doing} failed: the guest could not be quiesced ({reason}): look at its VMware Tools, scripts "
            "and VSS writers, or write quiesce: try",
            reason,
        )
    if isinstance(fault, vmomi.vim.fault.FileFault):
        return VSphereError(f"{doing} failed: {text_of(fault)} (file {fault.file})")
    for kind, error, remedy in _remedies():
        if isinstance(fault, kind):
            return error(f"{doing} failed: {remedy} ({text_of(fault)})")
    return VSphereError(f"{doing} failed: {text_of(fault)}")


@cache
def _remedies() -> tuple[tuple[type, type[SendenseError], str], ...]:
    """Types of faults, and what is said of each; the first that fits."""
    vim, vmodl = vmomi.vim, vmomi.vmodl
    return (
        (
            vim.fault.TaskInProgress,
            Busy,
            "another task of the VM is still running: wait for it, or end it in vSphere",
        ),
        (
            vim.fault.TooManySnapshotLevels,
            SnapshotRefused,
            "the VM has the most snapshots that vSphere allows: delete some",
        ),
        (
            vim.fault.SnapshotIncompatibleDeviceInVm,
            SnapshotRefused,
            "it has a raw disk or a controller with a shared bus, which vSphere cannot snapshot: make the "
            "disk independent",
        ),
        (
            vim.fault.MemorySnapshotOnIndependentDisk,
            SnapshotRefused,
            "the suspended VM's memory cannot be left out and it has independent disks: resume it or switch "
            "it off",
        ),
        (
            vim.fault.MultipleSnapshotsNotSupported,
            SnapshotRefused,
            "the VM may have one snapshot only: delete the one it has",
        ),
        (
            vim.fault.SnapshotDisabled,
            SnapshotRefused,
            "snapshots are switched off for this VM: allow them in vSphere",
        ),
        (vim.fault.SnapshotLocked, SnapshotRefused, "the VM's snapshots are locked: unlock them in vSphere"),
        (
            vmodl.fault.NotSupported,
            SnapshotRefused,
            "vSphere does not support it for this VM (a template, fault tolerance)",
        ),
        (vmodl.fault.RequestCanceled, VSphereError, "somebody cancelled the task in vSphere: run it again"),
        (vim.fault.InvalidState, VSphereError, "the VM's state does not allow it now: look at it in vSphere"),
        (vim.fault.HostConnectFault, Unreachable, "vCenter cannot reach the VM's host"),
        (vmodl.fault.HostCommunication, Unreachable, "vCenter cannot reach the VM's host"),
    )


def text_of(fault: vmomi.vmodl.MethodFault) -> str:
    """What the server says of it, else the fault's type; without a full stop."""
    # `msg` is pyVmomi's own: the localizedMessage beside the fault, which its type stubs leave out.
    words = [getattr(fault, "msg", None), *(message.message for message in fault.faultMessage or ())]
    said = next((word.strip() for word in words if word and word.strip()), type(fault).__name__)
    return str(said).rstrip(".")


def _permission_missing(fault: vmomi.vim.fault.NoPermission, doing: str) -> SendenseError:
    if isinstance(
        fault, vmomi.vim.fault.NotAuthenticated
    ):  # a NoPermission by type; a fresh login was refused as well
        return Unreachable(f"{doing} failed: vCenter ends each session as soon as it begins")
    privilege = fault.privilegeId or "a privilege that vCenter does not name"
    where = _name_of(fault.object)
    return PermissionMissing(
        f"{doing} failed: the account lacks {privilege} on {where}: add it to the account's role there",
        privilege,
        where,
    )


def _name_of(reference: object) -> str:
    """``VirtualMachine vm-16``, from the managed object alone: asking for its name could fail the same
    way."""
    if isinstance(reference, vmomi.ManagedObject):
        return f"{type(reference).__name__.rpartition('.')[2]} {reference._moId}"
    return "the object"


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
