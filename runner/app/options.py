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
DEFAULT_NODES = 4
"""Nodes that run at once: enough for both cores while others wait on the network."""


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

    def command(self, verb: str, job: str) -> str:
        """The command line that does `verb` to the same job with the same state."""
        settings = [f"--set={name}={value}" for name, value in self.overrides.items()]
        state = [] if self.state is None else [f"--state={self.state}"]
        return shlex.join(("sendense", verb, job, *settings, *state))


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


def read_job(path: Path, options: Options, registry: Registry | None = None, *, part: bool = False) -> Job:
    """`part`: as `load`. Raises JobFileError."""
    return load(path, registry or Registry.installed(), options.overrides, part=part)
