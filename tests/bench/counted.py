"""A `sendense` command that says at its end what it asked of hosts, and what it cost: `python -m tests.bench.counted FILE
WORDS…` writes it into FILE as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.cli import main
from runner.hosts import process
from runner.hosts.ssh import connections


@dataclass
class Asked:
    commands: list[tuple[str, ...]] = field(default_factory=list)
    """Of hosts behind sshd; their argv."""
    programs: list[tuple[str, ...]] = field(default_factory=list)
    """Of this machine."""
    logins: int = 0
    """Of the connections that carry commands."""


@contextmanager
def counting() -> Iterator[Asked]:
    """All that this process asks of hosts behind sshd and of this machine."""
    asked = Asked()
    start, log_in = connections.Connections.start, connections.log_in
    run_here, start_here = process.run, process.start

    def starting(self: connections.Connections, argv: Sequence[str], **more: Any) -> Any:
        asked.commands.append(tuple(argv))
        return start(self, argv, **more)

    def logging_in(*args: Any, **more: Any) -> Any:
        asked.logins += 1
        return log_in(*args, **more)

    def running_here(argv: Sequence[str], **more: Any) -> Any:
        asked.programs.append(tuple(argv))
        return run_here(argv, **more)

    def starting_here(argv: Sequence[str], **more: Any) -> Any:
        asked.programs.append(tuple(argv))
        return start_here(argv, **more)

    with ExitStack() as replaced:
        for owner, name, counted in (
            (connections.Connections, "start", starting),
            (connections, "log_in", logging_in),
            (process, "run", running_here),
            (process, "start", starting_here),
        ):
            replaced.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, counted)
        yield asked


def _run(report: Path, words: list[str]) -> int:
    began = time.perf_counter()
    code = 0
    with counting() as asked:
        try:
            main(words)
        except SystemExit as ending:
            code = int(ending.code or 0)
    said = {
        "seconds": time.perf_counter() - began,
        "commands": len(asked.commands),
        "programs": len(asked.programs),
        "logins": asked.logins,
        "modules": len(sys.modules),
    }
    report.write_text(json.dumps(said))
    return code


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
