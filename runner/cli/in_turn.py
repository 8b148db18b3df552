"""Jobs that this process runs itself, one after the other."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from runner.app.options import EVENTS, Options
from runner.app.runs import Result, RunBroke, run_job
from runner.base.errors import SendenseError
from runner.cli.job_results import Ended, say_error
from runner.cli.several_outcome import Unread
from runner.cli.signals import StopRequest
from runner.console.listener import Console
from runner.console.plain import Level
from runner.events.fold import fold
from runner.events.journal import read_events
from runner.hosts.limits import limit_of
from runner.job.model import Job
from runner.report.report import write_reports
from runner.step.registry import Registry


@dataclass(frozen=True)
class InTurn:
    """Runs jobs in this process; `jobs` are all that are to run."""

    options: Options
    registry: Registry
    level: Level
    report: Path | None
    jobs: tuple[Path, ...]

    def run(self, read: Job | Unread, stop: StopRequest) -> Ended:
        """A bug is told with its traceback, and is this job's alone."""
        job = Path(read.file) if isinstance(read, Job) else read[0]
        ended = Ended(job)
        try:
            if not isinstance(read, Job):
                raise read[1]
            with Console(self.registry.report, level=self.level) as console:
                result, bug = self._result(read, stop, console)
            if bug is not None:
                traceback.print_exception(bug)
            ended = Ended.of(job, result, console.summary(), self.registry.makes())
            self._report(result, console)
        except SendenseError as error:
            say_error(job, error, self.jobs)
            return ended.but(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs have no part in it
            if (limit := limit_of(error)) is not None:
                say_error(job, limit, self.jobs)
                return ended.but(limit)
            traceback.print_exception(error)
            return ended.but(SendenseError(f"bug: {''.join(traceback.format_exception_only(error)).strip()}"))
        return ended

    def _result(self, job: Job, stop: StopRequest, console: Console) -> tuple[Result, RunBroke | None]:
        try:
            return run_job(job, self.options, stop, [console]), None
        except RunBroke as broke:
            if stop.asked is None:
                stop.clear()  # by which its other nodes were stopped: the next job is to run
            return broke.result, broke

    def _report(self, result: Result, console: Console) -> None:
        """Raises StateError."""
        if self.report is None:
            return
        # Of several jobs each has its own: `result.directory` is that of the run in that of the job.
        name = f"{result.directory.parent.name}-{result.run}"
        directory = self.report if len(self.jobs) == 1 else self.report / name
        # What earlier executions of the run told, the journal alone has.
        told = fold(read_events(result.directory / EVENTS), self.registry.report) if result.told else None
        write_reports(told or console.summary(), directory)
