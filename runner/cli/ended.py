"""How jobs that were run ended: a line for each, for whoever has two hundred of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from runner.app import Result
from runner.console import print_table
from runner.errors import JobFileError, LockedError, SendenseError
from runner.summary import RunSummary
from runner.words import failures, verdict
from steps.publish import Publish

NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Ended:
    """`what`: the restore points that were made, or why it is not done."""

    file: Path
    job: str | None = None
    run: str | None = None
    exit_code: int | None = None
    """None for a job that was not reached."""
    state: str = NOT_BEGUN
    what: str = ""
    error: str | None = None
    """What kept it from beginning, or from having its report."""

    @classmethod
    def of(cls, file: Path, result: Result, summary: RunSummary) -> Ended:
        what = [
            f"{node.output['vm']}/{node.output['point']}"
            for node in summary.nodes
            if node.step == Publish.name and node.output and node.undone is None
        ]
        what += [f"{failure.name}: {failure.text}" for failure in failures(summary)]
        told = verdict(summary)
        return cls(file, result.job.name, result.run, result.exit_code, told.word, "; ".join(what or [told.sentence]))

    def but(self, error: SendenseError) -> Ended:
        """Its run, if there was one, keeps its code."""
        state = self.state
        if self.run is None:
            state = {LockedError: "locked", JobFileError: "bad job file"}.get(type(error), NOT_BEGUN)
        what = "; ".join(filter(None, (self.what, str(error).removeprefix(f"{self.file}: "))))
        code = error.exit_code if self.exit_code is None else self.exit_code
        return replace(self, exit_code=code, state=state, what=what, error=str(error))

    def document(self) -> dict[str, Any]:
        told = {"file": str(self.file)}
        known = {"job": self.job, "run": self.run, "exit_code": self.exit_code, "error": self.error}
        return told | {name: value for name, value in known.items() if value is not None}


def print_ended(ended: Sequence[Ended], stream: TextIO) -> None:
    """What is done stands first, so that the last lines are those that somebody must look at."""
    done = sum(one.exit_code == 0 for one in ended)
    rows = [
        (one.job or str(one.file), one.state, one.what) for one in sorted(ended, key=lambda one: one.exit_code != 0)
    ]
    title = f"{done} of {len(ended)} jobs {'is' if done == 1 else 'are'} done"
    stream.write("\n")
    print_table(title, ("job", "state", ""), rows, stream=stream)
