"""sendense files: a guest's files out of a restore point."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from runner.base.errors import UsageError
from runner.base.printable import printable
from runner.cli.options import print_json
from runner.cli.signals import stop_on_signals
from runner.hosts.process import temporary_directory
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import accept_option, disk_option, point_argument
from steps.commands.opened_point import opened_point
from steps.guest.appliance import Appliance, describe
from steps.guest.tree import Entry, Tree
from steps.nbd.point_server import serve_point

FILES_SCHEMA_VERSION = 1


@click.command()
@site_argument
@point_argument
@click.argument("verb", type=click.Choice(["ls", "cat", "get"]))
@click.argument("paths", nargs=-1, metavar="PATH…")
@disk_option
@accept_option
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where `get` puts the copies.  [default: the current directory]",
)
@on_repositories
def files(
    asked: Asked,
    point: str,
    verb: str,
    paths: tuple[str, ...],
    disks: tuple[int, ...],
    accept_suspect: bool,
    directory: Path,
) -> None:
    """List, print or copy files of POINT's guest (ls, cat, get).

    Paths are absolute in the guest. Where no operating system is found on the disks, each file system is
    below a directory that is called like its device. Takes libguestfs; the file systems are mounted in its
    own small VM, never on this machine.
    """
    if not paths and verb != "ls":
        raise UsageError(f"name what to {verb}: an absolute path in the guest, such as /etc/fstab")
    if asked.as_json and verb == "cat":
        raise UsageError("--json works with ls and get; cat prints the files as they are")
    with _tree(asked, point, disks, accepted=accept_suspect) as tree:
        if verb == "ls":
            _list(tree, paths or ("/",), as_json=asked.as_json)
        elif verb == "cat":
            _print(piece for path in paths for piece in tree.read(path))
        else:
            left_out: list[str] = []
            copied = {path: str(tree.copy(path, directory, left_out.append)) for path in paths}
            for text in left_out:
                _say(text)
            if asked.as_json:
                print_json({"schema_version": FILES_SCHEMA_VERSION, "copied": copied, "left_out": left_out})


@contextmanager
def _tree(
    asked: Asked,
    point: str,
    disks: tuple[int, ...],
    *,
    accepted: bool,
) -> Iterator[Tree]:
    with (
        stop_on_signals() as stop,
        opened_point(asked, point, disks, stop, accepted=accepted) as (ctx, found),
        temporary_directory() as scratch,
    ):
        for note in found.notes:
            _say(note)
        served = serve_point(ctx, found, writable=False)
        with Appliance([one.uris[0] for one in served], Path(scratch), stop) as appliance:
            for note in appliance.notes:
                _say(note)
            _say(describe(appliance.mounted))
            yield Tree(appliance, Path(scratch))


def _print(pieces: Iterator[bytes]) -> None:
    """Once nobody takes them, no more are read from the guest."""
    for piece in pieces:
        if sys.stdout.buffer.write(piece) < len(piece):
            break


def _list(tree: Tree, paths: tuple[str, ...], *, as_json: bool) -> None:
    found = {path: tree.entries(path) for path in paths}
    if as_json:
        entries = {path: [entry.to_json_value() for entry in listed] for path, listed in found.items()}
        print_json({"schema_version": FILES_SCHEMA_VERSION, "paths": entries})
        return
    for path, listed in found.items():
        if len(found) > 1:
            print(f"{printable(path)}:")
        for entry in listed:
            print(_line(entry))


def _line(entry: Entry) -> str:
    leads = f" -> {printable(entry.target)}" if entry.target is not None else ""
    mode = "?" * 10 if entry.mode is None else stat.filemode(entry.mode)
    size = "?" if entry.size is None else entry.size
    when = "?" if entry.modified is None else entry.modified.strftime("%Y-%m-%d %H:%M")
    return f"{mode} {size:>14} {when:>16} {printable(entry.name)}{leads}"


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)
