"""What a run says of itself when it begins: its id, its record, the tools it saw."""

from __future__ import annotations

import os
import platform
import pwd
import secrets
import socket
import subprocess
from pathlib import Path

from runner import __version__
from runner.app.options import Options
from runner.engine.checkpoint import RunRecord, now
from runner.hosts import process
from runner.job.model import Job


def new_run_id() -> str:
    """Sorts by time; the random part keeps two runs of one second apart."""
    return f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def new_record(job: Job, run_id: str, commit: str | None = None) -> RunRecord:
    """`commit`: see `commit_of`; one that looks or releases needs none."""
    return RunRecord(
        id=run_id,
        job=job.name,
        set=job.child_of.set if job.child_of else "",
        item=job.child_of.item if job.child_of else "",
        vars=dict(job.vars),
        given=tuple(sorted(job.given)),
        job_file=job.file,
        job_digest=job.digest,
        git_commit=commit,
        started=now(),
        phase="working",
    )


def account() -> str:
    """Who runs it where: ``backup@ci-3``. In a container the user may have no name."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = f"uid {os.geteuid()}"
    return f"{name}@{socket.gethostname()}"


def own_versions() -> dict[str, str]:
    return {"sendense": __version__, "python": platform.python_version()}


def commit_of(job: Job, options: Options) -> str | None:
    """Of the files it was read from, wherever they are."""
    return git_commit(Path(job.file).parent) if options.placed is None else options.placed.git_commit


def git_commit(directory: Path) -> str | None:
    """The commit the job file was taken from, with a mark if the tree differs; None outside of git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=process.environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
