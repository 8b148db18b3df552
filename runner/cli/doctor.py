"""sendense doctor: a checklist of what a job depends on."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runner.app.inspection import diagnose
from runner.cli.options import job_options, json_option, options_from, print_json
from runner.console.checklist import print_checklist


@click.command()
@click.argument("job", required=False, type=click.Path(path_type=Path))
@job_options
@json_option
def doctor(job: Path | None, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Check everything a job needs, and say how to fix problems.

    Without JOB it checks this machine only. Changes nothing; exit code 1 if a run would fail, or what the
    job asks for does not hold. It logs in to the hosts and the vCenter that the job file names: not for files
    that are not trusted.
    """
    found = diagnose(job, options_from(settings, state))
    if as_json:
        print_json(found.to_json_value())
    else:
        print_checklist(found.observations, sys.stdout)
    if not found.healthy:
        raise click.exceptions.Exit(1)
