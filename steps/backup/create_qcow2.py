"""create-qcow2: an image of the disk's exact size in the run's `.partial` directory, empty or on a parent."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, Any

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel, SectionName
from runner.base.units import MiB, human_bytes
from runner.events.check_results import Observation, good, met, wrong
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.space import Space
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.backup import vm_directory
from steps.backup.image_size import bounds
from steps.nbd import forwards
from steps.points.image_file import on_disk
from steps.qemu import img
from steps.repository import layout, reader, vm_place
from steps.repository.marker import marked
from steps.repository.section import locate
from steps.values.base import Base
from steps.values.image import Image
from steps.vsphere.inventory import VM, Disk

LEAST_FREE = 64 * MiB
"""Below it no backup of any worth fits, and what others write there fails soon too."""


BESIDE = MiB
"""What an image takes beyond the content of its disk: tables, digests, a share of the manifest, and the rest
of blocks that hold little, since a full keeps blocks of 1 MiB whole."""


class CreateQcow2In(JobModel):
    disk: Disk
    """The disk that the image is for."""
    vm: VM
    """Whose directory in the repository the image goes to."""
    repository: Annotated[str, SectionName("repositories")]
    """Where restore points are kept."""
    base: Base | None = None
    """The image's backing image and how it is known what to write; without it the image is a full."""


class CreateQcow2(Step[CreateQcow2In, Empty, Image]):
    """Makes an empty qcow2 image for one disk. It is as large as the disk to the byte, in a
    directory of this run beside the VM's restore points. That of an incremental has its parent's image below
    it, by a relative name, and reads as the parent until it is written to. An image that is there already and
    right is kept with what is in it."""

    name = "create-qcow2"
    lifetime = Lifetime.KEEP
    In = CreateQcow2In
    Out = Image
    tools = (img.QEMU_IMG,)
    example = (
        'uses: create-qcow2, each: {disk: "${{ discover.disks }}"}, '
        'with: {disk: "${{ disk }}", vm: "${{ discover.vm }}", repository: main}'
    )
    errors = (
        "the path is not a repository (is the disk mounted?)",
        "the VM's directory belongs to a VM of another vCenter with the same instance uuid",
        "the disk's capacity is not a multiple of 512 bytes",
        "no space is left on the repository host",
    )

    def check(self, ctx: Context, inputs: CreateQcow2In, recorded: Image | None) -> Image | None:
        host, root = locate(ctx, inputs.repository)
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        if directory is None:
            return None
        if recorded is not None and vm_place.point_of_run(host, directory, ctx.run.id) is not None:
            return recorded
        image = _image(ctx, inputs, host, directory)
        if recorded is None and _must_be_new(inputs):
            return None
        return image if _is_right(host, image) else None

    def run(self, ctx: Context, inputs: CreateQcow2In, live: Empty) -> Image:
        host, root = locate(ctx, inputs.repository)
        image = _image(ctx, inputs, host, vm_directory.ensure(ctx, host, root, inputs.vm))
        if not _must_be_new(inputs) and _is_right(host, image):
            return image
        img.QEMU_IMG.require(ctx, host)
        host.mkdir(image.directory)
        ctx.log(layout.ledger(inputs.disk.key)).remove()  # it tells of another image
        _remove(host, image)
        img.create(host, image.path, image.capacity, backing=image.backing)
        if not _is_right(host, image):
            raise SendenseError(
                f"qemu-img on {host.name} created {image.path}, but not with {image.capacity} bytes; check "
                "the file and qemu-img there"
            )
        return image

    def preflight(self, ctx: Context | None, known: Known[CreateQcow2In, Image]) -> Preflight[Image]:
        inputs = known.inputs
        if ctx is None:
            return Preflight()
        if inputs is None:
            return Preflight(observations=_observed_early(ctx, known.told))
        host, root = locate(ctx, inputs.repository)
        if known.out is not None:
            return Preflight(space=_space(ctx, inputs, host, root))
        there, program = marked(host, inputs.repository, root), img.QEMU_IMG.observe(ctx, host)
        if there.state == "wrong":
            return Preflight(observations=(there, program))
        room = _room(there.subject, host, root, inputs)
        try:
            image = _image(ctx, inputs, host, vm_place.look(host, root, inputs.vm))
        except Interrupted:
            raise
        except SendenseError as error:
            directory = met(there.subject, "the VM's directory there", error)
            return Preflight(observations=(there, room, program, directory))
        return Preflight(
            observations=(there, room, program),
            notes=(f"{human_bytes(inputs.disk.capacity)} virtual",),
            space=_space(ctx, inputs, host, root),
            prospect=image,
        )

    def leftover(self, ctx: Context, inputs: CreateQcow2In) -> Image | None:
        host, root = locate(ctx, inputs.repository)
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        return None if directory is None else _image(ctx, inputs, host, directory)

    def undo(self, ctx: Context, inputs: CreateQcow2In, out: Image) -> None:
        """With the last image goes all that was put beside them."""
        host = ctx.host(out.host)
        if not host.exists(out.directory):
            return
        _remove(host, out)
        if not any(layout.is_image(name) for name in host.listdir(out.directory)):
            host.remove(out.directory, recursive=True)

    def retained(self, ctx: Context, inputs: CreateQcow2In, out: Image) -> Retained:
        return Retained(f"the unfinished image {out.path} on {out.host}")


def _observed_early(ctx: Context, told: Mapping[str, Any]) -> tuple[Observation, ...]:
    """By what the job file alone tells: also how an image there can be written to."""
    if "repository" not in told:
        return ()
    host, _ = locate(ctx, told["repository"])
    return img.QEMU_IMG.observe(ctx, host), forwards.examine(ctx, host)


def _space(ctx: Context, inputs: CreateQcow2In, host: Host, root: str) -> Space | None:
    """Of what the run wrote already, the image itself tells; once the copy is done, nothing is to come."""
    directory = vm_place.find(host, root, inputs.vm.instance_uuid)
    written = 0
    # Of a run that is yet to begin nothing is there, and nothing of it is asked for.
    if directory is not None and _has_begun(ctx, host, directory):
        image = _image(ctx, inputs, host, directory)
        copied = posixpath.join(image.directory, layout.markers(inputs.disk.key)[0])
        if host.exists(copied) or vm_place.point_of_run(host, directory, ctx.run.id) is not None:
            return None
        written = on_disk(host, image.path)
    found = bounds(ctx, host, directory, inputs.vm, inputs.disk, inputs.base)
    there = f", {human_bytes(written)} of that written" if written > LEAST_FREE else ""
    return Space(
        host=host.name,
        path=root,
        free=host.free_bytes(root),
        least=max(0, found.least + BESIDE - written),
        most=max(0, found.most + BESIDE - written),
        of=f"disk {inputs.disk.key}: {found.why}{there}",
    )


def _has_begun(ctx: Context, host: Host, directory: str) -> bool:
    """Whether this run made something in the VM's directory."""
    seen = reader.read(host, directory)
    published = (entry.point for entry in seen.entries)
    return posixpath.join(directory, layout.partial(ctx.run.id)) in seen.unfinished or any(
        layout.may_be_of_run(point, ctx.run.id) for point in (*published, *seen.unread_points)
    )


def _is_incremental(inputs: CreateQcow2In) -> bool:
    return inputs.base is not None and inputs.base.parent is not None


def _room(subject: str, host: Host, root: str, inputs: CreateQcow2In) -> Observation:
    """That an image's tables fit. What all images need is summed (`Preflight.space`)."""
    free, disk = host.free_bytes(root), inputs.disk
    looked_at = f"free space for disk {disk.key} of {human_bytes(disk.capacity)}"
    if free < min(LEAST_FREE, disk.capacity):
        return wrong(subject, looked_at, f"{human_bytes(free)} free on {host.name}", "free some space there")
    return good(subject, looked_at, f"{human_bytes(free)} free on {host.name}")


def _image(ctx: Context, inputs: CreateQcow2In, host: Host, vm_path: str) -> Image:
    directory = posixpath.join(vm_path, layout.partial(ctx.run.id))
    return Image(
        disk=inputs.disk,
        repository=inputs.repository,
        host=host.name,
        directory=directory,
        path=posixpath.join(directory, layout.image(inputs.disk.key)),
        capacity=inputs.disk.capacity,
        backing=parent.image if (parent := inputs.base and inputs.base.parent) else None,
    )


def _must_be_new(inputs: CreateQcow2In) -> bool:
    """A block that was written for an earlier snapshot would be taken for the parent's: digests do not tell
    what is written, and changed block tracking does not name it again where the VM was reverted meanwhile.
    (On the same snapshot there is a record of the image.)"""
    return _is_incremental(inputs)


def _is_right(host: Host, image: Image) -> bool:
    try:
        # An exporter of this run may have it open.
        seen = img.info(host, image.path, force_share=True)
    except img.BadImageError:
        return False
    below = None if image.backing is None else img.FORMAT
    found = (seen.virtual_size, seen.backing_file, seen.backing_format, seen.corrupt)
    return found == (image.capacity, image.backing, below, False)


def _remove(host: Host, image: Image) -> None:
    """The image and, first, all that says something of its bytes: a new image must not pass for a copied
    one."""
    key = image.key
    names = (*layout.markers(key), layout.digests(key))
    host.remove(*(posixpath.join(image.directory, name) for name in names), image.path)
