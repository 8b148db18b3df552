"""The fold of the nodes' ends into one outcome and exit code."""

from __future__ import annotations

from collections.abc import Sequence

from runner.engine.failures import Outcome
from runner.events.events import RunFinished
from runner.events.outcomes import worst
from runner.events.step_report import Alarm


def verdict_of(run: str, outcome: Outcome, seconds: float, alarms: Sequence[Alarm] = ()) -> RunFinished:
    """`alarms`: what the outputs of its nodes say. An alarm is not lost for a failure: a run that is never
    resumed has nobody else to tell of it."""
    if outcome.interrupted:
        return RunFinished(run=run, outcome="interrupted", exit_code=130, seconds=seconds)
    if not outcome.work_done:
        errors = [f"{node}: {error}" for node, error in outcome.failures]
        return RunFinished(
            run=run,
            outcome="failed",
            exit_code=_worst(outcome, alarms),
            seconds=seconds,
            error=_joined(errors, alarms),
        )
    if outcome.unwind_failures or outcome.failures:
        errors = outcome.unwind_failures or [str(error) for _, error in outcome.failures]
        return RunFinished(
            run=run,
            outcome="unwind-failed",
            exit_code=_worst(outcome, alarms),
            seconds=seconds,
            error=_joined(errors, alarms),
        )
    if alarms:
        return RunFinished(
            run=run,
            outcome="alarm",
            exit_code=worst(alarm.exit_code for alarm in alarms),
            seconds=seconds,
            error=_joined([], alarms),
        )
    return RunFinished(run=run, outcome="done", exit_code=0, seconds=seconds)


def _worst(outcome: Outcome, alarms: Sequence[Alarm]) -> int:
    return worst(
        [
            *(outcome.exit_code_of(error) for _, error in outcome.failures),
            *(alarm.exit_code for alarm in alarms),
        ]
    )


def _joined(errors: Sequence[str], alarms: Sequence[Alarm]) -> str | None:
    return "; ".join([*errors, *(alarm.text for alarm in alarms)]) or None
