"""What the commands on repositories share: the repositories of a job, a point in them by name, a job made for
a command."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app import Options, context_outside_of_runs, read_job, state_directory, status_of
from runner.base.errors import UsageError
from runner.events.events import Event, Warned
from runner.hosts import files
from runner.hosts.host import Host
from runner.job.model import Job
from runner.job.writer import write_from_template
from runner.step.context import Context
from steps.commands import scope
from steps.repository import lookup
from steps.repository.naming import Names
from steps.repository.section import Repository

site_argument = click.argument("site", metavar="JOB", type=click.Path(path_type=Path))
"""A job, or the part with the repositories that jobs include."""

all_vms_option = click.option("--all-vms", is_flag=True, help="All VMs of the repository, not only JOB's.")

repository_option = click.option(
    "--repository", metavar="NAME", help="Which of the job's repositories.  [default: all]"
)

KEPT_COMMANDS = 100
"""Job files of commands: more than can be unfinished, and a file that is gone is made again by the same
command."""


@dataclass(frozen=True)
class Place:
    """One of a job's repositories."""

    name: str
    """As the job calls it."""
    host: Host
    path: str


@contextmanager
def repositories(site: Path, options: Options, only: str | None = None) -> Iterator[list[Place]]:
    """As `repositories_of`, of the job in the file `site`."""
    with repositories_of(read_job(site, options, part=True), only) as places:
        yield places


@contextmanager
def repositories_of(read: Job, only: str | None = None) -> Iterator[list[Place]]:
    """Those of the job, or the one called `only`; the hosts are good until the block is left. Raises
    UsageError."""
    with context_outside_of_runs(read, "repositories", threading.Event(), tell_warning) as ctx:
        yield places_of(read, ctx, only)


def tell_warning(event: Event) -> None:
    """A listener for what is no run."""
    if isinstance(event, Warned):
        click.echo(f"! {event.text}", err=True)


def places_of(job: Job, ctx: Context, only: str | None = None) -> list[Place]:
    """The repositories of the job, or the one called `only`. Raises UsageError."""
    site, sections = job.file, job.sections.get("repositories", {})
    entries = {name: entry for name, entry in sections.items() if isinstance(entry, Repository)}
    if not entries:
        raise UsageError(f"{site} names no repositories; add `repositories: {{main: {{host: …, path: …}}}}`")
    if only is not None and only not in entries:
        raise UsageError(f"{site} has no repository {only!r}; it has {', '.join(entries)}")
    return [
        Place(name, ctx.host(entry.host), entry.path)
        for name, entry in entries.items()
        if only is None or name == only
    ]


def find_point(site: Job, places: Sequence[Place], name: str) -> tuple[Place, str]:
    """The repository that has the point, and the absolute path of the point's directory there; ``latest`` is
    that of the VM that the job `site` is about. Where the newest was asked for and another one is meant, that
    is said. Raises NoSuchPointError, AmbiguousPointError, AmbiguousVmError, SeveralVmsError, NoScopeError,
    NotARepositoryError."""
    found = [
        (place, one)
        for place in places
        for one in lookup.candidates(place.host, place.path, _of_whom(site, place, name))
    ]
    if not found:
        where = " and ".join(f"{place.path} on {place.host.name}" for place in places)
        raise lookup.NoSuchPointError(name, where)
    having = list(dict.fromkeys(place.name for place, _ in found))
    if len(having) > 1:
        raise UsageError(f"the repositories {' and '.join(having)} have {name!r}: add --repository NAME")
    place, one = found[0]
    if len(found) > 1:
        raise lookup.ambiguous(place.host, name, [one.path for _, one in found])
    if one.note is not None:
        print(f"! {one.note}", file=sys.stderr)
    return place, one.path


def _of_whom(site: Job, place: Place, name: str) -> str:
    """``latest``, of the VM of the job, where the job is that of one."""
    if name != lookup.LATEST or not scope.named(site).names:
        return name
    vms = scope.chosen(site, Names.read(place.host, place.path), (), all_vms=False)
    return f"{vms[0].uuid}/{name}" if len(vms) == 1 else name


def job_for(
    site: Path,
    options: Options,
    template: str,
    about: str,
    values: Mapping[str, JsonValue],
    free: Sequence[str] = (),
    *,
    typed_as: JsonValue = None,
    fresh: bool = False,
) -> Path:
    """A job file that does what a command was told: `template` with `values`, and the hosts, sections and
    state of the job `site`. It is kept with this machine's state, so that `run`, `status` and `sweep` take it
    as any other; the same command gives the same file, also with other values of `free`. `about` (a VM, a
    point) stands in its name.

    `typed_as`: what stood on the command line in place of the values of `free`, where that may mean others
    another day (the newest point): an unfinished run of the same command keeps what it began with, unless
    `fresh`."""
    fixed = {name: value for name, value in values.items() if name not in free}
    if typed_as is not None:
        fixed["typed"] = typed_as
    told = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{template}-{about}-{told}"
    text = write_from_template(read_job(site, options, part=True), name, template, values)
    path = state_directory(options) / ".commands" / f"{name}.yaml"
    if typed_as is not None and not fresh and path.exists() and _is_unfinished(path, options):
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(str(path), text.encode())
    _forget_old(path.parent)
    return path


def _is_unfinished(job: Path, options: Options) -> bool:
    return any(record.is_unfinished for record in status_of(job, Options(state=options.state)).runs[-1:])


def _forget_old(commands: Path) -> None:
    """The same command makes its file again."""
    with suppress(FileNotFoundError):  # another command deleted them meanwhile
        for old in sorted(commands.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT_COMMANDS]:
            old.unlink()


def one(places: Sequence[Place]) -> Place:
    """Raises UsageError where there are several."""
    if len(places) > 1:
        raise UsageError(
            f"the job has the repositories {', '.join(place.name for place in places)}: add --repository NAME"
        )
    return places[0]
