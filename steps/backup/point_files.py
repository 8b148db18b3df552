"""What a restore point holds beside its images, and the order in which all of it gets onto stable storage."""

from __future__ import annotations

import json
import posixpath

from runner.base.errors import Interrupted, SendenseError
from runner.hosts.files import is_temporary
from runner.hosts.host import Host
from runner.step.context import Context
from steps.backup import point_manifest
from steps.backup.unpublished import Unpublished
from steps.qemu import img
from steps.repository import layout, manifest
from steps.vsphere import datastores, snapshots
from steps.vsphere.client import vcenter


def complete(ctx: Context, inputs: Unpublished, host: Host, point: str) -> None:
    """Everything of the point is in the `.partial` directory and on stable storage."""
    directory = inputs.directory
    vm_files = posixpath.join(directory, layout.VM_FILES)
    disks = sorted(disk.copied.key for disk in inputs.disks)
    wanted = {
        name for key in disks for name in (layout.image(key), layout.digests(key), *layout.markers(key))
    }
    # Of an earlier attempt of this run, whose directory it is: a torn temporary file, an older manifest.
    others = set(host.listdir(directory)) - wanted
    host.remove(*(posixpath.join(directory, name) for name in others), recursive=True)
    host.mkdir(vm_files)
    # Read only now, and written only there: guests are given passwords in it.
    saved = snapshots.configuration(vcenter(ctx, inputs.snapshot.vcenter), inputs.snapshot.moref)
    config = json.dumps(saved, indent=1, sort_keys=True, ensure_ascii=False)
    host.write(posixpath.join(vm_files, layout.VM_CONFIG), config.encode() + b"\n")
    notes = [f"Disk {left.key} ({left.label}, {left.why}) is not in this point." for left in inputs.uncovered]
    nvram = _save_nvram(ctx, inputs, host, vm_files, notes)
    tools = _tools(ctx, inputs, host, notes)
    files = (posixpath.join(directory, name(key)) for key in disks for name in (layout.image, layout.digests))
    # Images and digests before the manifest that vouches for them: a power cut must not keep the manifest and
    # lose what it describes.
    host.sync(*files)
    made = point_manifest.of(ctx, inputs, point, host, nvram=nvram, notes=tuple(notes), tools=tools)
    for sentence in made.clocks:
        ctx.warn(sentence)
    host.write(posixpath.join(directory, layout.MANIFEST), manifest.dump(made))
    # The names of all files, too, before the rename that lists the point.
    host.sync(vm_files, directory)


def _save_nvram(ctx: Context, inputs: Unpublished, host: Host, vm_files: str, notes: list[str]) -> str | None:
    """Its file name in `vm_files`. A point without it still restores every disk: a failure is noted, not
    raised."""
    if inputs.snapshot.nvram is None:
        return None
    try:
        client = vcenter(ctx, inputs.snapshot.vcenter)
        file = datastores.file_of(client, inputs.snapshot.vm, inputs.snapshot.nvram)
        content = client.download(inputs.snapshot.datacenter, file)
    except Interrupted:
        raise
    except SendenseError as error:
        notes.append(f"The NVRAM file {inputs.snapshot.nvram} could not be saved: {error.message}")
        ctx.warn(notes[-1])
        return None
    name = f"{layout.slug(inputs.vm.name)}.nvram"
    host.write(posixpath.join(vm_files, name), content)
    return name


def _tools(ctx: Context, inputs: Unpublished, host: Host, notes: list[str]) -> dict[str, str]:
    """Of this run, and of what wrote the images and was asked for them, though an earlier execution did
    that."""
    if (qemu := f"qemu-img on {host.name}") not in ctx.run.tools:
        ctx.uses(qemu, img.version(host))
    try:
        ctx.uses("vCenter", vcenter(ctx, inputs.snapshot.vcenter).version)
    except Interrupted:
        raise
    except SendenseError as error:
        notes.append(f"The vCenter's version is unknown: {error.message}")
    return dict(ctx.run.tools)


def leftovers(host: Host, path: str, inputs: Unpublished) -> list[str]:
    """Files in the point at `path` that only a run needs, or that a killed one left."""
    markers = {name for disk in inputs.disks for name in layout.markers(disk.copied.key)}
    return [name for name in host.listdir(path) if name in markers or is_temporary(name)]
