"""A `sendense` command that says at its end what it asked of hosts, and what it cost: `python -m tests.bench.counted FILE
WORDS…` writes it into FILE as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from runner.cli import main
from runner.hosts.ssh import connections


@dataclass
class Asked:
    commands: list[tuple[str, ...]] = field(default_factory=list)
    """Their argv."""
    logins: int = 0
    """Of the connections that carry commands."""


@contextmanager
def counting() -> Iterator[Asked]:
    """All that this process asks of hosts behind sshd."""
    asked = Asked()
    start, log_in = connections.Connections.start, connections.log_in

    def starting(self: connections.Connections, argv: Sequence[str], **more: Any) -> Any:
        asked.commands.append(tuple(argv))
        return start(self, argv, **more)

    def logging_in(*args: Any, **more: Any) -> Any:
        asked.logins += 1
        return log_in(*args, **more)

    with (
        mock.patch.object(connections.Connections, "start", starting),
        mock.patch.object(connections, "log_in", logging_in),
    ):
        yield asked


def _run(report: Path, words: list[str]) -> int:
    began = time.perf_counter()
    code = 0
    with counting() as asked:
        try:
            main(words)
        except SystemExit as ending:
            code = int(ending.code or 0)
    used = os.times()
    said = {
        "seconds": time.perf_counter() - began,
        "own": used.user + used.system,
        "children": used.children_user + used.children_system,
        "commands": len(asked.commands),
        "logins": asked.logins,
        "modules": len(sys.modules),
    }
    report.write_text(json.dumps(said))
    return code


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
