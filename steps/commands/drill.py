"""sendense drill: a restore point, booted to see that it starts."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
from pydantic import JsonValue

from runner.app.inspection import plan_and_outputs
from runner.base.errors import UsageError
from runner.base.suggestion import did_you_mean
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.console import plan_view
from runner.events.summary import RunSummary
from runner.job.model import LOCAL, Job
from steps.commands import changes_view, command_jobs, domain_xml, restore_job
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.boot_options import boot_options, told_options
from steps.commands.find import accept_option, disk_option, point_argument
from steps.commands.restore_job import Wanted
from steps.drill.drill_point import DrillPoint
from steps.repository import layout
from steps.values.planned_drill import PlannedDrill

DRILL_SCHEMA_VERSION = 1

PLAN = "plan"
"""The node of the template that decides everything."""

VARIABLES = ("expect", "within", "host", "limits", "accelerator", "guest_address")
"""Of the template, which a job's `drill` has too."""


@click.command(cls=Work)
@site_argument
@point_argument
@click.option("--host", metavar="HOST", help="Boot it on this host of the job, or local.")
@disk_option
@boot_options
@click.option("--dry-run", is_flag=True, help="Show how it would be booted; start nothing.")
@click.option(
    "--print",
    "form",
    type=click.Choice(["libvirt"]),
    help="Print the machine for a KVM host that is to run it; start nothing.",
)
@accept_option
@on_repositories
def drill(
    asked: Asked,
    point: str,
    disks: tuple[int, ...],
    dry_run: bool,
    form: str | None,
    accept_suspect: bool,
    **options: Any,
) -> None:
    """Boot POINT in QEMU, and see whether it starts.

    POINT is a restore point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or
    latest where there is one VM, is the newest good point. It is booted with the devices that its VM had, on
    its disks as they are: what the guest writes is thrown away, and the guest reaches nothing. The drill has
    passed once all that is expected was seen (exit code 0), failed where it can be told that it does not boot
    (5), and is undecided otherwise (1); a picture of the console is kept with the point.

    What JOB says in its own `drill` holds where no option says else.
    """
    if form is not None:
        domain_xml.print_libvirt(asked, point, disks)
        return
    wanted = Wanted(asked, point, disks, dry_run, True, accept_suspect)
    values = settings(asked.job, options)
    _require_host(asked, values.get("host"))
    found = restore_job.find(wanted, "Drill it anyway?")
    about = "-".join((layout.slug_of(posixpath.dirname(found.path)), posixpath.basename(found.path)))
    file = command_jobs.job_for(asked, "drill", about, {**found.values, **values}, ("accept_suspect",))
    # Nothing of a drill that was cut short is worth keeping: the same command starts over.
    if dry_run:
        _show(asked, file)
    result, summary = command_jobs.run_made(file, asked.of_run(fresh=True))
    if asked.as_json:
        told = command_jobs.document(DRILL_SCHEMA_VERSION, result, summary)
        print_json({**told, **found.document, "drill": _document(summary)})
    raise click.exceptions.Exit(result.exit_code)


def settings(job: Job, options: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Variables of the template: what the command line says, and where it says nothing, what `job` says of
    its own drills."""
    of_backup = job.vars.get("drill")
    of_drill = job.vars if {"point", *VARIABLES} <= job.vars.keys() else {}
    own = of_backup if isinstance(of_backup, dict) else of_drill
    said = {name.replace("-", "_"): value for name, value in own.items()}
    values = {name: said[name] for name in VARIABLES if said.get(name) is not None}
    if options["host"] is not None:
        values["host"] = options["host"]
    typed = told_options(options)
    limits, before = typed.pop("limits", None), values.get("limits")
    if isinstance(limits, dict):
        values["limits"] = {**(before if isinstance(before, dict) else {}), **limits}
    return values | typed


def _require_host(asked: Asked, name: JsonValue) -> None:
    known = [*asked.job.hosts, LOCAL]
    if name is not None and name not in known:
        hint = did_you_mean(str(name), known) or f"; it has {', '.join(known)}"
        raise UsageError(f"--host {name}: {asked.site} has no host {name!r}{hint}")


def _show(asked: Asked, job: Path) -> None:
    """The machine beside the VM, and what a run would do; exits."""
    plan, outputs = plan_and_outputs(job, asked.of_run(fresh=True))
    out = outputs.get(PLAN)
    planned = None if out is None else PlannedDrill.from_json_value(out)
    if asked.as_json:
        print_json({**plan.to_json_value(), "machine": None if planned is None else _machine(planned)})
    else:
        changes = () if planned is None else planned.machine.changes
        if planned is not None:
            changes_view.print_text(f"{planned.source} is booted on {planned.host}.", changes, sys.stdout)
        plan_view.print_text(plan, sys.stdout, said={one.sentence for one in changes})
    raise click.exceptions.Exit(1 if plan.problems else 0)


def _machine(planned: PlannedDrill) -> JsonValue:
    return {
        **planned.machine.to_json_value(),
        "host": planned.host,
        "expect": [one.to_json_value() for one in planned.expect],
        "limits": planned.limits.to_json_value(),
    }


_SAID = (
    "verdict",
    "why",
    "evidence",
    "host",
    "accelerator",
    "accelerator_why",
    "firmware",
    "qemu",
    "seconds",
    "written",
    "changes",
    "picture",
    "serial_log",
    "picture_here",
)


def _document(summary: RunSummary) -> JsonValue:
    """What came of it; null where it was not made."""
    outs = command_jobs.outputs(summary, DrillPoint.name)
    return cast(JsonValue, {name: outs[0][name] for name in _SAID}) if outs else None
