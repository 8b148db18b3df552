"""The command line: one family of commands a file. Only here is anything printed or exited."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO, cast

import click

from runner import __version__, process
from runner.cli.output import Output
from runner.errors import SendenseError

COMMANDS = {
    **dict.fromkeys(("validate", "plan", "render", "schema"), "job"),
    **dict.fromkeys(("init", "points", "protect"), "repository"),
    **{
        name: name
        for name in (
            *("run", "status", "sweep", "doctor"),
            *("verify", "prune", "restore", "serve", "files"),
            *("steps", "ci", "completion", "demo", "lab"),
        )
    },
}
"""Command → the module here that has it, under its own name."""

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names come from anywhere; a terminal in an old locale must not fail the run that shows one.
            stream.reconfigure(errors="backslashreplace")
    stdout = sys.stdout
    output = Output(stdout)
    sys.stdout = cast(TextIO, output)
    try:
        code = _called(argv)
        output.flush()
    finally:
        sys.stdout = stdout
    # Who reads our output may have gone (`| head`): not an error.
    if output.refusal is not None and not isinstance(output.refusal, BrokenPipeError):
        print(f"sendense: standard output cannot be written: {output.refusal.strerror}", file=sys.stderr)
        code = code or 1
    sys.exit(code)


def _called(argv: Sequence[str] | None) -> int:
    """The exit code."""
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        code = cli.main(args=words, prog_name="sendense", standalone_mode=False, obj=tuple(words))
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
    return code if isinstance(code, int) else 0
