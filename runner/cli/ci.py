"""sendense ci: pipelines that plan a change of job files and run them on schedule."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from runner import __version__
from runner.app.options import Options, read_job
from runner.app.secrets_named import secrets_named
from runner.base.errors import UsageError
from runner.base.render import render_report
from runner.cli.options import jobs_argument
from runner.hosts.secrets import FromEnv
from runner.job.model import Job
from runner.job.schedule import Schedule

LIMIT = 350
"""Minutes a CI may let a run work; the shortest common limit is six hours."""
GRACE = 10
"""Minutes before that limit in which a stopped run cleans up."""

DEFAULT_CRON = "17 1 * * *"
"""Not at the full hour, when everybody's begin."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@click.group()
def ci() -> None:
    """Print a pipeline that plans and runs jobs in CI."""


install_option = click.option(
    "--install",
    metavar="NAME|URL",
    help=(
        "What pipx installs where a change is planned: a wheel's URL, or a name that pip finds.  [default: "
        "sendense, this version]"
    ),
)


site_option = click.option(
    "--site",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The site that the jobs include: a merge request is told which VMs it takes out of every job.",
)


@ci.command()
@jobs_argument
@install_option
@site_option
def github(jobs: tuple[Path, ...], install: str | None, site: Path | None) -> None:
    """Print a workflow for GitHub Actions."""
    _print("github", jobs, install, site)


@ci.command()
@jobs_argument
@install_option
@site_option
def gitlab(jobs: tuple[Path, ...], install: str | None, site: Path | None) -> None:
    """Print a pipeline for GitLab CI."""
    _print("gitlab", jobs, install, site)


@dataclass(frozen=True)
class _Due:
    """Jobs that are due at the same times."""

    cron: str
    timezone: str
    jobs: tuple[str, ...]


def _print(product: str, paths: tuple[Path, ...], install: str | None, site: Path | None) -> None:
    """Raises JobFileError, UsageError."""
    if install is None:
        install = f"sendense=={__version__}"
        print(
            f"the pipeline installs {install}, which is not in a package index yet: give --install the URL "
            "of its wheel",
            file=sys.stderr,
        )
    jobs = [read_job(path, Options()) for path in paths]
    for job in jobs:
        if job.state_place is None or job.state_place.host == "local":
            print(
                f"{job.file}: its state is local, so a run cannot be resumed if CI's machines do not keep "
                "their files; add state: {in: repositories.…}, or {host: store, path: …}",
                file=sys.stderr,
            )
    values = {
        "install": _word(install, "--install"),
        "jobs": [_argument(path) for path in paths],
        "schedules": _schedules(jobs, paths),
        "site": None if site is None else _argument(site),
        "directories": list(dict.fromkeys(_argument(path.parent) for path in paths)),
        "secrets": sorted({name for job in jobs for name in _variables(job)}),
        "limit_minutes": LIMIT,
        "stop_minutes": LIMIT - GRACE - 5,
        "grace_minutes": GRACE,
    }
    click.echo(render_report(f"ci/{product}.yaml.j2", values), nl=False)


def _schedules(jobs: Sequence[Job], paths: Sequence[Path]) -> list[_Due]:
    """By what the jobs say; all at the default time where none says anything. Raises UsageError."""
    due: dict[tuple[str, str], list[str]] = {}
    for job, path in zip(jobs, paths, strict=True):
        if job.schedule is not None:
            due.setdefault((_posix(job.schedule), job.schedule.timezone), []).append(_argument(path))
    if not due:
        return [_Due(DEFAULT_CRON, "UTC", tuple(_argument(path) for path in paths))]
    for job in jobs:
        if job.schedule is None:
            print(f"{job.file}: it has no schedule, so the pipeline runs it by hand alone", file=sys.stderr)
    found = [_Due(*when, tuple(names)) for when, names in due.items()]
    twice = [cron for cron, times in Counter(one.cron for one in found).items() if times > 1]
    if twice:
        raise UsageError(
            f"jobs are due at '{twice[0]}' in several time zones, and a pipeline is told no more than that: "
            "give one of them another minute"
        )
    return found


def _posix(schedule: Schedule) -> str:
    """With Sunday as 0 alone, as POSIX has it."""
    *fields, weekday = schedule.cron.split()
    if "7" in weekday:
        weekday = ",".join(map(str, sorted(schedule.weekdays)))
    return " ".join((*fields, weekday))


def _argument(path: Path) -> str:
    """As a word of a shell, relative to the checkout. Raises UsageError."""
    if path.is_absolute():
        raise UsageError(f"{path}: name the job relative to the root of the repository, where CI runs")
    return _word(str(path), "the job file")


def _word(text: str, what: str) -> str:
    """For a shell, in a line of YAML. Raises UsageError."""
    word = shlex.quote(text)
    if re.search(r"\s|: | #|['\"]", word):
        raise UsageError(
            f"{text}: give {what} a name of letters, digits and @%+=:,./-_ alone, so that it can stand in a "
            "pipeline"
        )
    return word


def _variables(job: Job) -> Iterator[str]:
    """The environment variables from which the secrets come that the job's steps need."""
    for secret in secrets_named(job):
        if isinstance(secret, FromEnv) and _VARIABLE.fullmatch(secret.env):
            yield secret.env
