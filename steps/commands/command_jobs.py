"""The jobs that commands make of what they were told, and their runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from runner.app.options import Options, read_job, state_directory
from runner.app.runs import Result, run_job
from runner.app.status import status_of
from runner.cli.signals import StopRequest, stop_on_signals
from runner.console.listener import Console
from runner.events.events import Event
from runner.events.summary import RunSummary
from runner.hosts import files
from runner.job.model import Job
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
    typed: Mapping[str, JsonValue] | None = None,
    fresh: bool = False,
) -> Path:
    """A job file that does what a command was told: `template` with `values`, and the hosts, sections and
    state of the job that the command is about. It is kept with this machine's state, so that `run`, `status`
    and `sweep` take it as any other; the same command gives the same file, also with other values of `free`.
    `about` (a VM, a point) stands in its name.

    `typed`: of variables whose values may be others another day (the newest point), what was on the command
    line in place of them: an unfinished run of the same command keeps the values that it began with, unless
    `fresh`."""
    fixed = {name: value for name, value in values.items() if name not in (*free, *(typed or ()))}
    path = place_of(asked, template, about, {**fixed, "typed": dict(typed)} if typed else fixed)
    if typed and not fresh and unfinished(path, asked.of_run(fresh=False)) is not None:
        begun = read_job(path, Options(state=asked.options.state)).vars
        values = {**values, **{variable: begun[variable] for variable in typed if variable in begun}}
    write(asked, path, template, values)
    return path


def write(asked: Asked, path: Path, template: str, values: Mapping[str, JsonValue]) -> None:
    """The job file at `path`, which `place_of` named."""
    text = write_from_template(asked.job, path.stem, template, values)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(str(path), text.encode())
    _forget_old(path.parent)


def place_of(asked: Asked, template: str, about: str, told: Mapping[str, JsonValue]) -> Path:
    """The job file of the command that was told this, whether it is there or not."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    return state_directory(asked.options) / ".commands" / f"{template}-{about}-{digest}.yaml"


def unfinished(job: Path | Job, options: Options) -> str | None:
    """The id of its unfinished run; None for none, and where there is no such file."""
    if isinstance(job, Path) and not job.exists():
        return None
    newest = status_of(job, replace(options, typed="", placed=None, fresh=False)).runs[-1:]
    return next((record.id for record in newest if record.is_unfinished), None)


def _forget_old(commands: Path) -> None:
    """The same command makes its file again."""
    with suppress(FileNotFoundError):  # another command deleted them meanwhile
        for old in sorted(commands.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT_COMMANDS]:
            old.unlink()


def run_made(
    job: Path | Job,
    options: Options,
    listeners: Sequence[Callable[[Event], None]] = (),
    stop: StopRequest | None = None,
) -> tuple[Result, RunSummary]:
    """Runs it, shown on standard error as any other. `stop` tells afterwards whether somebody asked for an
    end, which comes too late for a run that is all but done. Raises what `run_job` does."""
    with stop_on_signals(stop=stop) as stop, Console(Registry.installed().report) as console:
        result = run_job(job, options, stop, [console, *listeners])
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
