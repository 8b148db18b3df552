"""What every command on a job's repositories is given: the job, which of its repositories, how to answer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from runner.app.options import Options, read_job
from runner.app.outside import context_outside_of_runs
from runner.base.errors import UsageError
from runner.base.waiting import NEVER
from runner.cli.options import job_options, json_option, options_from, typed
from runner.events.events import Event, Warned
from runner.hosts.connect import OpenHosts
from runner.job.model import Job
from runner.step.context import Context
from steps.points.place import Place
from steps.repository.section import BrakeLimits, Repository

site_argument = click.argument("site", metavar="JOB", type=click.Path(path_type=Path))
"""A job, or the part with the repositories that jobs include."""

repository_option = click.option(
    "--repository", metavar="NAME", help="Which of the job's repositories.  [default: all]"
)


@dataclass(frozen=True)
class Asked:
    """On a command line."""

    site: Path
    options: Options
    repository: str | None
    as_json: bool

    @cached_property
    def job(self) -> Job:
        return read_job(self.site, self.options, part=True)

    @contextmanager
    def places(self, stop: threading.Event = NEVER) -> Iterator[list[Place]]:
        """The job's repositories, or the one that was named; the hosts are good until the block is left, and
        end what they do once `stop` is set. Raises UsageError."""
        with context_outside_of_runs(self.job, "repositories", stop, tell_warning, self.options.hosts) as ctx:
            yield self.places_of(ctx)

    def places_of(self, ctx: Context) -> list[Place]:
        """As `places`, by the hosts of a context that is open."""
        site, only = self.job.file, self.repository
        entries = {
            name: entry
            for name, entry in self.job.sections.get("repositories", {}).items()
            if isinstance(entry, Repository)
        }
        if not entries:
            raise UsageError(
                f"{site} names no repositories; add `repositories: {{main: {{host: …, path: …}}}}`"
            )
        if only is not None and only not in entries:
            raise UsageError(f"{site} has no repository {only!r}; it has {', '.join(entries)}")
        return [
            Place(name, ctx.host(entry.host), entry.path)
            for name, entry in entries.items()
            if only is None or name == only
        ]

    def brake(self, repository: str) -> BrakeLimits | None:
        """Of one of the job's repositories."""
        return self._entry(repository).brake

    def lock(self, repository: str) -> float:
        """Of one of the job's repositories, in seconds; 0: none."""
        return self._entry(repository).lock or 0.0

    def _entry(self, repository: str) -> Repository:
        entry = self.job.sections["repositories"][repository]
        assert isinstance(entry, Repository)
        return entry

    def of_run(self, *, fresh: bool) -> Options:
        """For the run of a job that was made for the command: its --set are in that job already."""
        return replace(self.options, overrides={}, fresh=fresh, typed=typed())


def tell_warning(event: Event) -> None:
    """A listener for what is no run."""
    if isinstance(event, Warned):
        click.echo(f"! {event.text}", err=True)


def on_repositories(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose JOB, --repository, --set, --state and --json are its first argument, an `Asked`. JOB is
    declared by the command itself, since it stands before the command's own arguments."""

    @repository_option
    @job_options
    @json_option
    @functools.wraps(function)
    def command(
        site: Path,
        repository: str | None,
        settings: tuple[str, ...],
        state: Path | None,
        as_json: bool,
        **own: Any,
    ) -> None:
        with OpenHosts() as hosts:
            options = options_from(settings, state, hosts=hosts)
            function(Asked(site, options, repository, as_json), **own)

    return command
