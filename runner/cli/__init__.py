"""The command line: one family of commands a file. Only here is anything printed or exited."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import click

from runner import __version__
from runner.cli.ci import ci
from runner.cli.completion import completion
from runner.cli.demo import demo
from runner.cli.doctor import doctor
from runner.cli.files import files
from runner.cli.job import plan, render, schema, validate
from runner.cli.lab import lab
from runner.cli.prune import prune
from runner.cli.repository import init, points, protect
from runner.cli.restore import restore
from runner.cli.run import run
from runner.cli.serve import serve
from runner.cli.status import status
from runner.cli.steps import steps
from runner.cli.sweep import sweep
from runner.cli.verify import verify
from runner.errors import SendenseError

EPILOG = """Exit codes: 0 done · 1 failed, run it again to resume · 2 bad usage or job file · 3 locked by another run ·
4 some points published, some not · 5 verification found a difference · 130 interrupted, resumable."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="sendense")
def cli() -> None:
    """Backups of VMware VMs as code: plan a job, run it, resume it where it stopped, prove the result."""


JOBS = (validate, plan, run, status, sweep, render, doctor)
REPOSITORY = (init, points, verify, protect, prune, restore, serve, files)
OTHERS = (steps, schema, ci, completion, demo, lab)

for command in (*JOBS, *REPOSITORY, *OTHERS):
    cli.add_command(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Ends the process with the exit code; an error a user can meet is its sentence, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names come from anywhere; a terminal in an old locale must not fail the run that shows one.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="sendense", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        code = leaving.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except SendenseError as error:
        print(f"sendense: {error}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:
        # Who reads our output has gone (`| head`): not an error, and nothing must be written any more.
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
