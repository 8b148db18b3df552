"""import-vm: the VM that a restore is to be, with its disks, through an import lease."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Annotated

from pydantic import Field

from runner.base.errors import StateError
from runner.base.model import HOW, JobModel
from runner.base.units import MiB, counted, human_bytes
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Lifetime, Retained, Step
from steps.new_vm import imported, unfinished, unrecorded
from steps.restore import spool
from steps.restore.disk_stream import write_stream
from steps.restore.target_files import WrongPairError
from steps.values.created_vm import CreatedVm, foreseen
from steps.values.planned_vm import PlannedVm
from steps.values.serving import Serving
from steps.values.spooled import SpooledDisk
from steps.values.stored_point import StoredDisk
from steps.vsphere import import_lease, marks, specs
from steps.vsphere.client import vcenter
from steps.vsphere.import_lease import ImportLease, Send, Sent

_PIECE = MiB
"""Bytes that are read and sent at once."""

_PROGRESS_INTERVAL = 0.5


class ImportVmIn(JobModel):
    plan: PlannedVm
    """What it is to be"""
    disks: tuple[SpooledDisk, ...]
    """Its disks, compressed"""
    uploads: Annotated[int, HOW, Field(ge=1, le=16)] = 4
    """Disks that are uploaded at once: an ESXi host takes 20 to 30 MB/s of one"""


class ImportVmLive(JobModel):
    sources: tuple[Serving, ...]
    """The disks in the restore point, for those that are compressed while they are uploaded"""


class SpoolDamagedError(StateError):
    """A compressed disk is not what was written. It is removed, and made again by the next attempt."""

    transient = True

    def __init__(self, path: Path) -> None:
        super().__init__(f"the compressed disk {path} is damaged: it is removed, and made again")


class StreamChangedError(StateError):
    """A disk compresses to another stream than before: another version of isal is installed now."""

    invalidates = ("disks",)
    self_healing = True

    def __init__(self, disk: StoredDisk) -> None:
        super().__init__(
            f"disk {disk.key} compresses to another stream than before (another version of isal is "
            "installed now): all disks are compressed again"
        )


class ImportVm(Step[ImportVmIn, ImportVmLive, CreatedVm]):
    """Makes the VM in vCenter by an import lease, and uploads its disks to the ESXi host that the lease
    names, several at once. No library of VMware is needed. The VM carries the run's mark from its first
    moment, and the run's id in its name until all of it was read back and compared.

    A lease cannot be resumed: one that ends takes the VM with it. So one process does it from the beginning
    to the end, and after a failure all disks are uploaded again, from the compressed streams. What the host
    says that it got is compared with what was sent, by size and digest."""

    name = "import-vm"
    lifetime = Lifetime.KEEP
    In = ImportVmIn
    Live = ImportVmLive
    Out = CreatedVm
    example = (
        'uses: import-vm, with: {plan: "${{ plan }}", disks: "${{ spool }}", sources: "${{ source }}"}, '
        "retries: 5"
    )
    errors = (
        "vCenter refuses the VM (its reason is shown), and makes nothing then",
        "a datastore has no room for it",
        "the ESXi host cannot be reached, or shows another certificate than the lease says",
        "the ESXi host refuses a disk (its reason is shown), or the connection to it breaks",
        "what arrived is not what was sent: disk and digests are named",
        "several VMs carry this run's mark, since somebody copied the unfinished one",
    )

    def check(self, ctx: Context, inputs: ImportVmIn, recorded: CreatedVm | None) -> CreatedVm | None:
        client = vcenter(ctx, inputs.plan.vcenter)
        if recorded is not None:
            return recorded if unfinished.still_there(client, recorded) else None
        found = imported.whole(client, ctx.run.id)
        return None if found is None else unfinished.describe(client, found, inputs.plan)

    def run(self, ctx: Context, inputs: ImportVmIn, live: ImportVmLive) -> CreatedVm:
        plan, client = inputs.plan, vcenter(ctx, inputs.plan.vcenter)
        # Also a whole one: what was read back of it was not what it should be.
        imported.clear(ctx, client)
        name = unfinished.interim_name(plan.machine.name, ctx.run.id)
        mark = marks.stamp(ctx, plan.source)
        spec = specs.import_spec(plan.machine, name, {marks.RESTORE: mark}, unrecorded.read(ctx, plan))

        def begun(moref: str) -> None:
            imported.leases(ctx).append(f"{moref}\n".encode())

        with import_lease.importing(client, plan.machine, spec, name, begun) as lease:
            _Uploads(ctx, inputs, live, lease).run()
            lease.complete()
        # At once: until its mark says so, a crash costs all uploads.
        made = imported.declare_whole(client, lease.vm, ctx.run.id)
        for disk in inputs.disks:
            if disk.path:
                spool.remove(Path(disk.path))
        return unfinished.describe(client, made, plan)

    def preflight(self, ctx: Context | None, known: Known[ImportVmIn, CreatedVm]) -> Preflight[CreatedVm]:
        settings = _settings(known)
        if ctx is None or known.inputs is None or known.out is not None:
            return Preflight(settings=settings)
        plan = known.inputs.plan
        name = unfinished.interim_name(plan.machine.name, ctx.run.id)
        disks, size = counted(len(plan.disks), "disk"), sum(disk.stored.data for disk in plan.disks)
        return Preflight(
            settings=settings,
            notes=(
                f"{name} in vCenter {plan.vcenter}: {disks} with {human_bytes(size)} of content, uploaded "
                "compressed",
            ),
            size=size,
            prospect=foreseen(plan, name),
        )

    def undo(self, ctx: Context, inputs: ImportVmIn, out: CreatedVm) -> None:
        imported.remove(ctx, vcenter(ctx, inputs.plan.vcenter), out)

    def leftover(self, ctx: Context, inputs: ImportVmIn) -> CreatedVm | None:
        return unfinished.leftover(vcenter(ctx, inputs.plan.vcenter), ctx.run.id, inputs.plan)

    def retained(self, ctx: Context, inputs: ImportVmIn, out: CreatedVm) -> Retained:
        return unfinished.retained(out)

    def report(self, out: CreatedVm) -> StepReport:
        text = f"The VM was imported as {out.moref} in vCenter {out.vcenter}, into {out.vmx_file}."
        return StepReport(statements=(Statement(about="how", text=text),))


def _settings(known: Known[ImportVmIn, CreatedVm]) -> tuple[Setting, ...]:
    if "uploads" not in known.told:
        return ()
    at_once = counted(known.told["uploads"], "disk")
    text = f"up to {at_once} at once, compressed; it cannot resume: cut short, all disks are uploaded again"
    return (Setting(name="upload", text=text),)


class _Uploads:
    """Of all disks, several at once, from their files or from the restore point."""

    def __init__(self, ctx: Context, inputs: ImportVmIn, live: ImportVmLive, lease: ImportLease) -> None:
        self._ctx = ctx
        self._at_once = inputs.uploads
        self._lease = lease
        self._disks = [
            (_spooled(inputs, planned.stored), planned.stored, _source(live, planned.stored))
            for planned in inputs.plan.disks
        ]
        self._total = sum(spooled.size for spooled, _, _ in self._disks)
        self._sent = 0
        self._lock = Lock()

    def run(self) -> None:
        """Raises SendenseError: of the first disk that fails, which ends the others."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="upload") as pool:
            running = [pool.submit(self._upload, *one) for one in self._disks]
            for one in running:
                one.result()
        sent = {one.disk_key: Sent(one.size, one.sha1, one.sha256) for one, _, _ in self._disks}
        for key in self._lease.compare(sent):
            self._ctx.warn(f"the ESXi host does not say what it got of disk {key}: reading it back tells")

    def _upload(self, spooled: SpooledDisk, disk: StoredDisk, source: Serving) -> None:
        done, told = 0, time.monotonic()

        def sent(length: int) -> None:
            nonlocal done, told
            done += length
            with self._lock:
                self._sent += length
                self._lease.show(100 * self._sent // max(1, self._total))
            if (now := time.monotonic()) - told >= _PROGRESS_INTERVAL or done == spooled.size:
                told = now
                self._ctx.progress(f"disk {disk.key}", "upload", done, spooled.size)

        # What was sent is told from here on: of a disk that went in one piece the report would say 0 bytes.
        self._ctx.progress(f"disk {disk.key}", "upload", 0, spooled.size)
        self._lease.upload(disk.key, spooled.size, self._feed(spooled, disk, source), sent)

    def _feed(self, spooled: SpooledDisk, disk: StoredDisk, source: Serving) -> Callable[[Send], None]:
        path = Path(spooled.path)
        if spooled.path and path.exists():
            return lambda send: _send_file(path, spooled, send)
        return lambda send: self._send_again(spooled, disk, source, send)

    def _send_again(self, spooled: SpooledDisk, disk: StoredDisk, source: Serving, send: Send) -> None:
        """Compressed while it is sent: it is the stream whose size was announced."""
        left = spooled.size

        def within(piece: bytes) -> None:
            nonlocal left
            left -= len(piece)
            if left < 0:
                raise StreamChangedError(disk)
            send(piece)

        made = write_stream(self._ctx, disk, source, within).stream
        if (made.size, made.sha256) != (spooled.size, spooled.sha256):
            raise StreamChangedError(disk)


def _send_file(path: Path, spooled: SpooledDisk, send: Send) -> None:
    """One that is not what was written to it is removed, so that it is made again."""
    digest, left = hashlib.sha256(), spooled.size
    with path.open("rb") as file:
        while left and (piece := file.read(min(_PIECE, left))):
            digest.update(piece)
            left -= len(piece)
            send(piece)
    if left or digest.hexdigest() != spooled.sha256:
        spool.remove(path)
        raise SpoolDamagedError(path)


def _spooled(inputs: ImportVmIn, disk: StoredDisk) -> SpooledDisk:
    return next(one for one in inputs.disks if one.disk_key == disk.key)


def _source(live: ImportVmLive, disk: StoredDisk) -> Serving:
    """Raises WrongPairError."""
    found = next((one for one in live.sources if one.image == disk.image), None)
    if found is None:
        raise WrongPairError(disk, live.sources[0], "an import lease")
    return found
