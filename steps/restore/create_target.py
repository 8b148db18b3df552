"""create-target: an empty file for one disk of a restore point, under a name that says it is not finished."""

from __future__ import annotations

import posixpath

from pydantic import field_validator

from runner.base.errors import SendenseError
from runner.base.model import HostName, JobModel
from runner.base.units import human_bytes
from runner.events.check_results import Observation, good, wrong
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.space import Space
from runner.step.step import Empty, Lifetime, Retained, Step
from steps.points.image_file import on_disk
from steps.qemu import img
from steps.qemu.nodes import Format
from steps.repository import layout
from steps.restore.target_files import TargetExistsError, is_delivered, state_of
from steps.values.stored_point import DiskImage, StoredDisk
from steps.values.target import Target, TargetFormat

_FORMATS: dict[TargetFormat, Format] = {"qcow2": "qcow2", "raw": "raw", "vmdk": "vmdk", "vmdk-stream": "vmdk"}
"""As qemu calls what is in the file, and as the file's name ends."""


class CreateTargetIn(JobModel):
    disk: StoredDisk
    """One disk of the restore point"""
    host: HostName = "local"
    """Where it is to lie"""
    directory: str
    """Absolute path of a directory there; it is made if it is absent"""
    format: TargetFormat = "qcow2"
    """`raw` or `qcow2`; `vmdk` for a hypervisor, `vmdk-stream` for an OVA"""
    overwrite: bool = False
    """Whether a file of the final name may be replaced, once the new one is verified"""

    @field_validator("directory")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
            raise ValueError("write an absolute path without '..', such as /restore/pgtest1")
        return posixpath.normpath(value)


class CreateTarget(Step[CreateTargetIn, Empty, Target]):
    """Makes an empty file for a disk beside the one that it will be: it is called .partial until what is in
    it was read back and compared. A file that has the final name already is never touched, or only then."""

    name = "create-target"
    lifetime = Lifetime.KEEP
    In = CreateTargetIn
    Out = Target
    tools = (img.QEMU_IMG,)
    example = (
        'uses: create-target, each: {disk: "${{ point.disks }}"}, '
        'with: {disk: "${{ disk }}", directory: /restore, format: raw}'
    )
    errors = (
        "a file of that name exists already",
        "the disk's content does not fit into the free space",
        "no space is left on the host",
    )

    def check(self, ctx: Context, inputs: CreateTargetIn, recorded: Target | None) -> Target | None:
        target, host = recorded or _target(ctx, inputs), ctx.host(inputs.host)
        if recorded is not None and is_delivered(host, recorded):
            return recorded
        return target if _is_right(host, target) else None

    def run(self, ctx: Context, inputs: CreateTargetIn, live: Empty) -> Target:
        target, host = _target(ctx, inputs), ctx.host(inputs.host)
        _refuse_existing(host, target)
        host.mkdir(inputs.directory, parents=True)
        ctx.log(layout.ledger(inputs.disk.key)).remove()  # it tells of another file
        _create(ctx, host, target)
        if not _is_right(host, target):
            raise SendenseError(
                f"{target.image.path} on {host.name} was created, but not with the size of the disk; check "
                "it there"
            )
        return target

    def preflight(self, ctx: Context | None, known: Known[CreateTargetIn, Target]) -> Preflight[Target]:
        settings, inputs = _settings(known), known.inputs
        if ctx is None or inputs is None:
            return Preflight(settings=settings)
        target, host = _target(ctx, inputs), ctx.host(inputs.host)
        if known.out is not None:
            return Preflight(settings=settings, space=_space(host, inputs, target))
        return Preflight(
            settings=settings,
            observations=_observed(ctx, host, inputs, target),
            notes=(
                f"{target.final} on {inputs.host}: {human_bytes(inputs.disk.capacity)}, "
                f"{human_bytes(inputs.disk.data)} of it in use",
            ),
            space=_space(host, inputs, target),
            prospect=target,
        )

    def undo(self, ctx: Context, inputs: CreateTargetIn, out: Target) -> None:
        ctx.host(out.image.host).remove(out.image.path)

    def retained(self, ctx: Context, inputs: CreateTargetIn, out: Target) -> Retained | None:
        there = ctx.host(out.image.host).exists(out.image.path)
        return Retained(f"the unfinished file {out.image.path} on {out.image.host}") if there else None


def _settings(known: Known[CreateTargetIn, Target]) -> tuple[Setting, ...]:
    told = known.told
    if not {"host", "directory", "format"} <= told.keys():
        return ()
    replaced = "existing files are replaced" if told.get("overwrite") else "existing files are not replaced"
    text = f"{told['directory']} on {told['host']} as {told['format']}; {replaced}"
    return (Setting(name="to", text=text),)


def _observed(ctx: Context, host: Host, inputs: CreateTargetIn, target: Target) -> tuple[Observation, ...]:
    subject = f"restored disk {inputs.disk.key}"
    try:
        _refuse_existing(host, target)
    except TargetExistsError as error:
        return (wrong(subject, "its name", error.message),)
    room = _room(host, inputs, subject)
    return (room,) if inputs.format == "raw" else (room, img.QEMU_IMG.observe(ctx, host))


def _space(host: Host, inputs: CreateTargetIn, target: Target) -> Space | None:
    if is_delivered(host, target):
        return None
    place, data = _existing(host, inputs.directory), inputs.disk.data
    # A conversion starts over.
    written = on_disk(host, target.image.path) if target.form in ("raw", "qcow2") else 0
    left = max(0, data - written)
    return Space(
        host=host.name,
        path=place,
        free=host.free_bytes(place),
        least=0 if inputs.format == "vmdk-stream" else left,
        most=left,
        of=f"disk {inputs.disk.key}: {human_bytes(data)} in use"
        + (f", {human_bytes(written)} of that written" if written else ""),
    )


def _target(ctx: Context, inputs: CreateTargetIn) -> Target:
    disk = inputs.disk
    form = _FORMATS[inputs.format]
    final = posixpath.join(inputs.directory, f"{disk.image.export}.{form}")
    image = DiskImage(
        key=disk.key,
        capacity=disk.capacity,
        host=inputs.host,
        # Of this run: two that restore to one place do not write into one file.
        images=(f"{final}.{ctx.run.id}{layout.PARTIAL}",),
        format=form,
        export=disk.image.export,
    )
    return Target(
        disk=disk,
        image=image,
        form=inputs.format,
        final=final,
        overwrite=inputs.overwrite,
        replaces=state_of(ctx.host(inputs.host), final),
    )


def _refuse_existing(host: Host, target: Target) -> None:
    if not target.overwrite and host.exists(target.final):
        raise TargetExistsError(target.final, host.name)


def _create(ctx: Context, host: Host, target: Target) -> None:
    path = target.image.path
    if target.form == "qcow2":
        img.QEMU_IMG.require(ctx, host)
        img.create(host, path, target.image.capacity)
    elif target.form == "raw":
        img.make_empty(host, path, target.image.capacity)
    else:
        host.remove(path)


def _is_right(host: Host, target: Target) -> bool:
    """As far as this step makes it: a file that is converted is made by the conversion."""
    path, capacity = target.image.path, target.image.capacity
    if target.form == "raw":
        found = host.stat(path)
        return found is not None and found.size == capacity
    if target.form == "qcow2":
        return host.exists(path) and _is_qcow2_of(host, path, capacity)
    return host.exists(posixpath.dirname(path))


def _is_qcow2_of(host: Host, path: str, capacity: int) -> bool:
    try:
        seen = img.info(host, path, force_share=True)
    except img.BadImageError:
        return False
    return (seen.virtual_size, seen.backing_file) == (capacity, None)


def _existing(host: Host, directory: str) -> str:
    """It, or what is there of what is above it."""
    while not host.exists(directory):
        directory = posixpath.dirname(directory)
    return directory


def _room(host: Host, inputs: CreateTargetIn, subject: str) -> Observation:
    """What is written is what is in use; how well a stream compresses is unknown."""
    place = _existing(host, inputs.directory)
    there = host.stat(place)
    if there is not None and not there.is_dir:
        return wrong(
            subject, "its directory", f"{place} on {host.name} is a file, not a directory", "name another one"
        )
    free, data = host.free_bytes(place), inputs.disk.data
    looked_at = f"free space for its {human_bytes(data)} in use"
    found = f"{human_bytes(free)} free in {place} on {host.name}"
    if free < data and inputs.format != "vmdk-stream":
        return wrong(subject, looked_at, f"{human_bytes(data)} to restore, {found}", "make room there")
    return good(subject, looked_at, found)
