"""The restore point of a VM's present state, made before its disks are put back: a run of the VM's own backup
job, and the same one for the same command, however often that is killed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
from pydantic import JsonValue, ValidationError

from runner.app.inspection import told_by
from runner.app.options import Options, Placed
from runner.base.errors import Interrupted, SendenseError
from runner.base.model import Model
from runner.cli.options import typed
from runner.cli.signals import StopRequest
from runner.events.events import Event, RunStarted
from runner.hosts import files
from runner.job.children import child
from runner.job.model import Job
from runner.step.items import Item
from steps.commands import command_jobs
from steps.commands.asked import Asked
from steps.commands.scope import NoScopeError, chosen
from steps.points.place import Place
from steps.repository import layout, vm_place
from steps.repository.naming import Names
from steps.repository.vm_directory import VmDirectory

RUNS = 2
"""Of the backup job at most: the first may only finish what an older one left, which has read another
moment."""


class Attempt(Model):
    """What the first try of a command began with. It is forgotten once the command has done its work."""

    point: str
    """Path of the point that is put back"""
    run: str = ""
    """The run that makes the restore point of the present state; empty until it was begun"""


class Attempts:
    """Kept beside the command's job file."""

    def __init__(self, job_file: Path) -> None:
        self._path = job_file.with_suffix(".attempt")

    def read(self) -> Attempt | None:
        try:
            return Attempt.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, attempt: Attempt) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(str(self._path), attempt.model_dump_json().encode())

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Keeper:
    """The job whose run keeps the present state, in words and as it is run."""

    told: str
    job: Path | Job
    options: Options


def keeper_of(asked: Asked, place: Place, vm: VmDirectory, values: Mapping[str, JsonValue]) -> Keeper:
    """JOB itself where it is the VM's backup job, or the set of it; else a job of the standard template with
    `values`, whose `vm` is the instance uuid. Changes nothing but its own job file."""
    uuid = str(values["vm"])
    options, job = asked.of_run(fresh=False), asked.job
    if job.select is not None:
        made_by = vm.newest.manifest.job if vm.newest is not None else ""
        one = child(job, Item(uuid, vm.vm_name, uuid))
        if made_by == one.name and _is_into(one, place):
            return Keeper(one.name, one, replace(asked.options, typed=typed(), placed=Placed(only=uuid)))
    elif _is_backup_of(job, place, vm):
        return Keeper(job.name, asked.site, replace(asked.options, typed=typed()))
    file = command_jobs.job_for(asked, "backup", layout.slug_of(vm.path), values)
    return Keeper(file.stem, file, options)


def _is_backup_of(job: Job, place: Place, vm: VmDirectory) -> bool:
    if not any(step.uses == "publish" for step in job.steps) or not _is_into(job, place):
        return False
    try:
        return [one.path for one in chosen(job, Names.read(place.host, place.path), (), all_vms=False)] == [
            vm.path
        ]
    except NoScopeError:
        return False


def _is_into(job: Job, place: Place) -> bool:
    return [told.get("repository") for told in told_by(job, "reserve")] == [place.name]


def keep(asked: Asked, keeper: Keeper, directory: str, attempts: Attempts, attempt: Attempt) -> str:
    """The path of the restore point of the present state, in the VM's `directory`: the one that the first try
    of this command made, or a new one. Exits with the code of the backup where that fails."""
    is_over = bool(attempt.run) and command_jobs.unfinished(keeper.job, keeper.options) != attempt.run
    if is_over and (made := _made_by(asked, directory, attempt.run)) is not None:
        return made
    print(f"The present state is kept first: {keeper.told} makes a restore point of it.", file=sys.stderr)
    begun: list[RunStarted] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            begun[:] = [event]
            if not event.resumed:
                attempts.write(attempt.model_copy(update={"run": event.run}))

    for _ in range(RUNS):
        stop = StopRequest()
        result, _summary = command_jobs.run_made(keeper.job, keeper.options, [listen], stop)
        if stop.asked is not None:
            # Though the restore point may be there: who stops this does not want what comes next.
            print("Nothing was rolled back; run the same command again to resume.", file=sys.stderr)
            raise click.exceptions.Exit(Interrupted.exit_code)
        is_ours = bool(begun) and (not begun[0].resumed or begun[0].run == attempt.run)
        made = _made_by(asked, directory, result.run) if is_ours else None
        if made is not None:
            return made
        if is_ours or result.exit_code:
            break
    print("Nothing was rolled back: the present state was not kept.", file=sys.stderr)
    raise click.exceptions.Exit(result.exit_code or SendenseError.exit_code)


def _made_by(asked: Asked, directory: str, run: str) -> str | None:
    with asked.places() as places:
        (place,) = (one for one in places if directory.startswith(f"{one.path}/"))
        return vm_place.point_of_run(place.host, directory, run)
