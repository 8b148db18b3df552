"""sendense rollback: an existing VM's disks, put back to a restore point."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app.inspection import plan_job
from runner.app.options import Options
from runner.app.outside import context_outside_of_runs
from runner.app.sweep import abandon_run
from runner.base.slug import slug
from runner.base.waiting import NEVER
from runner.cli.options import print_json
from runner.cli.signals import stop_on_signals
from runner.cli.work import Work
from runner.console import plan_view
from runner.step.step import Empty
from steps.commands import command_jobs, consent, present_state
from steps.commands.asked import Asked, on_repositories, site_argument, tell_warning
from steps.commands.find import disk_option, find_first_point, point_argument
from steps.commands.present_state import Attempt, Attempts, Keeper
from steps.commands.vm_of_point import VDDK, how_it_is_reached, uuid_of
from steps.points import stored
from steps.points.place import Place
from steps.repository import reader, standing, verification_records
from steps.repository.vm_directory import VmDirectory
from steps.rollback import untracked
from steps.rollback.finish_rollback import FinishRollback
from steps.rollback.plan_rollback import PlanRollback, PlanRollbackIn
from steps.rollback.protect_points import LASTS
from steps.values.rollback import PlannedRollback
from steps.values.stored_point import StoredPoint

ROLLBACK_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Told:
    """On the command line."""

    point: str
    disks: tuple[int, ...]
    trust_tracking: bool
    discard_current: bool
    yes: bool


@dataclass(frozen=True)
class Meant:
    """What was found of what was asked for."""

    place: Place
    point: StoredPoint
    vm: VmDirectory
    uuid: str
    """The VM's instance uuid now."""
    reached: dict[str, JsonValue]
    """Variables that say how vSphere is reached."""

    def values(self, disks: tuple[int, ...], *, trust_tracking: bool) -> dict[str, JsonValue]:
        """Variables of the template."""
        return {
            "repository": self.place.name,
            "point": self.point.path,
            "disks": list(disks),
            "vm": self.uuid,
            "trust_tracking": trust_tracking,
            **{name: value for name, value in self.reached.items() if name != "transport"},
        }


@click.command(cls=Work)
@site_argument
@point_argument
@disk_option
@click.option(
    "--trust-tracking",
    is_flag=True,
    help="Compare only what changed block tracking names since POINT, and a sample; else every block is.",
)
@click.option(
    "--discard-current",
    is_flag=True,
    help="Do not keep the VM's present state as a restore point first. Asks.",
)
@click.option("--yes", is_flag=True, help="Discard the present state without asking: for cron and CI.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option(
    "--fresh",
    is_flag=True,
    help="Discard an unfinished rollback, which undoes what it wrote, and start over.",
)
@on_repositories
def rollback(
    asked: Asked,
    point: str,
    disks: tuple[int, ...],
    trust_tracking: bool,
    discard_current: bool,
    yes: bool,
    dry_run: bool,
    fresh: bool,
) -> None:
    """Put the disks of POINT's VM, which is off, back to POINT.

    Every block of the VM's disks is read over VDDK and compared with POINT, and what differs is written.
    First the present state becomes a restore point, made by JOB if that is the VM's backup job; both points
    are protected for 7 days. Until the disks were compared again, the VM is marked as half rolled back: after
    a failure the same command resumes, and `sendense sweep --abandon` goes back to the present state.

    POINT is a restore point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or
    latest where there is one VM, is the newest good point.
    """
    told = Told(point, disks, trust_tracking, discard_current, yes)
    typed: list[JsonValue] = [asked.job.file, point, [*disks], trust_tracking, discard_current]
    about = slug(posixpath.basename(point.rstrip("/")))
    file = command_jobs.place_of(asked, "rollback", about, {"typed": typed})
    attempts = Attempts(file)
    unfinished = command_jobs.unfinished(file, asked.of_run(fresh=False))
    if dry_run:
        if unfinished is None or fresh:
            _write(asked, file, told, None if fresh else attempts.read())
        _show(asked, file, asked.of_run(fresh=fresh))
    if fresh:
        if unfinished is not None:
            _discard(asked, file, unfinished)
        attempts.forget()
    if unfinished is None or fresh:
        _begin(asked, file, told, attempts)
    _run(asked, file, attempts)


def _write(
    asked: Asked, file: Path, told: Told, begun: Attempt | None
) -> tuple[Meant, Keeper | None, dict[str, JsonValue]]:
    """The job file, as it is before the present state is kept; with what was found for it. `begun`: an
    earlier try of the same command, which stays with its point."""
    meant = _meant(asked, told.point if begun is None else begun.point, told.disks)
    values = meant.values(told.disks, trust_tracking=told.trust_tracking)
    keeper = None
    if not told.discard_current:
        keeper = present_state.keeper_of(asked, meant.place, meant.vm, _to_keep(meant))
    command_jobs.write(
        asked, file, "rollback", {**values, "kept_by": None if keeper is None else keeper.told}
    )
    return meant, keeper, values


def _begin(asked: Asked, file: Path, told: Told, attempts: Attempts) -> None:
    """Refuses, keeps the present state, and leaves the job file that puts the disks back."""
    begun = attempts.read()
    meant, keeper, values = _write(asked, file, told, begun)
    # A run that keeps the present state was begun: what is on the VM now is that run's.
    if begun is None or not begun.run:
        planned = _refuse(asked, file, meant, told.disks)
        if keeper is None:
            question = f"Lose the present state of {meant.vm.vm_name}?"
            consent.agree(question, given=told.yes, option="--yes", untouched="nothing was done")
        elif not told.trust_tracking:
            _ask_no_tracking(asked, planned)
    if keeper is not None:
        begun = begun or Attempt(point=meant.point.path)
        values["present"] = _keep(asked, keeper, meant, attempts, begun)
    command_jobs.write(asked, file, "rollback", values)


def _meant(asked: Asked, point: str, disks: tuple[int, ...]) -> Meant:
    """Raises UsageError, SuspectPointError, NoSuchDiskError, ChainError."""
    with asked.places() as places:
        place, path = find_first_point(asked.job, places, point)
        stored.refuse_unknown_disks(place.host, path, disks)
        standing.read(place.host, path, disks).refuse("no VM is rolled back to it")
        return Meant(
            place=place,
            point=stored.read(place.host, place.path, path, disks),
            vm=reader.read(place.host, posixpath.dirname(path)),
            uuid=uuid_of(place, path),
            reached=how_it_is_reached(asked.job, ("node", "connections", "transport", *VDDK)),
        )


def _to_keep(meant: Meant) -> dict[str, JsonValue]:
    """Variables of the template `backup`, for a VM whose own job is not at hand."""
    return {**meant.reached, "vm": meant.uuid, "repository": meant.place.name, "quiesce": "off"}


def _show(asked: Asked, file: Path, options: Options) -> None:
    """The plan; exits."""
    plan = plan_job(file, options, offline=False)
    if asked.as_json:
        print_json(plan.to_json_value())
    else:
        plan_view.print_text(plan, sys.stdout)
    raise click.exceptions.Exit(1 if plan.problems else 0)


def _refuse(asked: Asked, file: Path, meant: Meant, disks: tuple[int, ...]) -> PlannedRollback:
    """Before anything is changed. Raises what keeps the VM's disks from being written, and exits where the
    hosts lack what it takes."""
    with context_outside_of_runs(asked.job, "rollback", NEVER, tell_warning, asked.options.hosts) as ctx:
        inputs = PlanRollbackIn(
            vcenter=str(meant.reached["vcenter"]), vm=meant.uuid, point=meant.point, disks=disks
        )
        planned = PlanRollback().run(ctx, inputs, Empty())
        with untracked.held(ctx, planned):
            pass  # who has it may be reading the VM now
    plan = plan_job(file, asked.of_run(fresh=False), offline=False)
    for problem in plan.problems:
        print(problem, file=sys.stderr)
    if plan.problems:
        print("Nothing was changed.", file=sys.stderr)
        raise click.exceptions.Exit(1)
    return planned


def _ask_no_tracking(asked: Asked, planned: PlannedRollback) -> None:
    """What is about to be written over is kept by reading all of it: were tracking asked, what it forgot
    would be lost."""
    with context_outside_of_runs(asked.job, "rollback", NEVER, tell_warning, asked.options.hosts) as ctx:
        untracked.note(ctx, planned)


def _keep(asked: Asked, keeper: Keeper, meant: Meant, attempts: Attempts, attempt: Attempt) -> str:
    """The path of the restore point of the present state. POINT is protected first: the retention of the job
    that makes the other one might delete it."""
    attempts.write(attempt)
    until = datetime.now(UTC) + timedelta(seconds=LASTS)
    with asked.places() as places:
        place = next(one for one in places if one.name == meant.place.name)
        reason = f"a rollback to {meant.point.point} stands on it"
        verification_records.protect(place.host, meant.point.path, until, reason)
    return present_state.keep(asked, keeper, meant.vm.path, attempts, attempt)


def _discard(asked: Asked, file: Path, run: str) -> None:
    """Goes back to the present state, where anything was written. Raises what keeps it from that."""
    with stop_on_signals() as stop:
        abandon_run(file, run, asked.of_run(fresh=False), [tell_warning], stop=stop)


def _run(asked: Asked, file: Path, attempts: Attempts) -> None:
    """To its end; exits."""
    result, summary = command_jobs.run_made(file, asked.of_run(fresh=False))
    done = command_jobs.outputs(summary, FinishRollback.name)
    if done:
        attempts.forget()
    if asked.as_json:
        told = command_jobs.document(ROLLBACK_SCHEMA_VERSION, result, summary)
        planned = command_jobs.outputs(summary, PlanRollback.name)
        present = planned[0]["present"] or None if planned else None
        print_json({**told, "present": present, **_document(done)})
    raise click.exceptions.Exit(result.exit_code)


def _document(done: list[dict[str, JsonValue]]) -> Mapping[str, JsonValue]:
    """What was done, null where it was not."""
    names = ("vm", "source", "disks", "size", "written", "whole", "untracked")
    return {name: done[0][name] if done else None for name in names}
