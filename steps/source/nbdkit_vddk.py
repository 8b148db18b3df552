"""nbdkit with its vddk plugin, which reads a disk through VMware's own library (VDDK) from the ESXi host that
has it, and writes one there.

The library is proprietary, so its user provides it. It reads any disk that a snapshot freezes, also on
vSAN and vVol and above other snapshots, and knows holes where the server tells them. It writes the disks of
a VM that is off; the plugin's flush is the library's, which reaches the disk, and it has no zeroing and no
trim, so zeroes go as data. Facts of the plugin: nbdkit-vddk-plugin(1), 1.42; of the library: Virtual Disk
Development Kit Programming Guide 8.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from runner.base.model import JobModel
from runner.hosts.host import Host
from steps.source.disk_file import DiskFile
from steps.source.nbdkit import SourceFailed, begin, errors_in, last_words
from steps.vsphere.errors import Busy, NotTrusted, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.section import VCenter

NFC_PORT = 902

LOOK_TIMEOUT = 30.0
"""Seconds for nbdkit to load the plugin and the library and to say what they can."""

OPEN_TIMEOUT = 120.0
"""Seconds for the library to log in, to get a ticket and to open the disk: several connections to two
machines, slow ones ("Connecting and disconnecting … can also be very slow", nbdkit-vddk-plugin(1))."""

BUFFERS = 4
BUFFER_IN_64_KIB = 16
"""NFC buffers of one open disk: 4 of 1 MiB, which is what the guide's "Best Practices for NBD Transport"
recommends and what one of our requests fills. Written down for the library, so that the sum on a host is
known."""

PRIVILEGES = (
    "VirtualMachine.Provisioning.DiskRandomRead and VirtualMachine.Provisioning.GetVmFiles on the VM, "
    "Global.DisableMethods and Global.EnableMethods on the vCenter"
)
"""Programming Guide, "Credentials and Privileges for VMDK Access"."""

WRITING = "VirtualMachine.Provisioning.DiskRandomAccess and VirtualMachine.Provisioning.PutVmFiles"
"""What writing takes on the VM besides."""

_OUT_OF_BUFFERS = re.compile(
    r"NFC error 5\b|Failed to allocate the requested|Resource temporarily unavailable"
)
_CALL = re.compile(r"(?:VixDiskLib_(?!InitEx)\w+|command \d+): ")
"""``VixDiskLib_Open: [ds] a/a.vmdk: A file was not found``, ``command 7: asynchronous read failed: …``. Not
the library's own start, which knows of no server yet."""


class VddkOptions(JobModel):
    libdir: str | None = Field(default=None, min_length=1)
    """The directory of VMware's library (vmware-vix-disklib-distrib) on the host that reads; not given, the
    one that the plugin was built for."""
    plugin: str = Field(default="vddk", min_length=1)
    """nbdkit's plugin, by name, or by path where it stands elsewhere."""
    transports: tuple[Literal["file", "san", "hotadd", "nbdssl", "nbd"], ...] = Field(
        default=("nbdssl",), min_length=1
    )
    """The library's ways to the bytes, in the order to try: nbdssl is encrypted, nbd is not; san and hotadd
    take a host that reaches the datastore itself."""
    compression: Literal["none", "zlib", "fastlz", "skipz"] = "none"
    """Between ESXi and the library, for nbdssl and nbd."""
    nfc_host_port: int = Field(default=NFC_PORT, ge=1, le=65535)
    """The port of the ESXi hosts that the bytes come from."""


class DatastoreFull(VSphereError):
    pass


class OutOfBuffers(VSphereError):
    """An ESXi host has no NFC buffers left: other disks, or another product, have them."""

    transient = True


@dataclass(frozen=True)
class Found:
    """What a host has. `missing`: why disks cannot be read with VDDK there, and what to do; empty if they
    can. `version`: the library's major one. `extents`: it can tell holes."""

    missing: str
    version: int = 0
    extents: bool = False


def look(host: Host, options: VddkOptions) -> Found:
    """Loads plugin and library on `host`, connects nowhere. Raises CommandError, HostError."""
    libdir = (f"libdir={options.libdir}",) if options.libdir else ()
    done = host.run(("nbdkit", options.plugin, "--dump-plugin", *libdir), timeout=LOOK_TIMEOUT, ok=None)
    if done.exit_code != 0:
        return Found(_why_no_plugin(host.name, options, done.stderr))
    said = dict(
        line.split("=", 1) for line in done.stdout.decode(errors="replace").splitlines() if "=" in line
    )
    if "vddk_library_version" not in said:
        place = options.libdir or said.get("vddk_default_libdir", "the plugin's default directory")
        return Found(
            f"VMware's VDDK library is not in {place} on host {host.name}, or cannot be loaded from there: "
            f"unpack vmware-vix-disklib-distrib on it and name that directory in `vddk: {{libdir: …}}`"
        )
    return Found("", int(said["vddk_library_version"]), said.get("VixDiskLib_QueryAllocatedBlocks") == "1")


def _why_no_plugin(host: str, options: VddkOptions, stderr: str) -> str:
    said = (errors_in(stderr) or [last_words(stderr)])[-1]
    if "cannot open plugin" in said:
        return (
            f"nbdkit on host {host} has no plugin {options.plugin}: install it (nbdkit-plugin-vddk in Debian "
            f"13's contrib, nbdkit-vddk-plugin elsewhere) or name its file in `vddk: {{plugin: …}}`"
        )
    if "realpath" in said:
        return (
            f"there is no directory {options.libdir} on host {host}: `vddk: {{libdir: …}}` names where the "
            "VDDK library is"
        )
    return f"nbdkit's plugin {options.plugin} cannot be used on host {host}: {said}"


def configuration(directory: str) -> str:
    """The library's own configuration file; its logs and temporary files go to `directory`."""
    return (
        f'tmpDirectory="{directory}"\n'
        f"vixDiskLib.nfcAio.Session.BufSizeIn64KB={BUFFER_IN_64_KIB}\n"
        f"vixDiskLib.nfcAio.Session.BufCount={BUFFERS}\n"
    )


def argv(
    options: VddkOptions,
    vcenter: VCenter,
    *,
    thumbprint: str,
    disk: DiskFile,
    password_file: str,
    configuration_file: str,
    socket: str,
    pid_file: str,
) -> tuple[str, ...]:
    """`thumbprint` is SHA-1 with colons. The password is in a file only, which nbdkit has read once it
    listens. (A session's cookie would have to stand here for all to see.)"""
    return (
        *begin(socket=socket, pid_file=pid_file, read_only=not disk.written),
        # The library moves whole sectors, and more than 2 MiB at once exhaust the ESXi host's buffers.
        "--filter=blocksize",
        options.plugin,
        f"file={disk.file}",
        *((f"libdir={options.libdir}",) if options.libdir else ()),
        f"config={configuration_file}",
        f"server={vcenter.server}",
        f"port={vcenter.port}",
        f"thumbprint={thumbprint}",
        f"user={vcenter.username}",
        f"password=+{password_file}",
        f"vm=moref={disk.vm}",
        *((f"snapshot={disk.snapshot}",) if disk.snapshot else ()),
        f"transports={':'.join(transports_for(options, disk))}",
        f"compression={options.compression}",
        f"nfchostport={options.nfc_host_port}",
        "minblock=512",
        "maxdata=2M",
    )


def transports_for(options: VddkOptions, disk: DiskFile) -> tuple[str, ...]:
    """Over SAN the library writes only below a snapshot, which must not be there, and asks the ESXi host for
    each block of a thin disk (Programming Guide, "Restoring …")."""
    return tuple(name for name in options.transports if not (disk.written and name == "san"))


def failed_calls(stderr: str) -> list[str]:
    """What nbdkit said of calls that failed. The library's warnings read as errors too, so not all that looks
    like one is."""
    return [line for line in errors_in(stderr) if _CALL.match(line)]


def out_of_buffers(stderr: str) -> bool:
    return any(_OUT_OF_BUFFERS.search(line) for line in errors_in(stderr))


_ROLE = "give its role {privileges}"
_PORTS = (
    "from the host that reaches its disks, port 443 of the vCenter and the NFC port (902) of its ESXi hosts "
    "must be reachable"
)

_REMEDIES: tuple[tuple[str, type[VSphereError], str], ...] = (
    (
        "Unknown error",
        NotTrusted,
        "that is mostly a wrong thumbprint: look whether the vCenter's certificate was changed just now, or "
        "whether a proxy stands between it and the host that reads; else the file is one that a running VM "
        "writes",
    ),
    (
        "Insufficient permissions",
        PermissionMissing,
        f"the account or its password was changed, or it lacks rights: {_ROLE}",
    ),
    (
        "do not have access rights",
        PermissionMissing,
        f"the account lacks rights, or the file is locked: {_ROLE}",
    ),
    ("not licensed", PermissionMissing, f"that is how a missing privilege shows: {_ROLE}"),
    ("file was not found", SourceFailed, "the disk was moved: {again}"),
    ("virtual machine cannot be found", SourceFailed, "the VM was registered again or removed: {again}"),
    ("parameters supplied is invalid", SourceFailed, "{invalid}: {again}"),
    (
        "independent disk",
        SourceFailed,
        "VDDK does not read independent disks: leave it out with `skip-uncovered`",
    ),
    ("disk is full", DatastoreFull, "make room on datastore {datastore} and run the same command again"),
    ("write-protected", SourceFailed, "look in vSphere whether a snapshot or another VM uses the file"),
    ("already in use", Busy, "{user} has the disk open"),
    ("server could not be contacted", Unreachable, _PORTS),
    ("server refused connection", Unreachable, _PORTS),
    ("Cannot connect to the host", Unreachable, _PORTS),
    ("error in communication", Unreachable, "the connection broke"),
    ("connection was lost", Unreachable, "the connection broke"),
)
"""What the library says, whom it means, what to do. The texts are those of VDDK 6.7's list of error codes
(doc/errors of its documentation); nbdkit shows no numbers."""

_OF_SNAPSHOT = {
    "again": "run with --fresh, which takes a new snapshot",
    "invalid": "the snapshot no longer exists, or is another VM's",
    "user": "another backup",
}
_OF_VM = {
    "again": "look at the VM in vSphere, then run the same command again",
    "invalid": "the VM is no longer as it was",
    "user": "a backup, or the VM itself,",
}


def failure(what: str, stderr: str, disk: DiskFile) -> VSphereError:
    """The error for what nbdkit said. `what`: ``disk 2000 of pgtest1 (…)``."""
    begins = f"{what} cannot be {disk.verb} with VDDK"
    if out_of_buffers(stderr):
        return OutOfBuffers(
            f"{begins}: the ESXi host has no NFC buffers left, fewer disks at once will be opened on it "
            "(VDDK's limit is 48 MB a host, for all backup products together)"
        )
    calls = failed_calls(stderr)
    if not calls:
        return SourceFailed(f"{begins}: {(errors_in(stderr) or [last_words(stderr)])[-1]}")
    cause = calls[-1].rpartition(": ")[2].rstrip(".")
    privileges = f"{PRIVILEGES}; {WRITING} on the VM" if disk.written else PRIVILEGES
    words = {
        **(_OF_SNAPSHOT if disk.snapshot else _OF_VM),
        "privileges": privileges,
        "datastore": disk.datastore,
    }
    for text, kind, remedy in _REMEDIES:
        if text in cause:
            message = f'{begins}: it says "{cause}": {remedy.format_map(words)}'
            return (
                PermissionMissing(message, privileges, "the VM")
                if kind is PermissionMissing
                else kind(message)
            )
    return SourceFailed(f'{begins}: it says "{cause}"; VMware\'s list of VDDK error codes says more')
