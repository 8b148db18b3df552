"""sendense release-brake: somebody has looked at why a VM changed so much."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime

import click

from runner.app.outside import context_outside_of_runs
from runner.base.errors import UsageError
from runner.base.waiting import NEVER
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.step.context import Context
from steps.brake import released
from steps.brake.nights import Brake
from steps.brake.released import Released
from steps.commands.asked import Asked, on_repositories, site_argument, tell_warning
from steps.commands.find import one
from steps.points.place import Place
from steps.repository import reader
from steps.repository.naming import Names
from steps.repository.section import brake_of, locate
from steps.repository.vm_directory import VmDirectory
from steps.repository.vm_lock import hold
from steps.trail import log

RELEASE_BRAKE_SCHEMA_VERSION = 1


@click.command(cls=Work, name="release-brake")
@site_argument
@click.argument("vm")
@click.option("--reason", required=True, help="Why it may be; it stands in the log of the repository.")
@on_repositories
def release_brake(asked: Asked, vm: str, reason: str) -> None:
    """Let retention delete points of VM again.

    A VM that changed far more than it does otherwise, or whose data became incompressible, is on hold: none
    of its restore points is deleted. Look at what changed first: if it is being encrypted, the points before
    are all that is left of it.
    """
    options = asked.options.hosts
    with asked.places() as places:
        place = one(places)
        found = Names.read(place.host, place.path).find(vm)
        outside = context_outside_of_runs(asked.job, "release-brake", NEVER, tell_warning, options)
        with outside as ctx, ctx.closing:
            why, point = _release(ctx, place, found, reason)
    click.echo(f"the brake of {found.vm_name} is released, up to {point}: {reason}", err=asked.as_json)
    if asked.as_json:
        told = {"vm": found.name, "point": point, "why": why.sentence, "reason": reason}
        print_json({"schema_version": RELEASE_BRAKE_SCHEMA_VERSION, **told})


def _release(ctx: Context, place: Place, vm: VmDirectory, reason: str) -> tuple[Brake, str]:
    """Why it was on, and up to which point it is released."""
    host, root = locate(ctx, place.name)
    hold(ctx, host, vm.path, f"VM {vm.vm_name!r} in repository {place.name}")
    seen = reader.read(host, vm.path)
    braked = released.of_vm(host, seen, brake_of(ctx, place.name))
    if braked is None or seen.newest is None:
        raise UsageError(f"the brake of {vm.vm_name} is not on: there is nothing to release")
    made = seen.newest.manifest
    sequence, now = made.sequence or 0, datetime.now(UTC)
    released.write(host, vm.path, Released(point=made.point, sequence=sequence, reason=reason, at=now))
    log.note(ctx, host, root, "release-brake", vm=vm.path, points=(braked.point,), text=reason)
    return braked, posixpath.basename(seen.newest.path)
