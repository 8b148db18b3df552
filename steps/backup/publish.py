"""publish: the restore point gets its name."""

from __future__ import annotations

import json
import posixpath
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel
from runner.base.units import counted, human_bytes
from runner.events.result import Amount, Result
from runner.events.step_report import Command, Statement, StepReport
from runner.hosts.files import is_temporary
from runner.hosts.host import Host
from runner.step.about import About
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step
from steps.backup import point_manifest
from steps.points.dependants import refuse_if_built_on
from steps.points.figures import verified
from steps.qemu import img
from steps.repository import layout, manifest, marker, verification_records, vm_place
from steps.repository.section import locate
from steps.repository.verification_records import Protection
from steps.values.published import Published, PublishedDisk
from steps.values.snapshot import SnapshotTaken
from steps.values.verified import Verified
from steps.vsphere import datastores, snapshots
from steps.vsphere.client import vcenter
from steps.vsphere.inventory import VM, Uncovered


class PublishIn(JobModel):
    vm: VM
    """Whose restore point it is."""
    snapshot: SnapshotTaken
    """The moment that it holds."""
    disks: tuple[Verified, ...]
    """The verified disks, one for each of the snapshot."""
    uncovered: tuple[Uncovered, ...] = ()
    """Disks that were left out: the manifest says so, since a restore will lack them."""


class MixedUpError(SendenseError):
    """The disks are not those of the snapshot, one for one."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"nothing is published: {'; '.join(problems)}")


class PointExistsError(SendenseError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(
            f"{path} on {host} is another run's restore point and is never overwritten; run the job again "
            "with --fresh"
        )


class IsProtectedError(SendenseError):
    def __init__(self, path: str, protection: Protection) -> None:
        super().__init__(
            f"{path} stays: it is protected until {protection.until:%Y-%m-%d} ({protection.reason}); "
            "`sendense protect JOB POINT --lift` lifts that"
        )


class Publish(Step[PublishIn, Empty, Published]):
    """Turns the verified images of one snapshot into a restore point. The VM's configuration and NVRAM beside
    them, a manifest, everything on stable storage, and then one rename: before the rename nothing is listed,
    after it all is."""

    name = "publish"
    commits = True
    lifetime = Lifetime.KEEP
    In = PublishIn
    Out = Published
    makes = ("points", "disks")
    example = (
        'uses: publish, with: {vm: "${{ discover.vm }}", snapshot: "${{ snapshot }}", disks: "${{ verify '
        '}}", uncovered: "${{ discover.uncovered }}"}'
    )
    errors = (
        "a disk of the snapshot is missing, comes twice, or is not of this snapshot",
        "an incremental's parent is not a published point of the VM, or not what its image names",
        "another restore point has the name already",
        "the VM's configuration cannot be read from the vCenter",
        "no space is left on the repository's host",
    )

    def check(self, ctx: Context, inputs: PublishIn, recorded: Published | None) -> Published | None:
        if not inputs.disks:
            return None
        host, root = locate(ctx, _repository(inputs))
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        path = directory and vm_place.point_of_run(host, directory, ctx.run.id)
        if not path or _leftovers(host, path, inputs):
            return None
        return _published(inputs, host, path)

    def sealed(self, ctx: Context, inputs: PublishIn) -> bool:
        if not inputs.disks:
            return False  # nor can it ever be: such a run is only there to be discarded
        host, root = locate(ctx, _repository(inputs))
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        return directory is not None and vm_place.point_of_run(host, directory, ctx.run.id) is not None

    def run(self, ctx: Context, inputs: PublishIn, live: Empty) -> Published:
        if problems := list(_mixed_up(inputs)):
            raise MixedUpError(problems)
        host, root = locate(ctx, _repository(inputs))
        marker.require(host, root)
        directory = vm_place.look(host, root, inputs.vm)
        path = vm_place.point_of_run(host, directory, ctx.run.id)
        if path is None:
            path = posixpath.join(directory, layout.point(inputs.snapshot.created, ctx.run.id))
            if problems := list(_orphaned(inputs, host, directory)):
                raise MixedUpError(problems)
            _complete(ctx, inputs, host, posixpath.basename(path))
            try:
                host.rename(_partial(inputs), path)
            except FileExistsError as error:
                raise PointExistsError(path, host.name) from error
        # Only now, since until the rename a crash must find that the disks are copied and verified.
        host.remove(*(posixpath.join(path, name) for name in _leftovers(host, path, inputs)))
        host.sync(path)
        return _published(inputs, host, path)

    def undo(self, ctx: Context, inputs: PublishIn, out: Published) -> None:
        """Takes the point from the list: it is a `.partial` again, whose disks can be let go of one by
        one."""
        host = ctx.host(out.host)
        if not host.exists(out.path):
            return
        if (protection := verification_records.protection(host, out.path, datetime.now(UTC))) is not None:
            raise IsProtectedError(out.path, protection)
        refuse_if_built_on(host, posixpath.dirname(out.path), out.point)
        host.rename(out.path, _partial(inputs))
        host.remove(posixpath.join(_partial(inputs), layout.MANIFEST))
        host.remove(posixpath.join(_partial(inputs), layout.VM_FILES), recursive=True)

    def about(self, told: Mapping[str, Any], out: Published | None) -> tuple[About, ...]:
        return (
            About(
                name="verify",
                text="not at all: no step compares what was written with what was read",
                fallback=True,
            ),
            About(name="retention", text="none: every restore point stays", fallback=True),
        )

    def report(self, out: Published) -> StepReport:
        made = f"Restore point {out.point} of {out.vm}: {out.path} on {out.host}."
        point = f"{layout.slug_of(posixpath.dirname(out.path))}/{out.point}"
        commands = (
            Command(
                purpose="Restore it, every block compared with what was read at the source",
                line=f"sendense restore JOB {point} --to DIR",
            ),
            *(_restore(out, path) for path in out.disks),
        )
        statements = (Statement(about="made", text=made),)
        return StepReport(statements=statements, commands=commands, result=_result(out, point))


def _result(out: Published, point: str) -> Result | None:
    if not out.made:  # recorded by an earlier version
        return None
    copied, kinds = sum(disk.copied for disk in out.made), sorted({disk.kind for disk in out.made})
    sizes = human_bytes(sum(disk.size for disk in out.made))
    compared, blocks = sum(disk.compared for disk in out.made), sum(disk.blocks for disk in out.made)
    return Result(
        act="backup",
        subject=out.vm,
        noun="VM",
        parts=(
            " and ".join(kinds),
            Amount(value=copied, noun="bytes", label="copied"),
            f"{counted(len(out.made), 'disk')} of {sizes}",
            f"{verified(out.level, compared, blocks)} verified",
        ),
        made=f"point {point}",
        bytes=copied,
        lists={"points": (point,), "disks": tuple(disk.to_json_value() for disk in out.made)},
    )


def _restore(out: Published, image: str) -> Command:
    disk = posixpath.basename(image).removesuffix(".qcow2")
    one = len(out.disks) == 1
    disks, images = ("the disk", "a raw image") if one else (f"the {len(out.disks)} disks", "raw images")
    return Command(
        purpose=f"Restore {disks} of {out.vm} as {images}, on {out.host}, with qemu-img alone",
        line=shlex.join(
            ("qemu-img", "convert", "-p", "-f", "qcow2", "-O", "raw", image, f"/restore/{disk}.raw")
        ),
        detail=True,
    )


def _repository(inputs: PublishIn) -> str:
    if not inputs.disks:
        raise MixedUpError(["no disk was given, so there is nothing to restore from"])
    return inputs.disks[0].copied.image.repository


def _partial(inputs: PublishIn) -> str:
    return inputs.disks[0].copied.image.directory


def _published(inputs: PublishIn, host: Host, path: str) -> Published:
    images = [disk.copied.image for disk in inputs.disks]
    return Published(
        vm=inputs.vm.name,
        point=posixpath.basename(path),
        path=path,
        host=host.name,
        repository=images[0].repository,
        disks=tuple(posixpath.join(path, layout.image(image.disk.key)) for image in images),
        level=manifest.weakest([disk.proven for disk in inputs.disks]),
        made=tuple(_made(disk) for disk in inputs.disks),
    )


def _made(of: Verified) -> PublishedDisk:
    copied = of.copied
    return PublishedDisk(
        key=copied.image.disk.key,
        kind="full" if copied.base is None else copied.base.kind,
        size=copied.image.capacity,
        copied=copied.copied,
        changed=None if copied.base is None else copied.base.changed,
        seconds=copied.seconds,
        level=of.proven,
        blocks=of.blocks,
        compared=of.compared,
    )


def _leftovers(host: Host, path: str, inputs: PublishIn) -> list[str]:
    """Files in the point at `path` that only a run needs, or that a killed one left."""
    markers = {name for disk in inputs.disks for name in layout.markers(disk.copied.image.disk.key)}
    return [name for name in host.listdir(path) if name in markers or is_temporary(name)]


def _mixed_up(inputs: PublishIn) -> Iterator[str]:
    """What is wrong with the pairing of the snapshot's disks and the verified ones, in words."""
    frozen = {disk.key: disk for disk in inputs.snapshot.disks}
    images = [disk.copied.image for disk in inputs.disks]
    if (inputs.snapshot.vcenter, inputs.snapshot.vm) != (inputs.vm.vcenter, inputs.vm.moref):
        yield f"the snapshot is of {inputs.snapshot.vm}, not of {inputs.vm.moref} ({inputs.vm.name})"
    given = Counter(image.disk.key for image in images)
    yield from (f"disk {key} was not copied and verified" for key in frozen if key not in given)
    yield from (f"disk {key} was given {count} times" for key, count in given.items() if count > 1)
    for copied in (disk.copied for disk in inputs.disks):
        key = copied.image.disk.key
        if key not in frozen:
            yield f"disk {key} is not one that the snapshot covers"
        elif (copied.image.disk.backing_uuid, copied.image.capacity) != (
            frozen[key].backing_uuid,
            frozen[key].capacity,
        ):
            yield (
                f"disk {key} in {copied.image.path} is not the snapshot's disk {key}: backing or capacity "
                "differ"
            )
        if copied.snapshot != inputs.snapshot.moref:
            yield f"disk {key} was read from snapshot {copied.snapshot}, not from {inputs.snapshot.moref}"
        if copied.image.path != posixpath.join(images[0].directory, layout.image(key)):
            yield f"disk {key} is in {copied.image.path}, not in its place in {images[0].directory}"


def _orphaned(inputs: PublishIn, host: Host, directory: str) -> Iterator[str]:
    """What is wrong with the parents of incremental images, in words: each must be a published point of this
    VM, and be what the image itself names."""
    for image, base in ((disk.copied.image, disk.copied.base) for disk in inputs.disks):
        parent = base.parent if base is not None else None
        below = img.info(host, image.path, force_share=True).backing_file
        if below != (parent and parent.image):
            yield (
                f"disk {image.disk.key} in {image.path} lies on {below or 'nothing'}, not on "
                f"{parent and parent.image}"
            )
        if parent is None:
            continue
        there = manifest.read(host, posixpath.join(directory, parent.point))
        if there is None or there.disk(image.disk.key) is None:
            yield (
                f"disk {image.disk.key} is built on {parent.point}, which is no restore point of "
                f"{inputs.vm.name} with that disk"
            )


def _complete(ctx: Context, inputs: PublishIn, host: Host, point: str) -> None:
    """Everything of the point is in the `.partial` directory and on stable storage."""
    directory = _partial(inputs)
    vm_files = posixpath.join(directory, layout.VM_FILES)
    disks = sorted(disk.copied.image.disk.key for disk in inputs.disks)
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
    host.sync(*files)
    made = point_manifest.of(ctx, inputs, point, host, nvram=nvram, notes=tuple(notes), tools=tools)
    for sentence in made.clocks:
        ctx.warn(sentence)
    host.write(posixpath.join(directory, layout.MANIFEST), manifest.dump(made))
    host.sync(vm_files, directory)


def _save_nvram(ctx: Context, inputs: PublishIn, host: Host, vm_files: str, notes: list[str]) -> str | None:
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


def _tools(ctx: Context, inputs: PublishIn, host: Host, notes: list[str]) -> dict[str, str]:
    """Of this run, and of what wrote the images and was asked for them, though an earlier execution did
    that."""
    ctx.uses(f"qemu-img on {host.name}", img.version(host))
    try:
        ctx.uses("vCenter", vcenter(ctx, inputs.snapshot.vcenter).version)
    except Interrupted:
        raise
    except SendenseError as error:
        notes.append(f"The vCenter's version is unknown: {error.message}")
    return dict(ctx.run.tools)
