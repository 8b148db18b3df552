"""sendense adopt: a VM of a rebuilt vCenter continues its restore points."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app import selecting
from runner.app.inspection import told_by
from runner.app.options import Options, read_job
from runner.app.outside import context_outside_of_runs
from runner.base.errors import UsageError
from runner.base.waiting import heeding
from runner.cli.options import job_argument, job_options, json_option, options_from, print_json
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.console.tables import print_table
from runner.job.children import child
from runner.job.model import Job
from steps.commands.asked import tell_warning
from steps.commands.consent import agree
from steps.repository.identities import Identity, same
from steps.vm import adoption
from steps.vm.adoption import Comparison

ADOPT_SCHEMA_VERSION = 1


@click.command(cls=Work)
@job_argument
@click.option("--yes", is_flag=True, help="Adopt without asking.")
@click.option("--only", multiple=True, metavar="NAME", help="Of a set: this VM alone (repeatable).")
@job_options
@json_option
def adopt(
    job: Path,
    yes: bool,
    only: tuple[str, ...],
    settings: tuple[str, ...],
    state: Path | None,
    as_json: bool,
) -> None:
    """Continue a VM's points after its vCenter was rebuilt.

    Such a VM is refused until then: the same instance uuid in another vCenter may be another VM. Old and new
    uuids of vCenter, VM, BIOS and disks are shown together; once you said that it is one VM, that is recorded
    in identities.json in the VM's directory, and its next backup is a full. Of a set, each of its VMs is
    looked at, or those that --only names.

    `sendense help which-vm` says what becomes of a VM that was renamed, moved, recreated or cloned.
    """
    told: list[JsonValue] = []
    refusal: UsageError | None = None
    options = options_from(settings, state)
    read = read_job(job, options)
    stop = StopRequest()
    with context_outside_of_runs(read, "adopt", stop, tell_warning) as ctx:
        for vcenter, vm, repository in heeding(stop, _all_vms(read, options, only)):
            found = adoption.compare(ctx, vcenter, vm, repository)
            try:
                if found.state == "differs":
                    _agree(found, given=yes, shown=not as_json)
                    # Not around the question, which a signal ends by itself.
                    with stop_on_signals("what is not adopted yet is left", stop):
                        adoption.adopt(ctx, found)
            except UsageError as error:
                refusal = error
                told.append(_document(found, adopted=False))
                continue
            told.append(_document(found, adopted=found.state == "differs"))
            if not as_json:
                click.echo(_sentence(vm, found))
    if as_json:
        print_json({"schema_version": ADOPT_SCHEMA_VERSION, "vms": told})
    if refusal is not None:
        raise refusal


def _all_vms(job: Job, options: Options, only: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Of a set, those of its children. Raises UsageError."""
    if job.select is None:
        if only:
            raise UsageError(f"--only is for a set, and {job.file} has no `select`")
        yield from _vms(job)
        return
    for item in selecting.select(Path(job.file), options, only).wanted:
        yield from _vms(child(job, item))


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
            f"{job.file} does not say which VM is in which repository: write `repository:` on discover"
        )
    if not told_by(job, "discover"):
        raise UsageError(f"{job.file} discovers no VM: name the VM's backup job")


def _agree(found: Comparison, *, given: bool, shown: bool) -> None:
    """Shows both and asks, unless it is agreed to already. Raises UsageError."""
    assert found.old is not None
    if shown:
        print_table(found.directory, ("", "seen", "as"), list(_rows(found.old, found.new)), stream=sys.stdout)
    question = "Is this the same VM, so that its backups continue these restore points?"
    agree(question, given=given, option="--yes", untouched="nothing was adopted")


def _rows(old: Identity, new: Identity) -> Iterator[tuple[str, str, str]]:
    """One above the other, since two uuids side by side are too wide for many a terminal and harder to
    compare."""
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


def _sentence(vm: str, found: Comparison) -> str:
    match found.state:
        case "first":
            return f"nothing to adopt: '{vm}' has no restore points yet"
        case "known":
            return f"nothing to adopt: {found.directory} is already that of '{vm}'"
        case "differs":
            return (
                f"adopted: '{vm}' continues the restore points in {found.directory}; its next backup is a "
                "full"
            )


def _document(found: Comparison, *, adopted: bool) -> dict[str, JsonValue]:
    return {
        "state": found.state,
        "adopted": adopted,
        "directory": found.directory or None,
        "old": None if found.old is None else found.old.to_json_value(),
        "new": found.new.to_json_value(),
    }
