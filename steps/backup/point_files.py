"""What a restore point holds beside its images, and the order in which all of it gets onto stable storage."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from runner.base.errors import Interrupted, SendenseError, StateError
from runner.base.slug import slug
from runner.hosts.files import is_temporary
from runner.hosts.host import Host
from runner.step.context import Context
from steps.backup import point_manifest
from steps.backup.unpublished import MixedUpError, Unpublished
from steps.brake import publishing
from steps.qemu import img
from steps.repository import layout, manifest, saved_files
from steps.repository.manifest import Manifest
from steps.repository.section import brake_of
from steps.repository.vm_directory import VmDirectory
from steps.vsphere import datastores, snapshots
from steps.vsphere.client import vcenter

_BESIDE = 4
"""Things that are asked and done while the VM's files are saved."""


def complete(ctx: Context, inputs: Unpublished, host: Host, point: str) -> None:
    """Everything of the point is in the `.partial` directory and on stable storage. What does not wait for
    each other goes side by side."""
    directory = inputs.directory
    keys = sorted(disk.copied.key for disk in inputs.disks)
    files = [posixpath.join(directory, name(key)) for key in keys for name in (layout.image, layout.digests)]
    with ThreadPoolExecutor(_BESIDE, thread_name_prefix="publish") as beside:
        synced = beside.submit(host.sync, *files)
        wrong = beside.submit(lambda: list(orphaned(inputs, host)))
        there = beside.submit(point_manifest.there, host, posixpath.dirname(directory))
        notes = [
            f"Disk {left.key} ({left.label}, {left.why}) is not in this point." for left in inputs.uncovered
        ]
        inventory = beside.submit(_inventory, ctx, inputs)
        nvram, saved = _save_vm(ctx, inputs, host, keys, notes, inventory)
        tools = _tools(ctx, inputs, host, notes)
        if problems := wrong.result():
            raise MixedUpError(problems)
        made = point_manifest.of(
            ctx, inputs, point, there.result(), nvram=nvram, notes=tuple(notes), tools=tools, saved=saved
        )
        # Images and digests before the manifest that vouches for them: a power cut must not keep the manifest
        # and lose what it describes.
        synced.result()
    for sentence in made.clocks:
        ctx.warn(sentence)
    made, braked = _judged(ctx, inputs, host, there.result().seen, made)
    if braked is not None:
        ctx.warn(f"{inputs.vm.name}: {braked}")
    host.write(posixpath.join(directory, layout.MANIFEST), manifest.dump(made))
    # The names of all files, too, before the rename that lists the point.
    host.sync(posixpath.join(directory, layout.VM_FILES), directory)


def _judged(
    ctx: Context, inputs: Unpublished, host: Host, before: VmDirectory, made: Manifest
) -> tuple[Manifest, str | None]:
    """The manifest with what the brake notes in it, and why retention deletes nothing of the VM once the
    point is there, in words; None where it may."""
    limits = brake_of(ctx, inputs.disks[0].image.repository)
    try:
        made, brake = publishing.judged(host, before, made, limits, ctx.warn)
    except StateError as error:  # retention deletes nothing either
        return made, error.message
    return made, None if brake is None else brake.sentence


def orphaned(inputs: Unpublished, host: Host) -> Iterator[str]:
    """What is wrong with the parents of incremental images, in words: each must be a published point of this
    VM, and be what the image itself names."""
    directory = posixpath.dirname(inputs.directory)
    seen = img.infos(host, [disk.image.path for disk in inputs.disks])
    points: dict[str, Manifest | None] = {}
    for disk, found in zip(inputs.disks, seen, strict=True):
        image, parent, below = disk.image, disk.copied.parent, found.backing_file
        expected = None if parent is None else parent.image
        if below != expected:
            yield (
                f"disk {image.key} in {image.path} is backed by {below or 'nothing'} instead of "
                f"{expected or 'nothing'}"
            )
        if parent is None:
            continue
        if parent.point not in points:
            points[parent.point] = manifest.read(host, posixpath.join(directory, parent.point))
        there = points[parent.point]
        if there is None or there.disk(image.key) is None:
            yield (
                f"disk {image.key} is backed by {parent.point}, which is not a restore point of "
                f"{inputs.vm.name} with that disk"
            )


def _save_vm(
    ctx: Context,
    inputs: Unpublished,
    host: Host,
    keys: Sequence[int],
    notes: list[str],
    inventory: Future[bytes],
) -> tuple[str | None, dict[str, str]]:
    """The VM's configuration, and its NVRAM, whose file name is returned, with the digests of all of them."""
    directory = inputs.directory
    wanted = {name for key in keys for name in (layout.image(key), layout.digests(key), *layout.markers(key))}
    # Of an earlier attempt of this run, whose directory it is: a torn temporary file, an older manifest.
    others = set(host.listdir(directory)) - wanted
    host.remove(*(posixpath.join(directory, name) for name in others), recursive=True)
    vm_files = posixpath.join(directory, layout.VM_FILES)
    host.mkdir(vm_files)
    # Read only now, and written only there: guests are given passwords in it.
    saved = snapshots.configuration(vcenter(ctx, inputs.snapshot.vcenter), inputs.snapshot.moref)
    config = json.dumps(saved, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    content = _nvram(ctx, inputs, notes)
    name = None if content is None else f"{slug(inputs.vm.name)}.nvram"
    beside = [(layout.VM_INVENTORY, inventory.result())]
    if name is not None and content is not None:
        beside.append((name, content))
    host.write_sparse(posixpath.join(vm_files, layout.VM_CONFIG), len(config), [(0, config)], then=beside)
    return name, saved_files.digests({layout.VM_CONFIG: config, **dict(beside)})


def _inventory(ctx: Context, inputs: Unpublished) -> bytes:
    """What the vCenter knows of the VM beside its configuration. A point without it still restores the VM:
    that it could not be read is saved in its place."""
    from steps.vsphere import vm_inventory

    try:
        found = vm_inventory.of_vm(vcenter(ctx, inputs.snapshot.vcenter), inputs.snapshot.vm)
    except Interrupted:
        raise
    except SendenseError as error:
        found = vm_inventory.VmInventory(unread=error.message)
    return json.dumps(found.to_json_value(), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _nvram(ctx: Context, inputs: Unpublished, notes: list[str]) -> bytes | None:
    """A point without it still restores every disk: a failure is noted, not raised."""
    if inputs.snapshot.nvram is None:
        return None
    try:
        client = vcenter(ctx, inputs.snapshot.vcenter)
        file = datastores.file_of(client, inputs.snapshot.vm, inputs.snapshot.nvram)
        return client.download(inputs.snapshot.datacenter, file)
    except Interrupted:
        raise
    except SendenseError as error:
        notes.append(f"The NVRAM file {inputs.snapshot.nvram} could not be saved: {error.message}")
        ctx.warn(notes[-1])
        return None


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
