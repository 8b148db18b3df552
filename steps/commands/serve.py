"""sendense serve: the disks of a restore point over NBD."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import click

from runner.base.errors import SendenseError
from runner.base.units import human_bytes
from runner.cli.options import print_json
from runner.cli.signals import stop_on_signals
from runner.cli.work import Work
from runner.step.context import Context
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import accept_option, disk_option, point_argument
from steps.commands.opened_point import opened_point
from steps.nbd.point_server import serve_point
from steps.values.serving import Serving
from steps.values.stored_point import StoredPoint

SERVE_SCHEMA_VERSION = 1

LOOK = 0.5
"""Seconds between two looks at whether the servers still live."""


@click.command(cls=Work)
@site_argument
@point_argument
@disk_option
@click.option("--writable", is_flag=True, help="Accept writes, and discard them at the end.")
@accept_option
@on_repositories
def serve(
    asked: Asked,
    point: str,
    disks: tuple[int, ...],
    writable: bool,
    accept_suspect: bool,
) -> None:
    """Serve the disks of POINT over NBD, until Ctrl-C.

    It prints the commands to use them with. The point itself never changes: what is written to a --writable
    export goes to a temporary file on the repository host, and is gone afterwards.
    """
    with (
        stop_on_signals("the disks are no longer served") as stop,
        opened_point(asked, point, disks, stop, accepted=accept_suspect) as (ctx, found),
    ):
        served = serve_point(ctx, found, writable=writable)
        if asked.as_json:
            print_json(document(found, served))
        else:
            print("\n".join(lines(found, served)))
        sys.stdout.flush()
        _wait(ctx)


def document(point: StoredPoint, served: Sequence[Serving]) -> dict[str, object]:
    disks = [
        {"key": one.image.key, "uri": one.uris[0], "size": one.size, "read_only": one.read_only}
        for one in served
    ]
    return {
        "schema_version": SERVE_SCHEMA_VERSION,
        "vm": point.vm,
        "point": point.point,
        "doubts": point.doubts,
        "disks": disks,
    }


def lines(point: StoredPoint, served: Sequence[Serving]) -> list[str]:
    """For a person, ready to paste."""
    how = "read-only" if all(one.read_only for one in served) else "writable, writes are discarded at the end"
    found = [f"{point.vm} {point.point}, {how}, until Ctrl-C"]
    found += [f"NOT TRUSTED: {doubt}" for doubt in point.doubts]
    found += [f"note: {note}" for note in point.notes]
    for one in served:
        uri = one.uris[0]
        found += ["", f"disk {one.image.key}, {human_bytes(one.size)}: {uri}"]
        found.append(f"  {shlex.join(('nbdcopy', uri, f'{one.image.export}.raw'))}")
        found.append(f"  {shlex.join(_guestfish(one))}")
    found += [
        "",
        "to boot it, if its firmware is BIOS and it knows virtio disks (its own hardware is in the point's "
        "vm/config.json):",
    ]
    return [*found, f"  {shlex.join(_qemu(served))}"]


def _guestfish(one: Serving) -> tuple[str, ...]:
    # libguestfs spells it its own way (guestfish(1), "Adding remote storage").
    drive = one.uris[0].replace("nbd+unix:///", "nbd:///", 1)
    return ("guestfish", *(("--ro",) if one.read_only else ()), "--format=raw", "-a", drive, "-i")


def _qemu(served: Sequence[Serving]) -> list[str]:
    """`-snapshot` where the export takes no writes, as no guest starts from a disk that refuses them."""
    drives = [
        argument
        for one in served
        for argument in ("-drive", f"file={one.uris[0]},format=raw,if=virtio,cache=writeback")
    ]
    snapshot = ["-snapshot"] if any(one.read_only for one in served) else []
    return ["qemu-system-x86_64", "-m", "2G", *snapshot, *drives]


def _wait(ctx: Context) -> None:
    """Raises SendenseError if a server ends before it is told to."""
    while not ctx.stop.wait(LOOK):
        for child in ctx.children:
            if (code := child.poll()) is not None:
                said = " ".join(child.stderr().split()) or "it printed nothing"
                raise SendenseError(f"{child.argv[0]} on {child.host} ended with exit code {code}: {said}")
