"""sendense sweep: releases what unfinished runs hold and may hold no longer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from runner.app.options import Options, read_job
from runner.app.sweep import JobSwept, Swept, abandon_run, sweep_job, sweep_orphans
from runner.app.sweeps import abandon_at_site, abandon_child, sweep_set, sweep_site
from runner.base.errors import SendenseError, UsageError
from runner.cli.job_results import say_error
from runner.cli.options import job_options, jobs_argument, json_option, only_option, options_from, print_json
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.console.listener import Console
from runner.events.outcomes import of_several
from runner.job.model import Job
from runner.step.registry import Registry

SWEEP_SCHEMA_VERSION = 1

_NOTHING = JobSwept((), {}, ())

STOPPING = "what is not released yet is left to the next sweep"


@click.command(cls=Work)
@jobs_argument
@job_options
@click.option(
    "--abandon",
    metavar="RUN",
    help="Discard this unfinished run and release all it holds: snapshot, partial point, records.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be released; change nothing, take no lock.")
@click.option(
    "--orphans",
    is_flag=True,
    help=(
        "Also release what runs left behind whose records are lost, if they used a repository of the job "
        "and their VM is not locked."
    ),
)
@click.option(
    "--all",
    "by_records",
    is_flag=True,
    help="Sweep all jobs whose records are where JOB, such as site.yaml, keeps them, also where their files "
    "are gone.",
)
@only_option
@json_option
def sweep(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    abandon: str | None,
    dry_run: bool,
    orphans: bool,
    by_records: bool,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Release what unfinished runs hold and may hold no longer.

    This covers snapshots past their `hold` and what dead runs left on the job's hosts; with --abandon,
    everything that one run holds. An unfinished point with copied data is not garbage: it stays until its run
    completes or is discarded."""
    if abandon is not None and (dry_run or orphans):
        raise click.UsageError("--abandon discards one run: leave out --dry-run and --orphans")
    if abandon is not None and len(jobs) > 1:
        raise click.UsageError("--abandon discards one run: name its job only")
    if by_records and (orphans or only):
        raise click.UsageError("--all sweeps by records: leave out --orphans and --only")
    options = options_from(settings, state)
    if abandon is not None:
        # What a lost run left is found also by the part that jobs share.
        _abandon(read_job(jobs[0], options, part=True), abandon, options, by_records=by_records)
        print(f"run {abandon} was discarded; all it held is released", file=sys.stderr)
        if as_json:
            print_json({"schema_version": SWEEP_SCHEMA_VERSION, "abandoned": abandon})
        return
    how = _How(options, only, dry_run=dry_run, orphans=orphans, by_records=by_records)
    codes, told = [], list[dict[str, Any]]()
    # A dry run is read-only: it may die by the signal.
    with nullcontext(StopRequest()) if dry_run else stop_on_signals(STOPPING) as stop:
        for path in jobs:
            if stop.is_set():
                print(f"sendense: {path}: not swept", file=sys.stderr)
                continue
            try:
                for one in how.sweep(read_job(path, options, part=by_records or orphans), jobs, stop):
                    told.append(one)
                    codes.append(one.pop("exit_code"))
            except SendenseError as error:
                say_error(path, error, jobs)
                told.append({"file": str(path), "error": error.message})
                codes.append(error.exit_code)
    if as_json:
        print_json({"schema_version": SWEEP_SCHEMA_VERSION, "dry_run": dry_run, "jobs": told})
    raise click.exceptions.Exit(130 if stop.is_set() else of_several(codes or [0]))


def _abandon(job: Job, run: str, options: Options, *, by_records: bool) -> None:
    with stop_on_signals(STOPPING) as stop, Console(Registry.installed().report) as console:
        if by_records:
            abandon_at_site(job, run, options, [console], stop)
        elif job.select is not None:
            abandon_child(job, run, options, [console], stop)
        else:
            abandon_run(job, run, options, [console], stop=stop)


@dataclass(frozen=True)
class _How:
    options: Options
    only: tuple[str, ...]
    dry_run: bool
    orphans: bool
    by_records: bool

    def sweep(self, job: Job, jobs: Sequence[Path], stop: StopRequest) -> Iterator[dict[str, Any]]:
        """What was, or would be, released and what is held, of each job, for JSON. Raises SendenseError."""
        if self.orphans and job.select is None and not job.steps:  # a part has no runs of its own
            yield self._tell((_NOTHING, self._swept_orphans(job, stop)), "", job.file)
            return
        if job.select is None and not self.by_records:
            if self.only:
                raise UsageError("--only names VMs of a set, and this is one job: it has no `select`")
            yield self._tell(self._alone(job, stop), f"{job.file}: " if len(jobs) > 1 else "", job.file)
            return
        yield from self._many(job, stop)

    def _alone(self, job: Job, stop: StopRequest) -> tuple[JobSwept, Swept | None]:
        with Console(Registry.installed().report) as console:
            swept = sweep_job(job, self.options, [console], dry_run=self.dry_run, stop=stop)
            return swept, self._swept_orphans(job, stop)

    def _swept_orphans(self, job: Job, stop: StopRequest) -> Swept | None:
        return sweep_orphans(job, self.options, dry_run=self.dry_run, stop=stop) if self.orphans else None

    def _many(self, job: Job, stop: StopRequest) -> Iterator[dict[str, Any]]:
        count = 0
        with Console(Registry.installed().report) as console:
            found = (
                sweep_site(job, self.options, [console], dry_run=self.dry_run, stop=stop)
                if self.by_records
                else sweep_set(job, self.options, self.only, [console], dry_run=self.dry_run, stop=stop)
            )
            for one in found:
                count += 1
                if one.swept is not None:
                    yield self._tell((one.swept, None), f"{one.name}: ", one.file, site=job.file)
                else:
                    assert one.error is not None, "it was swept, or it was not"
                    print(f"sendense: {one.name}: {one.error}", file=sys.stderr)
                    code = one.error.exit_code
                    yield {"file": one.file, "job": one.name, "error": str(one.error), "exit_code": code}
            if (swept := self._swept_orphans(job, stop)) is not None:
                yield self._tell((_NOTHING, swept), "", job.file)
        if not count:
            print(f"{job.file}: no unfinished run holds anything", file=sys.stderr)

    def _tell(
        self, swept: tuple[JobSwept, Swept | None], whose: str, file: str, *, site: str = ""
    ) -> dict[str, Any]:
        """`site`: the file that was named, where it is another; `whose`: before each line."""
        (released, holding, unknown), orphans = swept
        done = "would be released:" if self.dry_run else "released"
        for what in (*released, *(orphans.released if orphans else ())):
            print(f"{whose}{done} {what}", file=sys.stderr)
        for what in orphans.stays if orphans else ():
            print(f"{whose}stays: {what}", file=sys.stderr)
        for run, holds in holding.items():
            self._tell_holds(whose, run, [hold.what for hold in holds], site)
        if unknown:
            verb = "holds" if len(unknown) == 1 else "hold"
            print(f"{whose}what {' and '.join(unknown)} {verb} could not be read, see above", file=sys.stderr)
        elif not released and not holding:
            print(f"{whose}no unfinished run holds anything", file=sys.stderr)
        return {
            "file": file,
            "released": [*released, *(orphans.released if orphans else ())],
            "stays": list(orphans.stays if orphans else ()),
            "unknown": list(unknown),
            "unfinished": {run: [hold.what for hold in holds] for run, holds in holding.items()},
            "exit_code": 1 if unknown else 0,
        } | ({"job": whose.removesuffix(": ")} if site else {})

    def _tell_holds(self, whose: str, run: str, holds: Sequence[str], site: str) -> None:
        if not holds:
            print(f"{whose}run {run} is unfinished and holds nothing", file=sys.stderr)
            return
        command = f"`sendense sweep {site}{' --all' if self.by_records else ''} --abandon {run}`"
        way = f"discard it with {command if site else f'--abandon {run}'}"
        print(
            f"{whose}run {run} is unfinished: run the job again to resume it, or {way}; it holds:",
            file=sys.stderr,
        )
        for what in holds:
            print(f"  {what}", file=sys.stderr)
