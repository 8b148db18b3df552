"""The jobs that commands make of what they were told, and their runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue

from runner.app.options import Options, state_directory
from runner.app.runs import Result, run_job
from runner.app.status import status_of
from runner.cli.signals import stop_on_signals
from runner.console.listener import Console
from runner.events.summary import RunSummary
from runner.hosts import files
from runner.job.writer import write_from_template
from runner.step.registry import Registry
from steps.commands.asked import Asked

KEPT_COMMANDS = 100
"""Job files of commands: more than can be unfinished, and a file that is gone is made again by the same
command."""


def job_for(
    asked: Asked,
    template: str,
    about: str,
    values: Mapping[str, JsonValue],
    free: Sequence[str] = (),
    *,
    typed_as: JsonValue = None,
    fresh: bool = False,
) -> Path:
    """A job file that does what a command was told: `template` with `values`, and the hosts, sections and
    state of the job that the command is about. It is kept with this machine's state, so that `run`, `status`
    and `sweep` take it as any other; the same command gives the same file, also with other values of `free`.
    `about` (a VM, a point) stands in its name.

    `typed_as`: what was on the command line in place of the values of `free`, where that may mean others
    another day (the newest point): an unfinished run of the same command keeps what it began with, unless
    `fresh`."""
    fixed = {name: value for name, value in values.items() if name not in free}
    if typed_as is not None:
        fixed["typed"] = typed_as
    told = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{template}-{about}-{told}"
    text = write_from_template(asked.job, name, template, values)
    path = state_directory(asked.options) / ".commands" / f"{name}.yaml"
    if typed_as is not None and not fresh and path.exists() and _is_unfinished(path, asked.options):
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(str(path), text.encode())
    _forget_old(path.parent)
    return path


def _is_unfinished(job: Path, options: Options) -> bool:
    return any(record.is_unfinished for record in status_of(job, Options(state=options.state)).runs[-1:])


def _forget_old(commands: Path) -> None:
    """The same command makes its file again."""
    with suppress(FileNotFoundError):  # another command deleted them meanwhile
        for old in sorted(commands.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT_COMMANDS]:
            old.unlink()


def run_made(job: Path, options: Options) -> tuple[Result, RunSummary]:
    """Runs it, shown on standard error as any other. Raises what `run_job` does."""
    with stop_on_signals() as stop, Console(Registry.installed().report) as console:
        result = run_job(job, options, stop, [console])
    return result, console.summary()


def document(schema_version: int, result: Result, summary: RunSummary) -> dict[str, JsonValue]:
    """What every such command says of its run in JSON."""
    return {
        "schema_version": schema_version,
        "job": result.job.name,
        "run": result.run,
        "outcome": summary.outcome,
        "exit_code": result.exit_code,
        "seconds": summary.seconds,
        "error": summary.error,
        "warnings": [warning.text for warning in summary.warnings],
    }


def texts(value: JsonValue) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def outputs(summary: RunSummary, step: str) -> list[dict[str, JsonValue]]:
    """What the nodes of that kind of step gave, and still stands."""
    return [
        node.output for node in summary.nodes if node.step == step and node.output and node.undone is None
    ]
