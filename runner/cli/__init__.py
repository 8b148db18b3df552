"""The command line: one family of commands a file, and how the process ends. Commands of other packages are
found by the entry points `sendense.commands`."""

from __future__ import annotations

import atexit
import gc
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from runner import __version__
from runner.base.errors import SendenseError
from runner.base.plugins import BrokenPluginError, installed, load
from runner.cli.output import Outputs
from runner.cli.summary import summary
from runner.cli.work import Work, WorkGroup
from runner.hosts import process
from runner.hosts.limits import limit_of, raise_soft_limits

COMMANDS = {
    **dict.fromkeys(("validate", "render", "schema"), "job"),
    **{name: name for name in ("plan", "run", "status", "sweep", "doctor", "steps", "templates", "ci")},
    **dict.fromkeys(("scheduler", "worker"), "worker"),
    **{name: name for name in ("completion", "help", "select", "timers")},
}
"""The engine's own: command → the module here that has it, under its own name."""

INSTALLED = "sendense.commands"
"""The group of entry points by which other packages bring commands: a name, and where the click command of
that name is."""

GARBAGE = 200_000
"""Objects made since the last time that Python looked for garbage. It looks after 700, and spends an eighth
of the start and of a list of 10,000 points on looking: neither modules nor manifests are any. A plan has
120,000 objects and a night 170,000, with their modules."""

EPILOG = (
    "Exit codes: 0 done · 1 failed, run it again to resume · 2 bad usage or job file · 3 locked by "
    "another run · 4 some of several jobs or VMs are not done · 5 verification found a difference · "
    "6 coverage: a VM is unprotected or its points too old · 130 interrupted, resumable."
)


class Commands(click.Group):
    """Imports a command when it is asked for: one that looks at points need not wait for the simulated
    vCenter, nor a list for any of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *installed(INSTALLED)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = getattr(import_module(_module(cmd_name)), cmd_name)
            return command
        if (entry := installed(INSTALLED).get(cmd_name)) is not None:
            theirs: click.Command = load(entry)
            return theirs
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        # As click does: two columns of spaces before, between and behind.
        limit = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries(ctx, names, limit)))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=said) for name, said in self._summaries(ctx, names)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def _summaries(
        self, ctx: click.Context, names: Iterable[str], limit: int = 45
    ) -> Iterator[tuple[str, str]]:
        """Of those that are not hidden."""
        for name in names:
            said = summary(*_where(name), limit)
            try:
                if said is None and (command := self.get_command(ctx, name)) is not None:
                    if command.hidden:
                        continue
                    said = command.get_short_help_str(limit)
            except BrokenPluginError:  # no reason not to list the others; calling it tells why
                said = "(cannot be loaded)"
            yield name, said or ""


def _module(name: str) -> str:
    """That of a command of the engine."""
    return f"{__name__}.{COMMANDS[name]}"


def _where(name: str) -> tuple[str, str]:
    """The module of a command, and its name there."""
    if name in COMMANDS:
        return _module(name), name
    return installed(INSTALLED)[name].module, installed(INSTALLED)[name].attr


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="sendense")
def cli() -> None:
    """Backups of VMware VMs as code: plan a job, run it, resume it where it stopped, prove the result."""


def main(argv: Sequence[str] | None = None) -> None:
    """Ends the process with the exit code; an error a user can meet is its sentence, without a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    end_with(lambda: _command(words), answers=lambda: _answers(words))


def end_with(work: Callable[[], object], answers: Callable[[], bool] = lambda: False) -> None:
    """As `main`, of a process that does `work`, which returns its exit code. `answers`: see
    `Outputs.exit_code`."""
    gc.set_threshold(GARBAGE)
    # Before anything is opened or started: a core dump would hold passwords, and files are 0600.
    process.dump_no_core()
    raise_soft_limits()
    process.make_private()
    with Outputs() as outputs:
        code = outputs.exit_code(_called(work), answers=answers())
    # Else Python looks through all objects once more before it ends, for 25 ms of each pass. Not now already:
    # a caller that goes on, such as a test, would keep for good what it has at hand.
    atexit.register(gc.freeze)
    sys.exit(code)


def _answers(words: Sequence[str]) -> bool:
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        with click.Context(cli) as ctx:
            command = cli.get_command(ctx, name)
    except BrokenPluginError:  # the call told it
        return True
    return not isinstance(command, Work | WorkGroup) or "--dry-run" in words


def _command(words: Sequence[str]) -> object:
    return cli.main(args=list(words), prog_name="sendense", standalone_mode=False, obj=tuple(words))


def _called(work: Callable[[], object]) -> int:
    """The exit code."""
    try:
        code = work()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except SendenseError as error:
        print(f"sendense: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  a bug, unless the machine is too small
        if (limit := limit_of(error)) is not None:
            print(f"sendense: {limit}", file=sys.stderr)
            return limit.exit_code
        traceback.print_exc()
        return 1
    return code if isinstance(code, int) else 0
