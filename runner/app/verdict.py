"""The fold of the nodes' ends into one outcome and exit code."""

from __future__ import annotations

from collections.abc import Sequence

from runner.events import RunFinished
from runner.executor import Outcome
from runner.findings import Alarm


def verdict_of(run: str, outcome: Outcome, seconds: float, alarms: Sequence[Alarm] = ()) -> RunFinished:
    """`alarms`: what the outputs of its nodes say of a run that is done."""
    if outcome.interrupted:
        return RunFinished(run=run, outcome="interrupted", exit_code=130, seconds=seconds)
    if outcome.work_done and (outcome.unwind_failures or outcome.failures):
        errors = outcome.unwind_failures or [str(error) for _, error in outcome.failures]
        code = _worst([error.exit_code for _, error in outcome.failures])
        return RunFinished(run=run, outcome="unwind-failed", exit_code=code, seconds=seconds, error="; ".join(errors))
    if outcome.work_done:
        error = "; ".join(alarm.text for alarm in alarms)
        code = _worst([alarm.exit_code for alarm in alarms]) if alarms else 0
        return RunFinished(run=run, outcome="done", exit_code=code, seconds=seconds, error=error or None)
    code = _worst([error.exit_code for _, error in outcome.failures])
    error = "; ".join(f"{node}: {error}" for node, error in outcome.failures)
    return RunFinished(run=run, outcome="failed", exit_code=code, seconds=seconds, error=error or None)


def _worst(codes: list[int]) -> int:
    return next((code for code in (5, 3, 1, 2) if code in codes), 1)
