"""sendense ci: pipelines that plan a change of job files and run them on schedule."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
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

LIMIT = 350
"""Minutes a CI may let a run work; the shortest common limit is six hours."""
GRACE = 10
"""Minutes before that limit in which a stopped run cleans up."""

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


@ci.command()
@jobs_argument
@install_option
def github(jobs: tuple[Path, ...], install: str | None) -> None:
    """Print a workflow for GitHub Actions."""
    _print("github", jobs, install)


@ci.command()
@jobs_argument
@install_option
def gitlab(jobs: tuple[Path, ...], install: str | None) -> None:
    """Print a pipeline for GitLab CI."""
    _print("gitlab", jobs, install)


def _print(product: str, paths: tuple[Path, ...], install: str | None) -> None:
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
        "secrets": sorted({name for job in jobs for name in _variables(job)}),
        "limit_minutes": LIMIT,
        "stop_minutes": LIMIT - GRACE - 5,
        "grace_minutes": GRACE,
    }
    click.echo(render_report(f"ci/{product}.yaml.j2", values), nl=False)


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
