"""sendense lab boot: a VM of the lab, booted from its own disks as a drill boots a point's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import JsonValue

from runner.app.options import Options, read_job
from runner.app.outside import context_outside_of_runs
from runner.base.errors import DifferenceError, SendenseError, UsageError
from runner.base.printable import printable
from runner.base.units import human_bytes, human_seconds
from runner.cli.options import json_option, print_json
from runner.cli.signals import stop_on_signals
from runner.hosts import files
from runner.job.model import LOCAL
from runner.step.context import Context
from steps.commands.asked import tell_warning
from steps.commands.boot_options import boot_options, told_options
from steps.commands.lab_options import directory_option
from steps.drill import words
from steps.lab import record
from steps.lab.lab import Lab
from steps.machine.decision import decide
from steps.machine.disks import DiskToBoot
from steps.saved_vm.configuration import Device, Saved, number, part, text
from steps.values.drill import DrillOptions, Evidence, Verdict
from steps.values.machine import Machine
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.configuration import as_json
from steps.vsphere.find import find
from steps.vsphere.names import datastore_file
from steps.vsphere.properties import read

if TYPE_CHECKING:
    from steps.watch.seen import Seen

BOOT_SCHEMA_VERSION = 1

EXIT_CODES: dict[Verdict, int] = {
    "passed": 0,
    "undecided": SendenseError.exit_code,
    "failed": DifferenceError.exit_code,
}


@click.command()
@directory_option
@click.argument("vm")
@boot_options
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the picture of its console there, as a PNG.",
)
@json_option
def boot(directory: Path, vm: str, picture: Path | None, as_json: bool, **options: Any) -> None:
    """Boot VM from its own disks, and print what it says.

    VM is a name or an inventory path in the lab's vCenter, also of a VM that was restored there. It is booted
    as `sendense drill` boots a restore point: what it writes is thrown away, and it reaches nothing. Exit
    code 0: all that is expected was seen; 5: it does not boot, and that can be told; 1: undecided.
    """
    lab = Lab(directory)
    wanted = DrillOptions.from_json_value(told_options(options))
    job = read_job(Path(lab.record.site), Options(), part=True)
    with (
        stop_on_signals("the machine is turned off") as stop,
        context_outside_of_runs(job, "lab boot", stop, tell_warning) as ctx,
    ):
        machine, disks = _machine(ctx, lab, vm, wanted)
        click.echo(f"booting {machine.name}: {words.machine(machine)}", err=True)
        seen = _boot(ctx, machine, disks, wanted)
    if picture is not None and seen.picture is not None:
        files.write(str(picture), seen.picture)
    if as_json:
        print_json(_document(machine, seen))
    else:
        print("\n".join(_lines(machine, seen, wanted.accelerator != "auto")))
        sys.stdout.flush()
    raise click.exceptions.Exit(EXIT_CODES[seen.verdict])


def _machine(ctx: Context, lab: Lab, vm: str, options: DrillOptions) -> tuple[Machine, dict[int, str]]:
    """And its disks' raw files by their keys. Raises UsageError for a VM that cannot be booted from its
    files."""
    name = "lab"
    with Client(name, ctx.section("vcenters", name)) as client:
        moref = find(client, vm)
        found = read(client, vmomi.vim.VirtualMachine, moref, ("config",), f"reading {vm}")
    config = as_json(found.get("config"))
    if not isinstance(config, dict):
        raise UsageError(f"{vm} has no configuration: it cannot be booted")
    saved = Saved(config)
    files_of = {disk.key: _file(lab, vm, disk) for disk in saved.disks}
    disks = [
        DiskToBoot(disk.key, disk.label, number(disk.json, "capacityInBytes") or 0) for disk in saved.disks
    ]
    return decide(saved, disks, options.limits), files_of


def _file(lab: Lab, vm: str, disk: Device) -> str:
    """What the simulator keeps its bytes in; what a snapshot's delta has is not there."""
    if part(disk.backing, "parent"):
        raise UsageError(f"{vm} has a snapshot: remove it before you boot the VM")
    at = datastore_file(text(disk.backing, "fileName"))
    folder = lab.directory / record.VCENTER / "datastores" / at.datastore
    return str(folder / f"{at.path.removesuffix('.vmdk')}-flat.vmdk")


def _boot(ctx: Context, machine: Machine, disks: dict[int, str], options: DrillOptions) -> Seen:
    from steps.boot import request
    from steps.watch.boot import boot as boot_and_watch

    return boot_and_watch(
        ctx,
        ctx.host(LOCAL),
        request.BootRequest(
            machine=machine,
            disks=disks,
            expect=options.expected,
            limits=options.limits,
            accelerator=options.accelerator,
            guest_address=options.guest_address,
            within=options.within,
        ),
    )


def _lines(machine: Machine, seen: Seen, chosen: bool) -> list[str]:
    """What the serial port said, and then what came of it. `chosen`: whether its accelerator was."""
    why = f" ({seen.accelerator_why})" if seen.accelerator_why and not chosen else ""
    return [
        *_said(seen),
        "",
        *map(_evidence, seen.evidence),
        f"{machine.name}: {seen.verdict}: {seen.why}",
        f"{seen.accelerator.upper()}{why}, {seen.firmware}, QEMU {seen.qemu}, {human_seconds(seen.seconds)}; "
        f"the guest wrote {human_bytes(seen.written)}",
    ]


def _evidence(one: Evidence) -> str:
    if one.seen is None:
        return f"✗ {one.expected}: not seen within {human_seconds(one.within)}"
    return f"✓ {one.expected}: seen after {human_seconds(one.after or 0.0)}"


def _said(seen: Seen) -> list[str]:
    from steps.watch import serial_log

    port = serial_log.PlainText()
    port.add(seen.serial, 0.0)
    return [printable(line) for line in port.lines(len(seen.serial))]


def _document(machine: Machine, seen: Seen) -> JsonValue:
    return {
        "schema_version": BOOT_SCHEMA_VERSION,
        "vm": machine.name,
        "verdict": seen.verdict,
        "why": seen.why,
        "evidence": [one.to_json_value() for one in seen.evidence],
        "seconds": seen.seconds,
        "written": seen.written,
        "accelerator": seen.accelerator,
        "accelerator_why": seen.accelerator_why,
        "firmware": seen.firmware,
        "qemu": seen.qemu,
        "changes": [one.sentence for one in machine.changes if one.kind != "kept"],
        "serial": list(_said(seen)),
    }
