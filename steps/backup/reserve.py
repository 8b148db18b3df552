"""reserve: the VM's lock in the repository, held while the run lives (a PROCESS step and a guard)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, Any

from runner.base.errors import LockedError, SendenseError
from runner.base.model import JobModel, SectionName
from runner.events.check_results import Observation, observe
from runner.events.step_report import Cell, Row, StepReport
from runner.hosts.stray_processes import holder_at
from runner.step.context import Context
from runner.step.setting import Setting
from runner.step.step import Empty, Forecast, Lifetime, Step
from steps.repository import layout, marker, reader, vm_place
from steps.repository.section import locate
from steps.repository.vm_lock import hold
from steps.values.reservation import Reservation
from steps.vsphere.inventory import VM
from steps.vsphere.owner import reserved


class ReserveIn(JobModel):
    vm: VM
    """The VM that is to be this run's alone."""
    repository: Annotated[str, SectionName("repositories")]
    """Where its restore points are."""


class Reserve(Step[ReserveIn, Empty, Reservation]):
    """Takes the VM's lock in the repository. It does so before anything is changed and holds it to the end of
    the run, so that two runs never write one VM's restore points. The lock is freed by the run's death,
    whatever kills it."""

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
        lock = hold(ctx, host, directory, _named(inputs))
        for one in reader.read(host, directory).unread:
            ctx.warn(
                f"{one.sentence}: nothing of {inputs.vm.name} is deleted until it can be, or is moved out of "
                f"{directory}"
            )
        place = reserved(ctx, inputs.vm.instance_uuid)
        place.repository, place.host, place.lock = uuid, host, lock
        return Reservation(repository=inputs.repository, lock=lock, host=host.name, uuid=uuid)

    def probe(self, ctx: Context, out: Reservation) -> bool:
        ctx.hold()
        return True

    def examine(self, ctx: Context, inputs: ReserveIn) -> tuple[Observation, ...]:
        host, root = locate(ctx, inputs.repository)

        def is_one() -> str:
            return f"{root} on {host.name}, {marker.require(host, root).uuid}"

        return (observe(f"repository {inputs.repository}", "that it is there", is_one),)

    def forecast(self, ctx: Context, inputs: ReserveIn) -> Forecast:
        host, root = locate(ctx, inputs.repository)
        try:
            marker.require(host, root)
            directory = vm_place.look(host, root, inputs.vm)
            unread = reader.read(host, directory).unread
            holder = holder_at(host, posixpath.join(directory, layout.LOCK))
            # Of a run that goes on now, the job's own lock tells.
            if holder is not None and ctx.run.id not in holder:
                raise LockedError(_named(inputs), holder)
        except SendenseError as error:
            return Forecast(problems=(error.message,))
        passed_over = (f"{one.sentence}; it is passed over" for one in unread)
        return Forecast(notes=(f"{directory} on {host.name}", *passed_over))

    def settings(self, told: Mapping[str, Any], out: Reservation | None) -> tuple[Setting, ...]:
        return (Setting(name="repository", text=told["repository"]),) if "repository" in told else ()

    def report(self, out: Reservation) -> StepReport:
        cells = {
            "Host": Cell(value=out.host, detail=True),
            "UUID": Cell(value=out.uuid, detail=True),
            "The VM's directory": Cell(value=posixpath.dirname(out.lock), unit="path"),
        }
        return StepReport(rows=(Row(table="Repository", key=out.repository, cells=cells),))


def _named(inputs: ReserveIn) -> str:
    return f"VM {inputs.vm.name!r} in repository {inputs.repository}"
