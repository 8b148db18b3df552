"""sendense verify: restore points at rest."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import click
from pydantic import JsonValue

from runner.base.errors import UsageError
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.events.summary import RunSummary
from runner.job.model import Job
from steps.commands import command_jobs, witnessed
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import all_vms_option, find_first_point, one
from steps.commands.scope import chosen
from steps.commands.vm_of_point import VDDK, how_it_is_reached, uuid_of
from steps.maintain.check_source import CheckSource
from steps.maintain.verify_point import VerifyPoint
from steps.points.place import Place
from steps.repository import layout
from steps.repository.listing import UnreadableError
from steps.repository.naming import Names

VERIFY_SCHEMA_VERSION = 1


@click.command(cls=Work)
@site_argument
@click.argument("points", nargs=-1, metavar="[POINT]…")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="All points: of JOB's VM, of the VMs named in place of POINT, or of all VMs if JOB is a site.",
)
@all_vms_option
@click.option(
    "--level",
    type=click.Choice(["chain", "sample", "metadata"]),
    default="chain",
    show_default=True,
    help="chain: every block; sample: some of them; metadata: no block, only tables, chain and digests.",
)
@click.option(
    "--against-source",
    is_flag=True,
    help="Also compare with the VM: read from a new snapshot what it did not write since.",
)
@click.option(
    "--witness",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="First say which points are not, or no longer, what `sendense run --witness FILE` wrote of them; "
    "without POINT and --all nothing else.",
)
@click.option("--fresh", is_flag=True, help="Discard an unfinished verification, and start over.")
@on_repositories
def verify(
    asked: Asked,
    points: tuple[str, ...],
    every: bool,
    all_vms: bool,
    level: str,
    against_source: bool,
    witness: Path | None,
    fresh: bool,
) -> None:
    """Compare restore points with what was read at the source.

    POINT is a restore point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or
    latest where there is one VM, is the newest good point. The result is recorded beside the manifest; a
    point that differs is no longer trusted (exit code 5). With --against-source, use the VM's backup job as
    JOB: its variables say which vCenter has the VM, and how it is read.
    """
    if witness is not None:
        seen = witnessed.look(asked, witness)
        alone = not points and not every
        witnessed.show(seen, asked.as_json and alone, sys.stderr if asked.as_json else sys.stdout)
        if alone:
            raise click.exceptions.Exit(seen.exit_code)
    _refuse_misuse(points, every=every, all_vms=all_vms)
    job = asked.job
    with asked.places() as places:
        if every:
            place = one(places)
            found = [(place, path) for path in _every(job, place, points, all_vms=all_vms)]
        else:
            found = [find_first_point(job, places, point) for point in points]
        uuids = {uuid_of(place, path) for place, path in found} if against_source else set()
    names = {place.name for place, _ in found}
    if len(names) > 1:
        raise UsageError(
            f"these points are in the repositories {', '.join(sorted(names))}: verify those of one at a time"
        )
    paths = sorted({posixpath.relpath(path, place.path) for place, path in found})
    values: dict[str, JsonValue] = {"repository": names.pop(), "points": list(paths), "level": level}
    if against_source:
        values |= _with_vm(job, uuids)
    if every:
        # Another day these are other points: an unfinished verification is resumed.
        told: list[JsonValue] = [job.file, found[0][0].path, *points, all_vms]
        file = command_jobs.job_for(asked, "verify", "all", values, typed={"points": told}, fresh=fresh)
    else:
        about = f"{layout.slug_of(posixpath.dirname(paths[0]))}-{posixpath.basename(paths[0])}"
        file = command_jobs.job_for(asked, "verify", about, values)
    result, summary = command_jobs.run_made(file, asked.of_run(fresh=fresh))
    if asked.as_json:
        told_of = {
            "points": _told(summary),
            "against_source": command_jobs.outputs(summary, CheckSource.name),
        }
        print_json({**command_jobs.document(VERIFY_SCHEMA_VERSION, result, summary), **told_of})
    raise click.exceptions.Exit(result.exit_code or (0 if witness is None else seen.exit_code))


def _refuse_misuse(points: Sequence[str], *, every: bool, all_vms: bool) -> None:
    """Raises UsageError."""
    if all_vms and not every:
        raise UsageError("--all-vms goes with --all: all points of all VMs")
    if not points and not every:
        raise UsageError("name the points to verify, or give --all; `sendense points JOB` lists them")


def _every(job: Job, place: Place, vms: Sequence[str], *, all_vms: bool) -> list[str]:
    """The paths of all points of the VMs that are meant; those that cannot be read are among them, so that
    their verification fails. Raises UsageError, and UnreadableError where it is not known which points there
    are."""
    found: list[str] = []
    for vm in chosen(job, Names.read(place.host, place.path), vms, all_vms=all_vms):
        for bad in vm.unread:
            if bad.point is None:
                raise UnreadableError(bad.path, place.host.name, bad.why)
        unread = (posixpath.join(vm.path, point) for point in vm.unread_points if layout.is_point(point))
        found += [*(entry.path for entry in vm.entries), *sorted(unread)]
    if not found:
        raise UsageError(f"{place.path} on {place.host.name} has no points to verify")
    return found


def _told(summary: RunSummary) -> list[JsonValue]:
    """Of each point that was to be verified, what came of it."""
    return [
        {
            "point": node.node.removeprefix("check[").removesuffix("]"),
            "state": node.state,
            "error": node.error,
            **node.output,
        }
        for node in summary.nodes
        if node.step == VerifyPoint.name
    ]


def _with_vm(job: Job, uuids: Collection[str]) -> dict[str, JsonValue]:
    """Variables of the template for a comparison with the VM that has the instance uuid. Raises UsageError
    where points of several VMs were named."""
    if len(uuids) > 1:
        raise UsageError(
            f"these points are of {len(uuids)} VMs: verify one VM's at a time against the source"
        )
    (uuid,) = uuids
    reached = how_it_is_reached(job, ("node", "connections", "transport", *VDDK))
    return {"against_source": True, "vm": uuid, **reached}
