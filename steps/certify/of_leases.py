"""Import leases: what one says, takes and ends with. Each makes a VM of its own, which goes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from runner.base.units import MINUTE, KiB
from runner.base.waiting import until
from steps.certify.outcomes import NotTried, called, failed
from steps.certify.scratch import CAPACITY, Scratch
from steps.certify.trial import Trial
from steps.stream.writer import StreamWriter
from steps.vsphere import machine, nfc, specs, vmomi
from steps.vsphere.client import Client
from steps.vsphere.faults import explained
from steps.vsphere.nfc import Device
from steps.vsphere.properties import read
from steps.vsphere.session import Session

READY_DEADLINE = 5 * MINUTE
GONE_DEADLINE = MINUTE
LONGEST_ANSWER = 64 * KiB

TIMEOUT = 300
"""Seconds without progress after which a lease ends (pyvmomi-community-samples issue 417)."""

PLACE = "ParaVirtualSCSIController0:0"
SHA1 = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){19}")
NVRAM = "ovf:/file/file1"


@dataclass(frozen=True)
class Opened:
    moref: str
    info: Any
    client: Client

    def device(self, *, disk: bool) -> Device:
        """Raises NotTried."""
        for one in self.info.deviceUrl or ():
            if bool(one.disk) is disk:
                return Device(str(one.key or ""), "", str(one.url), str(one.sslThumbprint or ""))
        raise NotTried(f"the lease names no {'disk' if disk else 'file beside the disk'}")


@contextmanager
def _lease(scratch: Scratch, client: Client, *, nvram: bool = False) -> Iterator[Opened]:
    """Ready; aborted in the end. Raises NotTried where there is none."""
    moref = _start(scratch, client, nvram=nvram)
    try:
        yield Opened(moref, _ready(client, moref), client)
    finally:
        called(client, "aborting a lease", lambda session: _of(session, moref).HttpNfcLeaseAbort())


def _start(scratch: Scratch, client: Client, *, nvram: bool) -> str:
    of: Any = vmomi.vim.vm.VmImportSpec
    spec = of(configSpec=scratch.spec("-d"))
    if nvram:
        spec.configSpec.extraConfig += specs.options({"nvram": NVRAM})

    def work(session: Session) -> Any:
        host = scratch.place.host and session.object(vmomi.vim.HostSystem, scratch.place.host)
        folder = session.object(vmomi.vim.Folder, scratch.place.folder)
        return session.object(vmomi.vim.ResourcePool, scratch.place.pool).ImportVApp(spec, folder, host)

    started = called(client, "importing a scratch VM", work)
    if said := failed(started):
        raise NotTried(f"a lease: {said}")
    made: Any = started.result
    return str(made._moId)


def _of(session: Session, moref: str) -> Any:
    return session.object(vmomi.vim.HttpNfcLease, moref)


def _ready(client: Client, moref: str) -> Any:
    def ready() -> Any:
        paths = ("state", "error", "info")
        seen = read(client, vmomi.vim.HttpNfcLease, moref, paths, "waiting for a lease")
        state = str(seen.get("state", ""))
        if state in ("error", "done"):
            error: Any = seen.get("error")
            raise NotTried(f"a lease ended with {type(error).__name__.rpartition('.')[2]}")
        return seen.get("info") if state == "ready" else None

    return until(ready, stop=client.stop, timeout=READY_DEADLINE, pause=0.05, longest_pause=2.0)


def timeout(scratch: Scratch) -> str | None:
    with _lease(scratch, scratch.client) as lease:
        found = int(lease.info.leaseTimeout or 0)
    return None if found == TIMEOUT else f"a lease ends after {found} s"


def names(scratch: Scratch) -> str | None:
    with _lease(scratch, scratch.client) as lease:
        one = next((one for one in lease.info.deviceUrl or () if one.disk), None)
        vm = str(lease.info.entity._moId)
    if one is None:
        return "the lease names no disk"
    said = []
    if one.key != f"/{vm}/{PLACE}":
        said.append(f"a key that ends in {_end(one.key)}")
    if one.importKey != f"/{scratch.name}-d/{PLACE}":
        said.append(f"an importKey that ends in {_end(one.importKey)}")
    if not SHA1.fullmatch(one.sslThumbprint or ""):
        said.append("no SHA-1 thumbprint")
    if not one.datastoreKey:
        said.append("no datastoreKey")
    return "; ".join(said) or None


def _end(key: str | None) -> str:
    """Without the VM's name."""
    return (key or "").rpartition("/")[2] or "nothing"


def stream(scratch: Scratch) -> str | None:
    content = _empty_disk()
    with _lease(scratch, scratch.client) as lease:
        length = {"Content-Length": str(len(content))}
        status = _send(lease, lease.device(disk=True), "POST", content, length)
    return None if status in (200, 201) else f"status {status} for a stream of an empty disk"


def chunked(scratch: Scratch) -> str | None:
    with _lease(scratch, scratch.client) as lease:
        chunks = {"Transfer-Encoding": "chunked"}
        status = _send(lease, lease.device(disk=True), "POST", _empty_disk(), chunks)
    return None if status == 411 else f"status {status} for a stream without its length"


def beside(scratch: Scratch) -> str | None:
    with _lease(scratch, scratch.client, nvram=True) as lease:
        device, length = lease.device(disk=False), {"Content-Length": "4"}
        posted = _send(lease, device, "POST", b"MRVN", length)
        first = _send(lease, device, "PUT", b"MRVN", {**length, "Overwrite": "t"})
        again = _send(lease, device, "PUT", b"MRVN", length)
    said = [f"status {posted} for a POST"] if posted != 405 else []
    said += [f"status {first} for a PUT"] if first not in (200, 201) else []
    said += [f"status {again} for a PUT onto it without Overwrite"] if again < 400 else []
    return "; ".join(said) or None


def logout(scratch: Scratch) -> str | None:
    """In a session of its own."""
    with Client(scratch.client.name, scratch.client.vcenter) as own:
        session = own.until(scratch.client.stop)
        vm = str(_ready(session, _start(scratch, session, nvram=False)).entity._moId)
    try:
        until(
            lambda: machine.identity(scratch.client, vm) is None,
            stop=scratch.client.stop,
            timeout=GONE_DEADLINE,
            pause=0.1,
            longest_pause=3.0,
        )
    except TimeoutError:
        return "the VM is there a minute after the session ended"
    return None


def _empty_disk() -> bytes:
    """As a restore writes it: its tables behind the grains, of which there are none, and a footer."""
    written = BytesIO()
    with StreamWriter(written.write, CAPACITY, content_id=1, threads=1) as writer:
        writer.finish()
    return written.getvalue()


def _send(lease: Opened, device: Device, method: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The answer's status. The body is chunked where no length is given."""
    chunked = "Content-Length" not in headers
    with (
        explained(lease.client.server, "sending to an ESXi host"),
        closing(nfc.connect(lease.client, device)) as host,
    ):
        sent = {"Content-Type": nfc.STREAM, **headers}
        host.request(
            method, nfc.target(device), iter((body,)) if chunked else body, sent, encode_chunked=chunked
        )
        answer = host.getresponse()
        answer.read(LONGEST_ANSWER)
        return answer.status


TRIALS = (
    Trial(35, "a lease ends after 300 s without a sign of life", timeout),
    Trial(40, "a lease names disks by controller, bus and unit, and its host by a SHA-1 thumbprint", names),
    Trial(41, "a stream of an empty disk is taken", stream),
    Trial(41, "a stream without its length is answered with 411", chunked),
    Trial(44, "a file beside the disks is PUT: 405 for a POST, refused onto what is there", beside),
    Trial(43, "a lease ends with its session, and its VM with it", logout),
)
