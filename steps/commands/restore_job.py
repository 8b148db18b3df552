"""What both kinds of restore are told, and the jobs that they become."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app.runs import Result
from runner.base.errors import DifferenceError
from runner.events.summary import RunSummary
from steps.commands import command_jobs, consent
from steps.commands.asked import Asked
from steps.commands.find import choose_point
from steps.points import stored
from steps.repository import layout, standing
from steps.repository.lookup import LATEST
from steps.repository.standing import Standing

RESTORE_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Wanted:
    """On the command line."""

    asked: Asked
    point: str
    disks: tuple[int, ...]
    dry_run: bool
    fresh: bool
    accept_suspect: bool


@dataclass(frozen=True)
class Found:
    """The restore point that is meant."""

    repository: str
    """As the job calls it."""
    path: str
    """Absolute path of the point's directory there."""
    known: Standing
    values: Mapping[str, JsonValue]
    """Variables of either template."""
    others: tuple[tuple[str, str], ...] = ()
    """See `places.Chosen`."""

    @property
    def document(self) -> dict[str, JsonValue]:
        """What either says of it in JSON."""
        return {
            "vm": self.known.vm,
            "point": self.known.point,
            "path": self.path,
            "doubts": list(self.known.doubts),
        }


def find(wanted: Wanted, question: str = "Restore it anyway?") -> Found:
    """Asks the `question` of a point that is not trusted. Raises what `choose_point` and `consent.agree`
    do."""
    asked = wanted.asked
    with asked.places() as places:
        chosen = choose_point(asked.job, places, wanted.point)
        place, path = chosen.place, chosen.path
        stored.refuse_unknown_disks(place.host, path, wanted.disks)
        known = standing.read(place.host, path, wanted.disks)
    suspect = not wanted.dry_run and consent.accept_suspect(known, question, given=wanted.accept_suspect)
    values: dict[str, JsonValue] = {
        "repository": place.name,
        "point": path,
        "disks": list(wanted.disks),
        "accept_suspect": suspect or wanted.accept_suspect,
    }
    return Found(place.name, path, known, values, chosen.others)


def run(
    wanted: Wanted, template: str, found: Found, file: Path, values: Mapping[str, JsonValue]
) -> tuple[Found, Result, RunSummary]:
    """The job at `file`, which `job_of` made. Where what it restores is not what was read at the source, and
    another repository has the point, it starts over from that one."""
    result, summary = command_jobs.run_made(file, wanted.asked.of_run(fresh=wanted.fresh))
    for repository, path in found.others:
        if summary.outcome != "failed" or result.exit_code != DifferenceError.exit_code:
            break
        point = f"{layout.slug_of(posixpath.dirname(path))}/{posixpath.basename(path)}"
        click.echo(
            f"! {found.repository} does not have {point} as it was read at the source: it is restored from "
            f"{repository}; `sendense verify {wanted.asked.site} {point} --repository {found.repository}` "
            "tells what is damaged",
            err=True,
        )
        told = {**found.values, "repository": repository, "point": path}
        found = replace(found, repository=repository, path=path, values=told)
        command_jobs.write(wanted.asked, file, template, {**found.values, **values})
        result, summary = command_jobs.run_made(file, wanted.asked.of_run(fresh=True))
    return found, result, summary


def job_of(
    wanted: Wanted,
    template: str,
    found: Found,
    values: Mapping[str, JsonValue],
    free: Sequence[str],
    typed: Mapping[str, JsonValue],
) -> Path:
    """`free`: variables of which another value is the same restore. `typed`: as of `job_for`."""
    directory, name = posixpath.split(found.path)
    vm, about = layout.slug_of(directory), name
    if not name.startswith(posixpath.basename(wanted.point.rstrip("/"))):
        # The newest is another one tomorrow: what is unfinished keeps the point that it began with.
        about, typed = LATEST, {**typed, "point": [wanted.asked.job.file, directory, wanted.point]}
    return command_jobs.job_for(
        wanted.asked,
        template,
        f"{vm}-{about}",
        {**found.values, **values},
        (*free, "accept_suspect"),
        typed=typed,
        fresh=wanted.fresh,
    )
