"""How jobs ended, a line for each; and whose an error is where it is one of several jobs'."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from runner.app.metrics import LastRun
from runner.app.runs import Result
from runner.base.errors import JobFileError, LockedError, SendenseError
from runner.console.tables import print_table
from runner.events.outcomes import ENDINGS, JobOutcome
from runner.events.result import document, in_a_line, in_brief
from runner.events.summary import RunSummary
from runner.report.labels import failures, verdict

_BY_ERROR: Mapping[type[SendenseError], JobOutcome] = {LockedError: "locked", JobFileError: "bad-job-file"}


@dataclass(frozen=True)
class Ended:
    """`what`: what was made, or why it is not done."""

    file: Path
    job: str | None = None
    run: str | None = None
    exit_code: int | None = None
    """None for a job that was not reached."""
    outcome: JobOutcome = "not-reached"
    what: str = ""
    error: str | None = None
    """What kept it from beginning, or from having its report."""
    called: str = ""
    """Of a child of a set, its item's name."""
    item: str = ""
    """And that item's id."""
    waited: float | None = None
    """Seconds that a child waited for its turn."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What `run --json` says of its run besides; empty where there was none."""

    @classmethod
    def of(cls, file: Path, result: Result, summary: RunSummary, makes: Collection[str]) -> Ended:
        """`makes`: see `Registry.makes`. Of a child of a set its name, its outcome and its seconds stand
        beside what is told."""
        is_child, what = result.job.child_of is not None, list[str]()
        if summary.results:
            line = in_brief(summary.results) if is_child else in_a_line(summary.results, summary.seconds)
            what.append(line)
        what += [f"{failure.name}: {failure.text}" for failure in failures(summary)]
        if not what and not (is_child and summary.outcome in ("done", "interrupted")):
            what.append(verdict(summary).line)
        told = "; ".join(what)
        return cls(
            file,
            result.job.name,
            result.run,
            result.exit_code,
            summary.outcome,
            told,
            details=_of_run(summary, makes),
        )

    @classmethod
    def told(cls, file: Path, document: Mapping[str, Any]) -> Ended:
        """What `document` says of a job that another process ran. Raises KeyError."""
        known = {"job", "run", "exit_code", "outcome", "summary", "error", "file"}
        return cls(
            file,
            document.get("job"),
            document.get("run"),
            document["exit_code"],
            document["outcome"],
            document["summary"],
            document.get("error"),
            details={name: value for name, value in document.items() if name not in known},
        )

    def but(self, error: SendenseError) -> Ended:
        """Its run, if there was one, keeps its code."""
        outcome = self.outcome
        if self.run is None:
            outcome = _BY_ERROR.get(type(error), "not-begun")
        what = "; ".join(filter(None, (self.what, str(error).removeprefix(f"{self.file}: "))))
        code = error.exit_code if self.exit_code is None else self.exit_code
        details = self.details
        if error.shared:
            details = {**details, "shared": {**details.get("shared", {}), error.shared: str(error)}}
        return replace(self, exit_code=code, outcome=outcome, what=what, error=str(error), details=details)

    @property
    def last(self) -> LastRun | None:
        """For metrics; None if it did not end."""
        if self.exit_code is None:
            return None
        held = self.details.get("held")
        count = None if held is None else len(held)
        return LastRun(str(self.file), self.exit_code, self.item, self.called, self.waited, count)

    def document(self) -> dict[str, Any]:
        told: dict[str, Any] = {"file": str(self.file), "outcome": self.outcome, "summary": self.what}
        told |= {"name": self.called} if self.called else {}
        known = {"job": self.job, "run": self.run, "exit_code": self.exit_code, "error": self.error}
        told |= {name: value for name, value in known.items() if value is not None}
        return {**told, **self.details}


def _of_run(summary: RunSummary, makes: Collection[str]) -> dict[str, Any]:
    return {
        "seconds": round(summary.seconds, 3),
        **document(summary.results, makes),
        "warnings": [{"node": warning.node, "text": warning.text} for warning in summary.warnings],
        "failures": [{"node": failure.name, "text": failure.text} for failure in failures(summary)],
        "pictures": [picture.to_json_value() for picture in summary.pictures],
        "shared": {node.shared: node.error or "" for node in summary.nodes if node.shared},
        "held": [{"node": held.node, "what": held.what, "command": held.command} for held in summary.held],
    }


def print_ended(ended: Sequence[Ended], stream: TextIO) -> None:
    """What is done stands first, so that the last lines are those that somebody must look at."""
    done = sum(one.exit_code == 0 for one in ended)
    rows = [
        (one.job or str(one.file), ENDINGS[one.outcome].word, one.what)
        for one in sorted(ended, key=lambda one: one.exit_code != 0)
    ]
    title = f"{done} of {len(ended)} jobs {'is' if done == 1 else 'are'} done"
    stream.write("\n")
    print_table(title, ("job", "state", ""), rows, stream=stream)


def say_error(job: Path, error: SendenseError, jobs: Sequence[Path]) -> None:
    """On standard error; with the job's file before it where it is one of several, unless the sentence begins
    with it."""
    sentence = str(error)
    whose = f"{job}: " if len(jobs) > 1 and not sentence.startswith(str(job)) else ""
    print(f"sendense: {whose}{sentence}", file=sys.stderr)
