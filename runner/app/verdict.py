"""The fold of the nodes' ends into one outcome and exit code."""

from __future__ import annotations

from runner.events import RunFinished
from runner.executor import Outcome


def verdict_of(run: str, outcome: Outcome, seconds: float) -> RunFinished:
    if outcome.interrupted:
        return RunFinished(run=run, outcome="interrupted", exit_code=130, seconds=seconds)
    if outcome.work_done and (outcome.unwind_failures or outcome.failures):
        errors = outcome.unwind_failures or [str(error) for _, error in outcome.failures]
        return RunFinished(run=run, outcome="unwind-failed", exit_code=1, seconds=seconds, error="; ".join(errors))
    if outcome.work_done:
        return RunFinished(run=run, outcome="done", exit_code=0, seconds=seconds)
    codes = [error.exit_code for _, error in outcome.failures]
    code = next((code for code in (5, 3, 1, 2) if code in codes), 1)
    error = "; ".join(f"{node}: {error}" for node, error in outcome.failures)
    return RunFinished(run=run, outcome="failed", exit_code=code, seconds=seconds, error=error or None)
