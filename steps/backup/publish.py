"""publish: the restore point gets its name."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import counted, human_bytes
from runner.events.result import Amount, Result
from runner.events.step_report import Command, Statement, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.backup import point_files, vm_directory
from steps.backup.unpublished import MixedUpError, Unpublished
from steps.points.dependants import refuse_if_built_on
from steps.points.figures import verified
from steps.repository import layout, locked, manifest, marker, verification_records, vm_place
from steps.repository.locked import is_immutable
from steps.repository.manifest import Manifest
from steps.repository.section import locate
from steps.repository.verification_records import Protection
from steps.trail import log, witness
from steps.trail.entry import Head
from steps.trail.witness import Witnessed
from steps.values.published import Published, PublishedDisk
from steps.values.verified import Verified


class PointExistsError(SendenseError):
    def __init__(self, path: str, host: str) -> None:
        super().__init__(
            f"{path} on {host} is the restore point of another run, which is never overwritten; run the "
            "job again with --fresh"
        )


class IsProtectedError(SendenseError):
    def __init__(self, path: str, protection: Protection) -> None:
        super().__init__(
            f"{path} is kept: it is protected until {protection.until:%Y-%m-%d} ({protection.reason}); "
            "`sendense protect JOB POINT --lift` lifts that"
        )


class Publish(Step[Unpublished, Empty, Published]):
    """Turns the verified images of one snapshot into a restore point. The VM's configuration and NVRAM beside
    them, a manifest, everything on stable storage, and then one rename: before the rename nothing is listed,
    after it all is."""

    name = "publish"
    commits = True
    lifetime = Lifetime.KEEP
    In = Unpublished
    Out = Published
    makes = ("points", "disks", "witness")
    example = (
        'uses: publish, with: {vm: "${{ discover.vm }}", snapshot: "${{ snapshot }}", disks: "${{ verify '
        '}}", uncovered: "${{ discover.uncovered }}"}'
    )
    errors = (
        "a disk of the snapshot is missing, comes twice, or is not of this snapshot",
        "an incremental's parent is not a published point of the VM, or not what its image names",
        "another restore point has the name already",
        "the VM's configuration cannot be read from the vCenter",
        "no space is left on the repository host",
    )

    def check(self, ctx: Context, inputs: Unpublished, recorded: Published | None) -> Published | None:
        if not inputs.disks:
            return None
        host, root = locate(ctx, inputs.repository)
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        path = directory and vm_place.point_of_run(host, directory, ctx.run.id)
        if not path or (point_files.leftovers(host, path, inputs) and not is_immutable(host, path)):
            return None
        found = _published(ctx, inputs, host, path, manifest.read(host, path), None)
        if recorded is None or recorded.witness is None or found.witness is None:
            return found
        # Which entry of the log it is, the record alone knows.
        log_head = recorded.witness.log
        return found.model_copy(update={"witness": found.witness.model_copy(update={"log": log_head})})

    def committed(self, ctx: Context, inputs: Unpublished) -> bool:
        if not inputs.disks:
            return False  # nor can it ever be: such a run is only there to be discarded
        host, root = locate(ctx, inputs.repository)
        directory = vm_place.find(host, root, inputs.vm.instance_uuid)
        return directory is not None and vm_place.point_of_run(host, directory, ctx.run.id) is not None

    def run(self, ctx: Context, inputs: Unpublished, live: Empty) -> Published:
        if problems := list(inputs.mixed_up()):
            raise MixedUpError(problems)
        host, root = locate(ctx, inputs.repository)
        directory = vm_directory.look(ctx, host, root, inputs.vm)
        path = vm_place.point_of_run(host, directory, ctx.run.id)
        if path is None:
            path = posixpath.join(directory, layout.point(inputs.snapshot.created, ctx.run.id))
            point_files.complete(ctx, inputs, host, posixpath.basename(path))
            try:
                host.rename(inputs.directory, path)
            except FileExistsError as error:
                raise PointExistsError(path, host.name) from error
        # As long as there are leftovers: a run that is killed before it logged this comes here again.
        made = manifest.read(host, path)
        noted, unusual = log.of(ctx, host, root), None if made is None else made.unusual
        head = noted.note("publish", vm=directory, points=(posixpath.basename(path),), unusual=unusual)
        # Only now, since until the rename a crash must find that the disks are copied and verified.
        _remove(host, path, point_files.leftovers(host, path, inputs))
        # The rename is durable already (`Host.rename`); this is that the markers are gone.
        host.sync(path)
        return _published(ctx, inputs, host, path, made, head)

    def undo(self, ctx: Context, inputs: Unpublished, out: Published) -> None:
        """Takes the point from the list: it is a `.partial` again, whose disks can be deleted one by
        one."""
        host = ctx.host(out.host)
        if not host.exists(out.path):
            return
        locked.refuse(host, out.path)
        if (protection := verification_records.protection(host, out.path, datetime.now(UTC))) is not None:
            raise IsProtectedError(out.path, protection)
        refuse_if_built_on(host, posixpath.dirname(out.path), out.point)
        log.note_of(ctx, host, out.path, "unpublish", f"run {ctx.run.id} is discarded")
        host.rename(out.path, inputs.directory)
        host.remove(layout.marks(out.path), recursive=True)
        host.remove(posixpath.join(inputs.directory, layout.MANIFEST))
        host.remove(posixpath.join(inputs.directory, layout.VM_FILES), recursive=True)

    def preflight(self, ctx: Context | None, known: Known[Unpublished, Published]) -> Preflight[Published]:
        unverified = "not at all: no step compares what was written with what was read at the source"
        return Preflight(
            settings=(
                Setting(name="verify", text=unverified, fallback=True),
                Setting(name="retention", text="none: every restore point is kept", fallback=True),
            )
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
        statements = [Statement(about="made", text=made)]
        if out.witness is not None:
            statements.append(Statement(about="made", text=f"Witness of {point}: {out.witness.digest}."))
        return StepReport(statements=tuple(statements), commands=commands, result=_result(out, point))


def _remove(host: Host, point: str, names: Sequence[str]) -> None:
    """What only a run needs. Where root's timer has locked the point since its rename it stays, and is of no
    harm."""
    try:
        host.remove(*(posixpath.join(point, name) for name in names))
    except Interrupted:
        raise
    except SendenseError:
        if not is_immutable(host, point):
            raise


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
        lists={
            "points": (point,),
            "disks": tuple(disk.to_json_value() for disk in out.made),
            "witness": () if out.witness is None else (out.witness.to_json_value(),),
        },
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


def _published(
    ctx: Context, inputs: Unpublished, host: Host, path: str, made: Manifest | None, head: Head | None
) -> Published:
    images = [disk.image for disk in inputs.disks]
    return Published(
        vm=inputs.vm.name,
        point=posixpath.basename(path),
        path=path,
        host=host.name,
        repository=images[0].repository,
        disks=tuple(posixpath.join(path, layout.image(image.key)) for image in images),
        level=manifest.weakest([disk.proven for disk in inputs.disks]),
        made=tuple(_made(disk) for disk in inputs.disks),
        witness=None if made is None else _witness(ctx, inputs, host, path, made, head),
    )


def _witness(
    ctx: Context, inputs: Unpublished, host: Host, path: str, made: Manifest, head: Head | None
) -> Witnessed:
    directory = posixpath.dirname(path)
    key = ("uuid of repository", inputs.repository)
    return Witnessed(
        repository=ctx.once(key, lambda: marker.require(host, posixpath.dirname(directory)).uuid),
        vm=posixpath.basename(directory),
        point=made.point,
        published=made.published,
        digest=witness.digest(made),
        log=head,
    )


def _made(of: Verified) -> PublishedDisk:
    copied = of.copied
    return PublishedDisk(
        key=copied.key,
        kind="full" if copied.base is None else copied.base.kind,
        size=copied.image.capacity,
        copied=copied.copied,
        changed=None if copied.base is None else copied.base.changed,
        seconds=copied.seconds,
        level=of.proven,
        blocks=of.blocks,
        compared=of.compared,
    )
