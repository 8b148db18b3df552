"""How a job is asked for on a command line, and the job that is read for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.base.errors import UsageError
from runner.hosts.connect import OpenHosts
from runner.job.load import load
from runner.job.model import Job
from runner.step.registry import Registry

EVENTS = "events.jsonl"
PICTURES = "pictures"
"""Beside them."""
DEFAULT_NODES = 4
"""Nodes that run at once: enough for both cores while others wait on the network."""


@dataclass(frozen=True)
class Placed:
    """What the controller knows that placed the job here: here are no files of it."""

    only: str = ""
    """What names the child of a set, and no other, on a command line: ``run SET --only …``."""
    git_commit: str | None = None
    order: str = ""
    """`Order.id`"""


@dataclass(frozen=True)
class Options:
    overrides: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None
    """Where the state of jobs without `state:` is."""
    nodes: int = DEFAULT_NODES
    fresh: bool = False
    break_lock: bool = False
    """Take a needed lock from the run that holds it: end its session and its exporters on that lock's
    host."""
    events: Path | None = None
    hosts: OpenHosts | None = None
    """What the command has open already; None: each run and each look opens its own."""
    typed: str = ""
    """The command line that wrote the job file and resumes its run; empty for a job that people wrote."""
    placed: Placed | None = None
    """None for a job that this process read from its file."""

    def command(self, verb: str, job: str) -> str:
        """The command line that does `verb` to the same job with the same state."""
        settings = [f"--set={name}={value}" for name, value in self.overrides.items()]
        state = [] if self.state is None else [f"--state={self.state}"]
        only = [f"--only={self.placed.only}"] if self.placed is not None and self.placed.only else []
        return shlex.join(("sendense", verb, job, *only, *settings, *state))


def state_directory(options: Options) -> Path:
    """Raises UsageError where there is none, or one that no event could tell."""
    path = options.state.absolute() if options.state is not None else _own_state()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path} is not UTF-8: give another directory with --state DIR") from error
    return path


def _own_state() -> Path:
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "sendense"
    try:
        return Path.home() / ".local" / "state" / "sendense"
    except RuntimeError as error:
        raise UsageError(
            f"user {os.geteuid()} has no home directory for the records of runs: give a directory with "
            "--state DIR"
        ) from error


def read_job(
    job: Path | Job, options: Options, registry: Registry | None = None, *, part: bool = False
) -> Job:
    """The job of that file, or the job itself where it was read before. `part`: as `load`. Raises
    JobFileError."""
    if isinstance(job, Job):
        return job
    return load(job, registry or Registry.installed(), options.overrides, part=part)
