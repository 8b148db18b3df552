"""Runs of the jobs that commands make."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from runner.app import Options, Result, run_job
from runner.cli.signals import stop_on_signals
from runner.console import Console
from runner.events.summary import RunSummary
from runner.step.registry import Registry


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
