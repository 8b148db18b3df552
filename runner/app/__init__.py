"""Wiring: a job file, the installed steps, the state and the world become a run, a plan, a diagnosis or a
sweep.

``workspace`` is what one works on a job with. ``runs`` runs it: ``earlier_runs`` says first what becomes of
the job's earlier runs, ``records`` what a run says of itself, ``outcome`` what came of it. ``release``
releases what a run holds, ``sweep`` does so for all runs of a job. ``inspection`` plans and diagnoses,
``comparison`` plans against another version of the files, ``status`` tells of the runs: these change nothing.
Nothing here prints: the command line gives listeners and gets results.
"""

from runner.app.comparison import compare, of_deleted
from runner.app.inspection import diagnose, named_by, plan_job, told_by
from runner.app.runs import Result, RunBroke, run_job
from runner.app.status import Status, status_of
from runner.app.sweep import Swept, abandon_run, sweep_job, sweep_orphans
from runner.app.workspace import (
    DEFAULT_NODES,
    EVENTS,
    Options,
    context_outside_of_runs,
    read_job,
    state_directory,
)

__all__ = [
    "DEFAULT_NODES",
    "EVENTS",
    "Options",
    "Result",
    "RunBroke",
    "Status",
    "Swept",
    "abandon_run",
    "compare",
    "context_outside_of_runs",
    "diagnose",
    "named_by",
    "of_deleted",
    "plan_job",
    "read_job",
    "run_job",
    "state_directory",
    "status_of",
    "sweep_job",
    "sweep_orphans",
    "told_by",
]
