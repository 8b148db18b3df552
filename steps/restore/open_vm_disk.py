"""open-vm-disk: a disk of a VM that is off over NBD, to be written to or read back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.base.model import HOW, HostName, JobModel
from runner.events.check_results import Observation, good, observe, wrong
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.source import choice, nbdkit, nbdkit_curl, vm_disk
from steps.source.choice import Choice, NoTransport
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.created_vm import MarkedVm
from steps.values.stored_point import StoredDisk
from steps.values.vm_disk import VmDiskServing
from steps.vsphere import datastores, hardware, privileges
from steps.vsphere.attached import NotReady
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import Gone, PermissionMissing
from steps.vsphere.names import datastore_file, unescape


class OpenVmDiskIn(JobModel):
    vm: MarkedVm
    """The VM. It stays off."""
    disk: StoredDisk
    """The disk of the restore point: the VM's disk for it is opened."""
    mode: Literal["read", "write"] = "read"
    """Whether it is to be written to, which takes VMware's VDDK; a disk that is written can be read too."""
    host: Annotated[HostName, HOW] = "local"
    """Where it is opened, near vSphere."""
    transport: Annotated[Literal["auto", "vddk", "https", "export"], HOW] = "auto"
    """How it is read: `vddk` takes VMware's library, `https` the datastore's files, `export` an export lease,
    for which nothing is opened here. `auto` takes `vddk` where the host has it, else `https` where the
    disk's file allows it, else `export`."""
    connections: Annotated[int, Field(ge=1, le=16), HOW] = 4
    """That read the disk over HTTPS at most: it begins with one, and the others come once 16 MiB were read.
    VDDK has one connection a disk."""
    vddk: Annotated[VddkOptions, HOW] = VddkOptions()
    """Where VMware's library is, and how it reaches the disk: `libdir`, `plugin`, `transports` (nbdssl, nbd,
    san, hotadd), `compression` (none, zlib, fastlz, skipz), `nfc-host-port`."""


class OpenVmDisk(Step[OpenVmDiskIn, Empty, VmDiskServing]):
    """Serves one disk of a VM that is off over NBD, on the host that is near vSphere.

    Before it is opened, it is looked at: the VM must be off and without snapshots, and the disk the one that
    was meant. To be written to, it is opened with VMware's library, and only if the VM carries this run's
    mark. To be read back, it is opened with that library too, or nbdkit reads its flat file over HTTPS. It
    ends with this run, however it ends."""

    name = "open-vm-disk"
    lifetime = Lifetime.PROCESS
    In = OpenVmDiskIn
    Out = VmDiskServing
    tools = (nbdkit_curl.NBDKIT_CURL, nbdkit.NBDKIT)
    example = (
        'uses: open-vm-disk, each: {disk: "${{ point.disks }}"}, '
        'with: {vm: "${{ vm }}", disk: "${{ disk }}", mode: write, host: node}'
    )
    errors = (
        "the VM is on, has snapshots, or its disk is another one than this run knows",
        "the VM does not carry this run's mark (nothing is written)",
        "the host has no nbdkit plugin for VDDK, or no library, which writing takes",
        "nothing can read the disk back (each way's reason is shown)",
        "VDDK refuses: certificate, account, ports, the ESXi host's buffers (its words and a remedy are "
        "shown)",
    )

    def run(self, ctx: Context, inputs: OpenVmDiskIn, live: Empty) -> VmDiskServing:
        client, vm, key = vcenter(ctx, inputs.vm.vcenter), inputs.vm, inputs.disk.key
        looked = vm_disk.look(client, vm, vm.disk(key))
        return vm_disk.serve(
            ctx,
            ctx.host(inputs.host),
            vm,
            key,
            looked,
            _choose(ctx, client, inputs, looked[1].why_not_flat),
            inputs.vddk,
            written=inputs.mode == "write",
            connections=inputs.connections,
        )

    def preflight(
        self, ctx: Context | None, known: Known[OpenVmDiskIn, VmDiskServing]
    ) -> Preflight[VmDiskServing]:
        if ctx is None:
            return Preflight()
        if known.inputs is None:
            told = dict(known.told)
            if told.get("mode") == "write":
                told["transport"] = "vddk"
            if told.get("transport") in ("auto", vm_disk.EXPORT):
                return Preflight()
            return Preflight(observations=choice.observed_early(ctx, told))
        inputs = known.inputs
        subject = f"disk {inputs.disk.key}"
        looked_at = f"how it can be {'written' if inputs.mode == 'write' else 'read back'}"
        try:
            observations, how = _foreseen(ctx, inputs)
        except (NoTransport, NotReady, Gone) as error:
            return Preflight(observations=(wrong(subject, looked_at, error.message),))
        return Preflight(observations=(good(subject, looked_at, how), *observations), notes=(how,))

    def report(self, out: VmDiskServing) -> StepReport:
        done = "read back" if out.read_only else "written"
        how = vm_disk.IN_WORDS[out.transport]
        text = f"Disk {out.disk_key} of VM {out.vm} was {done} {how}, in {out.file}."
        return StepReport(statements=(Statement(about="how", text=text),))


def _choose(ctx: Context, client: Client, inputs: OpenVmDiskIn, why_not_flat: str) -> Choice | None:
    """None: by an export lease. Raises NoTransport."""
    name, host = vm_disk.called(inputs.vm, inputs.disk.key), ctx.host(inputs.host)
    if inputs.mode == "write":
        if inputs.transport not in ("auto", "vddk"):
            raise NoTransport(f"{name} cannot be written by `transport: {inputs.transport}`: it takes `vddk`")
        return vm_disk.way_to_write(ctx, host, inputs.vm, inputs.disk.key, inputs.vddk)
    if inputs.transport == vm_disk.EXPORT:
        return None
    try:
        return choice.choose(ctx, host, inputs.transport, inputs.vddk, name, why_not_flat)
    except NoTransport as neither:
        if inputs.transport != "auto":
            raise
        try:
            privileges.require(client, _to_export(inputs.vm))
        except PermissionMissing as missing:
            raise NoTransport(f"{neither.message}; nor by an export lease: {missing.message}") from missing
        return None


def _to_export(vm: MarkedVm) -> tuple[privileges.Wanted, ...]:
    return privileges.to_export(vm.moref, vm.name) if vm.moref else privileges.to_export_from(vm.folder)


def _foreseen(ctx: Context, inputs: OpenVmDiskIn) -> tuple[tuple[Observation, ...], str]:
    """What opening the disk stands on, and how it will be opened, in words. Of a VM that is not there yet, by
    the datastore that its disk will be on. Raises NoTransport, NotReady, Gone."""
    vm, disk = inputs.vm, inputs.vm.disk(inputs.disk.key)
    client, host = vcenter(ctx, vm.vcenter), ctx.host(inputs.host)
    found = vm_disk.look(client, vm, disk)[1] if vm.moref else None
    if found is not None:
        why_not_flat = found.why_not_flat
    else:
        kinds = ctx.looked(("kinds of datastores", client.name), lambda: datastores.kinds(client))
        kind = kinds.get(unescape(datastore_file(disk.file, kinds).datastore), "")
        why_not_flat = hardware.why_no_flat_file(kind)
    way = _choose(ctx, client, inputs, why_not_flat)
    if way is None:
        permitted = observe(
            f"disk {disk.key}",
            "privileges to read it back",
            lambda: privileges.require(client, _to_export(vm)),
        )
        return (permitted,), "read back by an export lease"
    how = f"over {way.transport}: {way.why}"
    if found is None:
        return choice.stands_on(ctx, host, way.transport), how
    file = vm_disk.of_vm(vm, disk.key, found, written=inputs.mode == "write")
    return choice.observed(ctx, host, client, file, way.transport, inputs.vddk), how
