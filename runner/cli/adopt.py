"""sendense adopt: a VM of a rebuilt vCenter goes on with its restore points."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app import Options, new_run_id, read_job, told_by
from runner.cli.options import job_argument, job_options, json_option, options_from, print_json
from runner.console import print_table
from runner.errors import UsageError
from runner.events import Bus
from runner.job_model import Job
from runner.process import temporary_directory
from runner.step import Context, Run
from runner.world import World
from steps import adoption
from steps.adoption import Comparison
from steps.repository.identities import Identity, same

ADOPT_SCHEMA_VERSION = 1


@click.command()
@job_argument
@click.option("--yes", is_flag=True, help="Adopt without asking.")
@job_options
@json_option
def adopt(job: Path, yes: bool, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Continue a VM's restore points after its vCenter was rebuilt.

    Such a VM is refused until then: the same instance uuid in another vCenter may be another VM. Old and new uuids of vCenter, VM, BIOS and disks are shown
    together; once you said that it is one VM, that is recorded in identities.json in the VM's directory, and its next backup is a full.

    \b
    A VM that was …                      Its next backup
    renamed, moved, or its host changed  continues its restore points
    unregistered and registered again    continues its restore points
    deleted and made anew                begins restore points of its own; the old ones stay
    cloned under its name                continues with the one that was backed up before
    renamed, and another has its name    continues with the one that was backed up before
    given another instance uuid          is refused until `sendense adopt JOB`
    taken over by another vCenter        is refused until `sendense adopt JOB`
    on an ESXi host without vCenter      the host's hardware uuid takes the vCenter's place
    """
    options = options_from(settings, state)
    told: list[JsonValue] = []
    refused = False
    with _contexts(job, options) as (read, ctx):
        for vcenter, vm, repository in _vms(read):
            found = adoption.compare(ctx, vcenter, vm, repository)
            agreed = found.state == "differs" and (yes or (not as_json and _agreed(found)))
            if agreed:
                adoption.adopt(ctx, found)
            refused |= found.state == "differs" and not agreed
            told.append(_document(found, adopted=agreed))
            if not as_json:
                click.echo(_sentence(vm, found, adopted=agreed))
    if as_json:
        print_json({"schema_version": ADOPT_SCHEMA_VERSION, "vms": told})
    if refused and (as_json or not sys.stdin.isatty()):
        raise UsageError(f"nobody can be asked here: `{options.command('adopt', str(job))} --yes` adopts")
    raise click.exceptions.Exit(1 if refused else 0)


@contextmanager
def _contexts(path: Path, options: Options) -> Iterator[tuple[Job, Context]]:
    job = read_job(path, options)
    with temporary_directory() as scratch, World(job, Bus(), threading.Event(), Path(scratch)) as world:
        world.run = Run(new_run_id(), job.name, job.digest, None, execution=world.execution)
        yield job, world.unheard("adopt")


def _vms(job: Job) -> Iterator[tuple[str, str, str]]:
    """Of each VM that the job discovers: vCenter, what the job calls it, repository. Raises UsageError."""
    reserved = [told["repository"] for told in told_by(job, "reserve") if "repository" in told]
    for told in told_by(job, "discover"):
        vcenter, vm = told.get("vcenter"), told.get("vm")
        repository = told.get("repository") or (reserved[0] if len(reserved) == 1 else None)
        if isinstance(vcenter, str) and isinstance(vm, str) and isinstance(repository, str):
            yield vcenter, vm, repository
            continue
        raise UsageError(
            f"{job.file} does not say by itself which VM is in which repository: write `repository:` on discover"
        )
    if not told_by(job, "discover"):
        raise UsageError(f"{job.file} discovers no VM: name the VM's backup job")


def _agreed(found: Comparison) -> bool:
    """Shows both, and asks where somebody can answer."""
    assert found.old is not None
    print_table(found.directory, ("", "seen", "as"), list(_rows(found.old, found.new)), stream=sys.stdout)
    if not sys.stdin.isatty():
        return False
    return click.confirm("Is this one VM, so that its backups continue these restore points?", err=True)


def _rows(old: Identity, new: Identity) -> Iterator[tuple[str, str, str]]:
    """One above the other, since two uuids side by side are too wide for many a terminal and harder to compare."""
    for what, before, now in _both(old, new):
        if same(before, now):
            yield what, "both", now
        else:
            yield what, "before", before or "unset"
            yield "  differs", "now", now or "unset"


def _both(old: Identity, new: Identity) -> Iterator[tuple[str, str, str]]:
    yield "vCenter's uuid", old.vcenter_uuid, new.vcenter_uuid
    yield "instance uuid", old.instance_uuid, new.instance_uuid
    yield "BIOS uuid", old.bios_uuid, new.bios_uuid
    yield "name", old.name, new.name
    yield "inventory path", old.inventory_path, new.inventory_path
    before, now = ({disk.key: disk.backing_uuid for disk in one.disks} for one in (old, new))
    for key in sorted(before.keys() | now.keys()):
        yield f"disk {key}", before.get(key, "–"), now.get(key, "–")


def _sentence(vm: str, found: Comparison, *, adopted: bool) -> str:
    if found.state == "first":
        return f"nothing to adopt: '{vm}' has no restore points yet"
    if found.state == "known":
        return f"nothing to adopt: {found.directory} is that of '{vm}' as it is"
    return (
        f"adopted: '{vm}' continues the restore points in {found.directory}; its next backup is a full"
        if adopted
        else f"nothing was adopted: the backup of '{vm}' is refused until it is"
    )


def _document(found: Comparison, *, adopted: bool) -> dict[str, JsonValue]:
    return {
        "state": found.state,
        "adopted": adopted,
        "directory": found.directory or None,
        "old": None if found.old is None else found.old.to_json_value(),
        "new": found.new.to_json_value(),
    }
