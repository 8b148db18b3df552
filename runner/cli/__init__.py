"""The command line: one family of commands a file. Only here is anything printed or exited."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click

from runner import __version__, process
from runner.cli.output import Outputs
from runner.errors import SendenseError
from runner.limits import limit_of, raise_soft_limits

COMMANDS = {
    **dict.fromkeys(("validate", "plan", "render", "schema"), "job"),
    **dict.fromkeys(("init", "points", "protect"), "repository"),
    **{
        name: name
        for name in (
            *("run", "status", "sweep", "doctor"),
            *("verify", "prune", "restore", "serve", "files", "adopt"),
            *("steps", "templates", "ci", "completion", "demo", "lab"),
        )
    },
}
"""Command → the module here that has it, under its own name."""

WORKING = frozenset({"run", "sweep", "init", "protect", "verify", "prune", "restore", "serve", "adopt", "demo", "lab"})
"""Commands with other work than to answer: their exit code is that work's, whoever can be told of it."""

EPILOG = """Exit codes: 0 done · 1 failed, run it again to resume · 2 bad usage or job file · 3 locked by another run ·
4 of several jobs, some are done and some not · 5 verification found a difference · 130 interrupted, resumable."""


class Commands(click.Group):
    """Imports a command when it is asked for: one that looks at points need not wait for the simulated vCenter."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{COMMANDS[cmd_name]}"), cmd_name)
        return command


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
    process.dump_no_core()
    raise_soft_limits()
    process.make_private()
    words = list(sys.argv[1:] if argv is None else argv)
    with Outputs() as outputs:
        code = outputs.exit_code(_called(words), answers=_answers(words))
    sys.exit(code)


def _answers(words: Sequence[str]) -> bool:
    command = next((word for word in words if not word.startswith("-")), "")
    return command not in WORKING or "--dry-run" in words


def _called(words: Sequence[str]) -> int:
    """The exit code."""
    try:
        code = cli.main(args=list(words), prog_name="sendense", standalone_mode=False, obj=tuple(words))
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
