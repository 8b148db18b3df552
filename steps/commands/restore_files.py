"""sendense restore --to: the disks of a restore point, as files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import JsonValue

from runner.app.inspection import plan_job
from runner.base.errors import UsageError
from runner.cli.options import print_json
from runner.console import plan_view
from runner.events.summary import RunSummary
from runner.job.model import LOCAL
from steps.commands import command_jobs, restore_job
from steps.commands.restore_job import RESTORE_SCHEMA_VERSION, Found, Wanted
from steps.restore.finalize_restore import FinalizeRestore

FORMATS = ("qcow2", "raw", "vmdk", "vmdk-stream")


@dataclass(frozen=True)
class Files:
    form: str = "qcow2"
    overwrite: bool = False


def file_options(function: Callable[..., None]) -> Callable[..., None]:
    """Of files alone."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace existing files, once the new are verified."),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            help="Of files: the format; vmdk-stream is the one in an OVA.  [default: qcow2]",
        ),
    ):
        function = option(function)
    return function


def taken(options: Mapping[str, Any]) -> Files:
    return Files(options["form"] or Files.form, options["overwrite"])


def refuse(options: Mapping[str, Any]) -> None:
    """Raises UsageError for one that was given."""
    if options["form"] or options["overwrite"]:
        raise click.UsageError("--format and --overwrite are for --to, not for --to-vcenter")


def restore(wanted: Wanted, place: str, files: Files) -> None:
    asked = wanted.asked
    host, directory = destination(place, asked.job.hosts)
    found = restore_job.find(wanted)
    values: dict[str, JsonValue] = {
        "host": host,
        "directory": directory,
        "format": files.form,
        "overwrite": files.overwrite,
    }
    file = restore_job.job_of(wanted, "restore", found, values, ("overwrite",), {})
    if wanted.dry_run:
        _show_plan(wanted, file)
    found, result, summary = restore_job.run(wanted, "restore", found, file, values)
    if asked.as_json:
        told = command_jobs.document(RESTORE_SCHEMA_VERSION, result, summary)
        print_json({**told, **_document(found, host, summary)})
    raise click.exceptions.Exit(result.exit_code)


def _show_plan(wanted: Wanted, job: Path) -> None:
    plan = plan_job(job, wanted.asked.of_run(fresh=wanted.fresh), offline=False)
    if wanted.asked.as_json:
        print_json(plan.to_json_value())
    else:
        plan_view.print_text(plan, sys.stdout)
    raise click.exceptions.Exit(1 if plan.problems else 0)


def _document(found: Found, host: str, summary: RunSummary) -> dict[str, JsonValue]:
    files = (
        file
        for out in command_jobs.outputs(summary, FinalizeRestore.name)
        for file in command_jobs.texts(out["files"])
    )
    return {**found.document, "host": host, "files": list(files)}


def destination(place: str, hosts: Collection[str]) -> tuple[str, str]:
    """The host and the absolute directory that ``DIR`` or ``HOST:DIR`` mean. Raises UsageError."""
    host, colon, directory = place.partition(":")
    if not colon or place.startswith(("/", ".")):
        host, directory = LOCAL, place
    if host not in hosts:
        known = ", ".join(hosts)
        raise UsageError(
            f"--to {place}: the job has no host '{host}'; it has {known}; write ./{place} for a directory "
            "on this machine"
        )
    if host == LOCAL:
        return host, str(Path(directory).resolve())
    if not directory.startswith("/"):
        raise UsageError(f"--to {place}: write an absolute path on {host}, {host}:/{directory}")
    return host, directory
