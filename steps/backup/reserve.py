"""reserve: the VM's lock in the repository, held while the run lives (a PROCESS step and a guard)."""

from __future__ import annotations

import math
import posixpath
from datetime import UTC, datetime
from typing import Annotated

from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.model import JobModel, SectionName
from runner.events.check_results import observe
from runner.events.step_report import Cell, Row, StepReport
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.step import Empty, Lifetime, Step
from steps.repository import marker, reader, vm_lock, vm_place
from steps.repository.section import Repository, locate
from steps.repository.vm_directory import VmDirectory
from steps.values.reservation import Reservation
from steps.vsphere.client import vcenter
from steps.vsphere.inventory import VM
from steps.vsphere.owner import reserved
from steps.vsphere.stands_on import item_of


class ReserveIn(JobModel):
    vm: VM
    """The VM that is to be this run's alone."""
    repository: Annotated[str, SectionName("repositories")]
    """Where its restore points are."""


class Reserve(Step[ReserveIn, Empty, Reservation]):
    """Takes the VM's lock in the repository. It does so before anything is changed and holds it to the end of
    the run, so that two runs never write one VM's restore points. The lock is freed by the run's death,
    whatever kills it.

    A run by itself then waits until the limits of its vCenter, hosts and repository leave what it needs, and
    holds that as long; a set does so for its VMs."""

    name = "reserve"
    lifetime = Lifetime.PROCESS
    guard = True
    In = ReserveIn
    Out = Reservation
    example = 'uses: reserve, with: {vm: "${{ discover.vm }}", repository: main}'
    errors = (
        "another run holds the VM (exit code 3; the holder is named)",
        "the path is not a repository (is the disk mounted?)",
        "the VM's directory belongs to a VM of another vCenter with the same instance uuid",
    )

    def run(self, ctx: Context, inputs: ReserveIn, live: Empty) -> Reservation:
        host, root = locate(ctx, inputs.repository)
        uuid = marker.require(host, root).uuid
        directory = vm_place.ensure(host, root, inputs.vm)
        lock = vm_lock.hold(ctx, host, directory, _named(inputs))
        found = reader.read(host, directory)
        found.next_sequence()  # there is one: else all would be copied for nothing
        for one in found.unread:
            ctx.warn(
                f"{one.sentence}: no restore point of {inputs.vm.name} is deleted until that can be read "
                f"or is moved out of {directory}"
            )
        if ctx.turns is not None:
            item = item_of(vcenter(ctx, inputs.vm.vcenter), inputs.vm)
            ctx.closing.enter_context(ctx.turns.of(ctx, item, _age(found)))
        place = reserved(ctx, inputs.vm.instance_uuid)
        place.repository, place.host, place.lock = uuid, host, lock
        return Reservation(repository=inputs.repository, lock=lock, host=host.name, uuid=uuid)

    def probe(self, ctx: Context, out: Reservation) -> bool:
        ctx.hold()
        return True

    def preflight(self, ctx: Context | None, known: Known[ReserveIn, Reservation]) -> Preflight[Reservation]:
        settings = known.settings(repository="repository")
        if ctx is None or known.inputs is None:
            return Preflight(settings=settings)
        inputs = known.inputs
        host, root = locate(ctx, inputs.repository)
        there = observe(f"repository {inputs.repository}", "that it is there", lambda: _words(host, root))
        if there.state == "wrong":
            return Preflight(settings=settings, observations=(there,))
        try:
            notes = _foretold(ctx, inputs, host, root)
        except Interrupted:
            raise
        except SendenseError as error:
            return Preflight(settings=settings, observations=(there,), problems=(error.message,))
        return Preflight(settings=settings, observations=(there,), notes=notes)

    def report(self, out: Reservation) -> StepReport:
        cells = {
            "Host": Cell(value=out.host, detail=True),
            "UUID": Cell(value=out.uuid, detail=True),
            "The VM's directory": Cell(value=posixpath.dirname(out.lock), unit="path"),
        }
        return StepReport(rows=(Row(table="Repository", key=out.repository, cells=cells),))


def _age(found: VmDirectory) -> float:
    """Seconds since its newest good point."""
    newest = found.chains.newest_good
    return math.inf if newest is None else (datetime.now(UTC) - newest.moment).total_seconds()


def _words(host: Host, root: str) -> str:
    """Raises NotARepositoryError."""
    return f"{root} on {host.name}, {marker.require(host, root).uuid}"


def _foretold(ctx: Context, inputs: ReserveIn, host: Host, root: str) -> tuple[str, ...]:
    """Raises LockedError, and what keeps the VM's directory from being read."""
    directory = vm_place.look(host, root, inputs.vm)
    unread = reader.read(host, directory).unread
    holder = vm_lock.holder(host, directory)
    # The job's own lock tells of a run that is running now.
    if holder is not None and ctx.run.id not in holder:
        raise LockedError(_named(inputs), holder)
    notes = [f"{directory} on {host.name}", *(f"{one.sentence}; it is ignored" for one in unread)]
    repository: Repository = ctx.section("repositories", inputs.repository)
    if repository.lock:
        from steps.lock import told

        notes += filter(None, (told.absent(host, root, repository.lock),))
    return tuple(notes)


def _named(inputs: ReserveIn) -> str:
    return f"VM {inputs.vm.name!r} in repository {inputs.repository}"
