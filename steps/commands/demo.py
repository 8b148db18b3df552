"""sendense demo: the main job on real parts, in a temporary directory."""

from __future__ import annotations

import posixpath
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from runner.app.options import Options
from runner.app.runs import Result, run_job
from runner.base.errors import DifferenceError, UsageError
from runner.base.render import shipped
from runner.cli.signals import stop_on_signals
from runner.cli.work import Work
from runner.console.final_summary import print_ending
from runner.console.listener import Console
from runner.events.events import Event, NodeFinished, RunFinished
from runner.events.fold import Fold
from runner.hosts.local import LocalHost
from runner.step.registry import Registry
from steps.backup.publish import Publish
from steps.lab.lab import Lab
from steps.qemu import img
from steps.repository import layout
from steps.values.published import Published

JOB = "jobs/demo.yaml"


class Listener:
    """Shows the run on standard error as any other; the last lines of a run that succeeded are the demo's
    result, and wait for the proof."""

    def __init__(self, console: Console, fold: Fold) -> None:
        self._console = console
        self._fold = fold
        self.published: Published | None = None

    def __call__(self, event: Event) -> None:
        self._fold.add(event)
        if isinstance(event, NodeFinished) and event.step == Publish.name:
            self.published = Published.from_json_value(event.output)
        if not (isinstance(event, RunFinished) and event.outcome == "done"):
            self._console(event)


@click.command(cls=Work)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Use this directory, and keep everything in it.",
)
def demo(keep: Path | None) -> None:
    """Back up a VM of a test lab, and show the restore point.

    The lab has a simulated vCenter with a VM of two disks, and a repository host behind a real sshd. It is
    started for the demo and stopped again; what was made is compared with the source, and then removed.
    """
    registry = Registry.installed()
    fold = Fold(registry.report)
    with _directory(keep) as directory, stop_on_signals() as stop:
        click.echo("starting the lab: a simulated vCenter, and a repository host behind sshd", err=True)
        lab = Lab.start(directory, leashed=True)
        try:
            with Console(registry.report) as console:
                listener = Listener(console, fold)
                options = Options(overrides={"lab": str(directory)}, state=directory / "state")
                result = run_job(shipped(JOB), options, stop, [listener])
            if result.exit_code == 0 and listener.published is not None:
                for sentence in _proof(lab, result, listener.published):
                    click.echo(sentence)
        finally:
            lab.stop()
        if result.exit_code == 0:
            summary = fold.summary()
            # Which a run leaves to its report: here they are to be tried.
            commands = [command for command in summary.commands if command.detail]
            for purpose in dict.fromkeys(command.purpose for command in commands):
                lines = [command.line for command in commands if command.purpose == purpose]
                click.echo("\n  ".join((f"\n{purpose}:", *lines)))
            print_ending(summary, sys.stdout)
        elif keep is None:
            click.echo(
                "the demo's files are removed, with what its run held; --keep DIR keeps them",
                err=True,
            )
    if result.exit_code == 0 and keep is None:
        click.echo(
            "\nAll of it was removed again; `sendense demo --keep DIR` keeps it, so that you can try "
            "these commands."
        )
    raise click.exceptions.Exit(result.exit_code)


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """New in either case: an old one holds a repository that a new job does not know."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="sendense-demo-") as made:
            yield Path(made)
        return
    if keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty: give --keep a new directory")
    yield keep.absolute()


def _proof(lab: Lab, result: Result, published: Published) -> Iterator[str]:
    """That the images are what the guest has. Raises DifferenceError, which nobody has ever seen here."""
    machine = lab.record.vm(published.vm)
    here = LocalHost()
    for disk in machine.disks:
        image = posixpath.join(published.path, layout.image(disk.key))
        if not img.equals(here, image, disk.file):
            raise DifferenceError(
                f"{image} differs from {disk.file}: this is a bug in sendense (run {result.run}), please "
                "report it"
            )
        yield (
            f"disk {disk.key}: {posixpath.basename(image)} is equal to {Path(disk.file).name} (qemu-img "
            "compare)"
        )
