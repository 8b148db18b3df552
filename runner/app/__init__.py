"""Wiring: a job file, the installed steps, the state and the world become a run, a plan, or an abandoned run.

``workspace`` is what one works on a job with, ``records`` what a run says of itself, ``runs`` runs it,
``outcome`` is what came of it, ``abandoning`` and ``sweeping`` let go, ``lost`` finds what nobody remembers,
``looking`` and ``status`` look. Nothing here prints; the command line gives listeners and gets results.
"""

from runner.app.comparison import compare, of_deleted
from runner.app.inspection import diagnose, named_by, plan_job, told_by
from runner.app.records import new_run_id
from runner.app.release import abandon_run
from runner.app.runs import Result, RunBroke, run_job
from runner.app.status import Status, status_of
from runner.app.sweeping import Swept, sweep_job, sweep_orphans
from runner.app.workspace import DEFAULT_JOBS, EVENTS, Options, read_job, state_directory

__all__ = [
    "DEFAULT_JOBS",
    "EVENTS",
    "Options",
    "Result",
    "RunBroke",
    "Status",
    "Swept",
    "abandon_run",
    "compare",
    "diagnose",
    "named_by",
    "new_run_id",
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
