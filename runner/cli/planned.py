"""sendense run --plan: what a saved plan holds a run to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.app import saved_plan
from runner.app.options import Options
from runner.base.errors import UsageError
from runner.job.model import Job


def held_to(plan: Path, jobs: Sequence[Job], options: Options, only: Sequence[str]) -> tuple[str, ...]:
    """Which items of the set are to run; none of a job that is none. Raises Drifted, and UsageError for a
    plan that cannot be read."""
    if len(jobs) != 1:
        raise UsageError("--plan is the plan of one job or set: name that alone")
    if only:
        raise UsageError("--plan says which VMs run: leave out --only")
    saved = saved_plan.read(plan)
    saved_plan.require_same(plan, saved, jobs[0], options)
    return saved.only
