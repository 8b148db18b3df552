"""sendense lab: a simulated vCenter and a repository host on this machine, in the background, and what can be
done to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from runner.base.errors import UsageError
from runner.base.units import parse_size
from runner.cli.options import json_option, print_json
from runner.cli.work import WorkGroup
from runner.console.tables import print_table
from steps.commands.lab_boot import boot
from steps.commands.lab_options import directory_option
from steps.lab.lab import Lab, content_of, length_of, seeded
from steps.lab.simulator import ESTATE, FAULTS, FaultKind

FAULTS_SCHEMA_VERSION = 1

GUEST_BLOCK = 4096
"""Bytes: what a guest's file system writes at once."""


class Bytes(click.ParamType[int]):
    """A number of bytes, or text like ``64 KiB``."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(cls=WorkGroup)
def lab() -> None:
    """Start, break and stop a test lab on this machine.

    A lab is a simulated vCenter, and a repository host behind a real sshd, on loopback only.
    """


@lab.command()
@directory_option
@click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A YAML file with the VMs.  [default: the directory's own, in a new one the shipped inventory]",
)
@click.option(
    "--estate",
    is_flag=True,
    help="The inventory is twelve small VMs with tags and folders, for jobs/estate.yaml.",
)
@json_option
def start(directory: Path, inventory: Path | None, estate: bool, as_json: bool) -> None:
    """Start a lab and leave it in the background.

    It writes lab.json (where all is), site.yaml, and jobs/VM.yaml for each VM, ready to run.
    """
    if estate and inventory is not None:
        raise UsageError("give either --estate or --inventory, not both")
    made = Lab.start(directory, ESTATE if estate else inventory).record
    if as_json:
        print_json(made.to_json_value())
        return
    click.echo(f"the lab in {directory} runs as process {made.pid}")
    rows = [(vm.path, ", ".join(str(disk.key) for disk in vm.disks), vm.job) for vm in made.vms]
    print_table("", ("VM", "disks", "job"), rows, stream=sys.stdout)


@lab.command()
@directory_option
@click.option("--vm", required=True, help="Its name, or its inventory path.")
@click.option("--disk", required=True, type=int, metavar="KEY", help="The disk's key.")
@click.option("--offset", required=True, type=Bytes())
@click.option(
    "--length", type=Bytes(), help=f"How much to write.  [default: {GUEST_BLOCK}, or the whole file]"
)
@click.option("--pattern", type=int, metavar="SEED", help="Write random bytes of this seed.  [default: 0]")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write what is in this file.")
def write(
    directory: Path,
    vm: str,
    disk: int,
    offset: int,
    length: int | None,
    pattern: int | None,
    file: Path | None,
) -> None:
    """Write to a disk as the guest would.

    Changed block tracking sees it, a snapshot does not.
    """
    if file is not None and pattern is not None:
        raise UsageError("give either --file or --pattern, not both")
    content: Iterator[bytes]
    if file is not None:
        content, known = content_of(file, length), length_of(file, length)
    else:
        known = GUEST_BLOCK if length is None else length
        content = seeded(pattern or 0, known)
    written = Lab(directory).write(vm, disk, offset, content, known)
    click.echo(f"wrote {written} bytes at {offset} to disk {disk} of {vm}")


@lab.command()
@directory_option
@click.option("--vm", required=True, help="Its name, or its inventory path.")
@click.option("--rename", default="", metavar="NAME", help="Give it another name.")
@click.option("--tag", default="", metavar="CATEGORY/TAG", help="Put a tag on it.")
@click.option("--untag", default="", metavar="CATEGORY/TAG", help="Take a tag off it.")
@click.option("--unregister", is_flag=True, help="Take it out of the inventory; its files stay.")
def change(directory: Path, vm: str, rename: str, tag: str, untag: str, unregister: bool) -> None:
    """Change a VM as an administrator would, between two nights."""
    if not (rename or tag or untag or unregister):
        raise UsageError("say what to change: --rename, --tag, --untag or --unregister")
    Lab(directory).change(vm, name=rename, tag=tag, untag=untag, gone=unregister)
    click.echo(f"changed {vm}")


def _beginning(context: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    return [name for name in FAULTS if name.startswith(begun)]


@lab.command()
@directory_option
@click.argument("name", required=False, shell_complete=_beginning)
@click.argument("parameters", nargs=-1, metavar="[PARAMETER=VALUE]…")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="How often it happens."
)
@json_option
def fault(directory: Path, name: str | None, parameters: tuple[str, ...], count: int, as_json: bool) -> None:
    """Make something go wrong, or list what can.

    The fault NAME happens COUNT times. Without NAME it lists what can go wrong, and what is still to come.
    """
    chosen = Lab(directory)
    if name is None:
        armed = chosen.status()["armed"]
        if as_json:
            told = [
                {
                    "name": known,
                    "what": kind.sentence,
                    "parameters": kind.parameters,
                    "to_come": armed.get(known, 0),
                }
                for known, kind in FAULTS.items()
            ]
            print_json({"schema_version": FAULTS_SCHEMA_VERSION, "faults": told})
            return
        rows = [
            (known, _parameters(kind), str(armed.get(known, "")), kind.sentence)
            for known, kind in FAULTS.items()
        ]
        print_table("Faults", ("name", "parameters", "to come", "what happens"), rows, stream=sys.stdout)
        return
    given = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals:
            raise UsageError(f"{parameter}: write a parameter of a fault as NAME=VALUE")
        given[key] = value
    chosen.fault(name, count, given)
    if as_json:
        print_json({"schema_version": FAULTS_SCHEMA_VERSION, "armed": name, "count": count})
    else:
        click.echo(f"armed {name}, {count} times")


def _parameters(kind: FaultKind) -> str:
    """With their defaults."""
    return " ".join(f"{key}={value}" for key, value in kind.parameters.items())


@lab.command()
@directory_option
def stop(directory: Path) -> None:
    """Stop the lab. Its directory stays; `lab start` starts it again."""
    ended = Lab(directory).stop()
    click.echo(f"the lab in {directory} is stopped" if ended else f"the lab in {directory} was not running")


lab.add_command(boot)
