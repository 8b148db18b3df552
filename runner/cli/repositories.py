"""What the commands on repositories share: the repositories of a job, a point in them by name, a job made for a command."""

from __future__ import annotations

import hashlib
import json
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import JsonValue

from runner import files
from runner.app import Options, read_job, state_directory
from runner.errors import UsageError
from runner.events import Bus, Event, Warned
from runner.hosts import Host
from runner.job_writer import write_from_template
from runner.process import temporary_directory
from runner.world import World
from steps.repository import catalogue, lookup
from steps.repository.section import Repository

site_argument = click.argument("site", metavar="JOB", type=click.Path(path_type=Path))
"""A job, or the part with the repositories that jobs include."""

repository_option = click.option(
    "--repository", metavar="NAME", help="Which of the job's repositories.  [default: all]"
)

KEPT_COMMANDS = 100
"""Job files of commands: more than can be unfinished, and a file that is gone is made again by the same command."""


@dataclass(frozen=True)
class Place:
    """One of a job's repositories."""

    name: str
    """As the job calls it."""
    host: Host
    path: str


@contextmanager
def repositories(site: Path, options: Options, only: str | None = None) -> Iterator[list[Place]]:
    """Those of the job, or the one called `only`; the hosts are good until the block is left. Raises UsageError."""
    read = read_job(site, options, part=True)
    bus = Bus()
    bus.subscribe(tell_warning)
    with temporary_directory() as scratch, World(read, bus, threading.Event(), Path(scratch)) as world:
        yield places_of(world, only)


def tell_warning(event: Event) -> None:
    """A listener for what is no run."""
    if isinstance(event, Warned):
        click.echo(f"! {event.text}", err=True)


def places_of(world: World, only: str | None = None) -> list[Place]:
    """The repositories of the world's job, or the one called `only`. Raises UsageError."""
    site, sections = world.job.file, world.job.sections.get("repositories", {})
    entries = {name: entry for name, entry in sections.items() if isinstance(entry, Repository)}
    if not entries:
        raise UsageError(f"{site} names no repositories; add `repositories: {{main: {{host: …, path: …}}}}`")
    if only is not None and only not in entries:
        raise UsageError(f"{site} has no repository {only!r}; it has {', '.join(entries)}")
    return [
        Place(name, world.host(entry.host), entry.path)
        for name, entry in entries.items()
        if only is None or name == only
    ]


def find_point(places: Sequence[Place], name: str) -> tuple[Place, str]:
    """The repository that has the point, and the absolute path of the point's directory there. Raises NoSuchPointError,
    AmbiguousPointError, NotARepositoryError."""
    found = [(place, path) for place in places for path in lookup.candidates(place.host, place.path, name)]
    if not found:
        where = " and ".join(f"{place.path} on {place.host.name}" for place in places)
        raise lookup.NoSuchPointError(name, where, *_newest_of_vm(places, name))
    if len(found) > 1:
        raise lookup.AmbiguousPointError(name, [path for _, path in found])
    return found[0]


def _newest_of_vm(places: Sequence[Place], name: str) -> Iterator[str]:
    """What to write instead, where `name` is a VM's."""
    for place in places:
        listed = catalogue.read(place.host, place.path).only((name,))
        for found in (point for point in listed.points if point.last_good):
            yield f"that is a VM; its newest good point is {name}/{posixpath.basename(found.path)}"
            return


def job_for(
    site: Path,
    options: Options,
    template: str,
    about: str,
    values: Mapping[str, JsonValue],
    free: Sequence[str] = (),
) -> Path:
    """A job file that does what a command was told: `template` with `values`, and the hosts, sections and state of the
    job `site`. It lies with this machine's state, so that `run`, `status` and `sweep` take it as any other; the same
    command gives the same file, also with other values of `free`. `about` (a VM, a point) stands in its name."""
    fixed = {name: value for name, value in values.items() if name not in free}
    told = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{template}-{about}-{told}"
    text = write_from_template(read_job(site, options, part=True), name, template, values)
    path = state_directory(options) / ".commands" / f"{name}.yaml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(str(path), text.encode())
    _forget_old(path.parent)
    return path


def _forget_old(commands: Path) -> None:
    """The same command makes its file again."""
    with suppress(FileNotFoundError):  # another command forgets them meanwhile
        for old in sorted(commands.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT_COMMANDS]:
            old.unlink()


def one(places: Sequence[Place]) -> Place:
    """Raises UsageError where there are several."""
    if len(places) > 1:
        raise UsageError(
            f"the job has the repositories {', '.join(place.name for place in places)}: add --repository NAME"
        )
    return places[0]
