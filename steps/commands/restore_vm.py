"""sendense restore --to-vcenter: a restore point as a new VM."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from pydantic import JsonValue

from runner.app.inspection import plan_and_outputs, told_by
from runner.app.outside import context_outside_of_runs
from runner.base.errors import UsageError
from runner.base.suggestion import did_you_mean
from runner.cli.options import print_json
from runner.console import plan_view
from runner.events.summary import RunSummary
from runner.job.model import LOCAL
from steps.commands import command_jobs, new_vm_view, restore_job
from steps.commands.asked import Asked, tell_warning
from steps.commands.restore_job import RESTORE_SCHEMA_VERSION, Found, Wanted
from steps.restore.finalize_vm import FinalizeVm
from steps.source import nbdkit_vddk
from steps.source.nbdkit_vddk import VddkOptions
from steps.values.planned_vm import PlannedVm

PLAN = "plan"
"""The node of the template that decides everything."""

_OF_VDDK = ("libdir", "plugin", "transports")

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--name", {"metavar": "NAME", "help": "The new VM's name.  [default: the one it had]"}),
    ("--folder", {"metavar": "PATH", "help": "The inventory path of its folder.  [default: the one it had]"}),
    ("--pool", {"metavar": "NAME", "help": "Its resource pool: CLUSTER/POOL."}),
    ("--cluster", {"metavar": "NAME", "help": "Its cluster, where it needs no pool of its own."}),
    ("--host", {"metavar": "NAME", "help": "Its ESXi host.  [default: vCenter chooses]"}),
    (
        "--datastore",
        {
            "multiple": True,
            "metavar": "[KEY=]NAME",
            "help": "Its datastore, or that of disk KEY; may be repeated.  [default: where each disk was]",
        },
    ),
    (
        "--network",
        {
            "multiple": True,
            "metavar": "OLD=NEW",
            "help": "Connect what was on network OLD to NEW; may be repeated.",
        },
    ),
    ("--thin", {"is_flag": True, "help": "Provision all disks thin.  [default: as each was]"}),
    ("--thick", {"is_flag": True, "help": "Provision all disks thick."}),
    (
        "--keep-identity",
        {"is_flag": True, "help": "Keep MAC addresses and uuids, where no other VM has them."},
    ),
    (
        "--tpm",
        {
            "type": click.Choice(["omit"]),
            "help": "Leave out a virtual TPM and encryption, whose keys are in no backup.",
        },
    ),
    (
        "--transport",
        {
            "type": click.Choice(["auto", "lease", "vddk"]),
            "help": "lease: an import lease, without any VMware library. vddk: VMware's library, which "
            "resumes inside a disk. auto: vddk where the node host has it.  [default: auto]",
        },
    ),
    ("--power-on", {"is_flag": True, "help": "Power it on at the end."}),
)


@dataclass(frozen=True)
class NewVm:
    """What the VM is to be, as far as the command line says."""

    transport: str
    values: Mapping[str, JsonValue]
    """Variables of the template; what is left out is the template's default."""


def vm_options(function: Callable[..., None]) -> Callable[..., None]:
    """Of a VM alone."""
    for name, more in reversed(_OPTIONS):
        function = click.option(name, **more)(function)
    return function


def refuse(options: Mapping[str, Any]) -> None:
    """Raises UsageError for one that was given."""
    for name, _ in _OPTIONS:
        value = options[name.removeprefix("--").replace("-", "_")]
        if value is not None and value is not False and value != ():
            raise click.UsageError(f"{name} is for --to-vcenter, not for --to")


def taken(options: Mapping[str, Any]) -> NewVm:
    """Raises UsageError for what contradicts itself."""
    if options["pool"] and options["cluster"]:
        raise click.UsageError("give --pool or --cluster, not both: CLUSTER/POOL is a pool of that cluster")
    if options["thin"] and options["thick"]:
        raise click.UsageError("give --thin or --thick, not both")
    datastores = [_pair("--datastore", one) for one in options["datastore"]]
    everywhere = [name for key, name in datastores if key is None]
    if len(everywhere) > 1:
        both = " and ".join(everywhere)
        raise click.UsageError(
            f"--datastore names {both}: give one, and KEY=NAME for disks that go elsewhere"
        )
    values: dict[str, JsonValue] = {
        "name": options["name"],
        "folder": options["folder"],
        "pool": options["pool"] or options["cluster"],
        "host": options["host"],
        "datastore": everywhere[0] if everywhere else None,
        "datastores": {_key(key): name for key, name in datastores if key is not None},
        "networks": dict(_network(one) for one in options["network"]),
        "provisioning": next((name for name in ("thin", "thick") if options[name]), None),
        "identity": "keep" if options["keep_identity"] else None,
        "tpm": options["tpm"],
        "power_on": options["power_on"] or None,
    }
    return NewVm(options["transport"] or "auto", {name: value for name, value in values.items() if value})


def _pair(option: str, text: str) -> tuple[str | None, str]:
    """``[KEY=]NAME``; the name of a datastore may have an equals sign where no number stands before it."""
    key, equals, name = text.partition("=")
    return (key, name) if equals and key.isdecimal() else (None, text)


def _key(text: str) -> str:
    return str(int(text))


def _network(text: str) -> tuple[str, JsonValue]:
    old, equals, new = text.partition("=")
    if not equals or not old or not new:
        raise click.UsageError(f"--network {text}: write OLD=NEW")
    return old, new


def restore(wanted: Wanted, vcenter: str, new: NewVm) -> None:
    asked = wanted.asked
    _require_vcenter(asked, vcenter)
    found = restore_job.find(wanted)
    node_host, vddk = _reading(asked)
    transport, why = new.transport, ""
    if transport == "auto":
        transport, why = _chosen(asked, node_host, vddk)
    of_vddk = {f"vddk_{name}": vddk[name] for name in _OF_VDDK if vddk.get(name)}
    values = {**new.values, "vcenter": vcenter, "transport": transport, "node": node_host, **of_vddk}
    own = ("vcenter", "name", "folder")
    file = restore_job.job_of(
        wanted,
        "restore-vm",
        found,
        values,
        tuple(name for name in values if name not in own),
        {"transport": "auto"} if new.transport == "auto" else {},
    )
    if wanted.dry_run:
        _show(wanted, file, why)
    if why:
        click.echo(f"note: {why}", err=True)
    found, result, summary = restore_job.run(wanted, "restore-vm", found, file, values)
    if asked.as_json:
        told = command_jobs.document(RESTORE_SCHEMA_VERSION, result, summary)
        print_json({**told, **_document(found, vcenter, summary)})
    raise click.exceptions.Exit(result.exit_code)


def _require_vcenter(asked: Asked, name: str) -> None:
    known = asked.job.sections.get("vcenters", {})
    if name not in known:
        has = f"it has {', '.join(known)}" if known else "add `vcenters: {…}` to it"
        hint = did_you_mean(name, known) or f"; {has}"
        raise UsageError(f"--to-vcenter {name}: {asked.site} has no vCenter {name!r}{hint}")


def _reading(asked: Asked) -> tuple[str, Mapping[str, JsonValue]]:
    """The node host, and what it knows of VMware's library, as the job's own backups read."""
    for told in told_by(asked.job, "open-source") if asked.job.steps else ():
        vddk = told.get("vddk")
        return str(told.get("host", LOCAL)), vddk if isinstance(vddk, dict) else {}
    return LOCAL, {}


def _chosen(asked: Asked, node_host: str, vddk: Mapping[str, JsonValue]) -> tuple[str, str]:
    """The way to write, and why it is not VMware's library. Raises HostError."""
    options = VddkOptions.from_json_value(cast(JsonValue, dict(vddk)))
    with context_outside_of_runs(
        asked.job, "transport", threading.Event(), tell_warning, asked.options.hosts
    ) as ctx:
        missing = nbdkit_vddk.look(ctx.host(node_host), options).missing
    return ("lease", f"transport is lease, not vddk: {missing}") if missing else ("vddk", "")


def _show(wanted: Wanted, job: Path, why: str) -> None:
    """The new VM beside the old one, and what a run would do."""
    plan, outputs = plan_and_outputs(job, wanted.asked.of_run(fresh=wanted.fresh))
    out = outputs.get(PLAN)
    planned = None if out is None else PlannedVm.from_json_value(out)
    if wanted.asked.as_json:
        vm = None if planned is None else new_vm_view.as_json(planned)
        print_json({**plan.to_json_value(), "vm": vm})
    else:
        if planned is not None:
            new_vm_view.print_text(planned, sys.stdout)
        changes = () if planned is None else planned.changes
        plan_view.print_text(plan, sys.stdout, said={one.sentence for one in changes})
        if why:
            print(f"note: {why}")
    raise click.exceptions.Exit(1 if plan.problems else 0)


def _document(found: Found, vcenter: str, summary: RunSummary) -> dict[str, JsonValue]:
    made = [
        {name: out[name] for name in ("moref", "name", "instance_uuid", "powered_on", "warnings")}
        for out in command_jobs.outputs(summary, FinalizeVm.name)
    ]
    return {**found.document, "vcenter": vcenter, "restored": cast(JsonValue, made[0] if made else None)}
