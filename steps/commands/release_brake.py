"""sendense release-brake: somebody has looked at why a VM, or most VMs of a set, changed so much."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from runner.app.outside import context_outside_of_runs
from runner.base.errors import Interrupted, SendenseError, UsageError
from runner.base.units import counted
from runner.base.waiting import NEVER
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.console.tables import print_table
from runner.step.context import Context
from steps.brake import released
from steps.brake.nights import Brake
from steps.brake.released import Released
from steps.commands import scope
from steps.commands.asked import Asked, on_repositories, site_argument, tell_warning
from steps.commands.consent import agree
from steps.commands.find import one
from steps.points.place import Place
from steps.repository import reader
from steps.repository.naming import Names
from steps.repository.section import BrakeLimits, locate
from steps.repository.vm_directory import VmDirectory
from steps.repository.vm_lock import hold
from steps.trail import log

RELEASE_BRAKE_SCHEMA_VERSION = 2


@click.command(cls=Work, name="release-brake")
@site_argument
@click.argument("vms", nargs=-1, metavar="[VM]…")
@click.option("--reason", required=True, help="Why it may be; it stands in the log of the repository.")
@click.option("--yes", is_flag=True, help="Release those of several VMs without asking.")
@on_repositories
def release_brake(asked: Asked, vms: tuple[str, ...], reason: str, yes: bool) -> None:
    """Let retention delete points again.

    A VM that changed far more than it does otherwise, or whose data became incompressible, is on hold, and so
    are all VMs of a set of which most did: none of their restore points is deleted. Look at what changed
    first: if it is being encrypted, the points before are all that is left of it.

    It is for the VMs that are named, else for the VM of JOB, or those of a set: these are listed, and you are
    asked. What was released is usual from then on, and puts the brake on again only where it doubles.
    """
    with asked.places() as places:
        place = one(places)
        names = Names.read(place.host, place.path)
        wanted = _wanted(asked, names, vms)
        found = _found(place, wanted, asked.brake(place.name))
        if len(found) > 1 and not vms:
            _show(names, found, as_json=asked.as_json)
            question = f"Release the brake of {counted(len(found), 'VM')}?"
            agree(question, given=yes, option="--yes", untouched="no brake was released")
        work = _Release(asked, place, names, reason)
        # With a set all of its VMs: who was published before most were known would be put on hold next night.
        of_set = not vms and any(brake.of_set is not None for _, brake in found)
        work.all(wanted if of_set else [vm for vm, _ in found], {vm.path: brake for vm, brake in found})
    if asked.as_json:
        print_json({"schema_version": RELEASE_BRAKE_SCHEMA_VERSION, "reason": reason, **work.document})
    raise click.exceptions.Exit(work.failures[0].exit_code if work.failures else 0)


def _wanted(asked: Asked, names: Names, vms: Sequence[str]) -> tuple[VmDirectory, ...]:
    """Raises UsageError."""
    job = asked.job
    if not vms and job.select is None and scope.named(job).everything:
        raise UsageError(
            f"{asked.site} is for all VMs: name those whose brake is to be released, or give a set"
        )
    return scope.chosen(job, names, vms, all_vms=False)


def _found(
    place: Place, wanted: Sequence[VmDirectory], limits: BrakeLimits | None
) -> list[tuple[VmDirectory, Brake]]:
    """Those whose brake is on. Raises UsageError where none is."""
    judged = [(vm, released.of_vm(place.host, vm, limits)) for vm in wanted]
    found = [(vm, brake) for vm, brake in judged if brake is not None]
    if not found:
        which = wanted[0].vm_name if len(wanted) == 1 else f"each of the {len(wanted)} VMs"
        raise UsageError(f"the brake of {which} is not on: there is nothing to release")
    return found


def _show(names: Names, found: Iterable[tuple[VmDirectory, Brake]], *, as_json: bool) -> None:
    # First what a VM did itself: one that is encrypted on a day of patches must be seen.
    rows = [
        (names.label(vm), f"{brake.point} {brake.why}")
        for vm, brake in sorted(found, key=lambda one: one[1].of_set is not None)
    ]
    print_table("On hold", ("VM", "why"), rows, stream=sys.stderr if as_json else sys.stdout)


@dataclass
class _Release:
    asked: Asked
    place: Place
    names: Names
    reason: str

    def __post_init__(self) -> None:
        self.done: list[tuple[VmDirectory, str, Brake]] = []
        self.failures: list[SendenseError] = []

    def all(self, wanted: Iterable[VmDirectory], on: dict[str, Brake]) -> None:
        for vm in wanted:
            try:
                point = self._one(vm)
            except Interrupted:
                raise
            except SendenseError as error:  # of one VM: others have no part in it
                self.failures.append(error)
                print(f"sendense: {error}", file=sys.stderr)
                continue
            if (brake := on.get(vm.path)) is not None:
                self.done.append((vm, point, brake))
        for line in self._lines():
            click.echo(line, err=self.asked.as_json)

    def _one(self, vm: VmDirectory) -> str:
        """Up to which of its points."""
        asked = self.asked
        outside = context_outside_of_runs(
            asked.job, "release-brake", NEVER, tell_warning, asked.options.hosts
        )
        with outside as ctx, ctx.closing:
            return self._held(ctx, vm)

    def _held(self, ctx: Context, vm: VmDirectory) -> str:
        host, root = locate(ctx, self.place.name)
        hold(ctx, host, vm.path, f"VM {vm.vm_name!r} in repository {self.place.name}")
        there = reader.read(host, vm.path).newest
        if vm.newest is None or there is None or there.point != vm.newest.point:
            raise UsageError(
                f"{vm.vm_name} has other restore points by now: look at them, and run the same command again"
            )
        made = there.manifest
        record = Released(
            point=made.point, sequence=made.sequence or 0, reason=self.reason, at=datetime.now(UTC)
        )
        released.write(host, vm.path, record)
        log.note(ctx, host, root, "release-brake", vm=vm.path, points=(made.point,), text=self.reason)
        return made.point

    def _lines(self) -> Iterator[str]:
        if len(self.done) > 1:
            yield f"the brake of {counted(len(self.done), 'VM')} is released: {self.reason}"
        else:
            for vm, point, _ in self.done:
                yield f"the brake of {self.names.label(vm)} is released, up to {point}: {self.reason}"

    @property
    def document(self) -> dict[str, object]:
        return {
            "released": [
                {"vm": self.names.label(vm), "instance_uuid": vm.uuid, "point": point, "why": brake.sentence}
                for vm, point, brake in self.done
            ],
            "errors": [error.message for error in self.failures],
        }
