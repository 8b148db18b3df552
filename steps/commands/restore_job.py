"""What both kinds of restore are told, and the jobs that they become."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from steps.commands import command_jobs, consent
from steps.commands.asked import Asked
from steps.commands.find import find_point
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
    """Asks the `question` of a point that is not trusted. Raises what `find_point` and `consent.agree` do."""
    asked = wanted.asked
    with asked.places() as places:
        place, path = find_point(asked.job, places, wanted.point)
        stored.refuse_unknown_disks(place.host, path, wanted.disks)
        known = standing.read(place.host, path, wanted.disks)
    suspect = not wanted.dry_run and consent.accept_suspect(known, question, given=wanted.accept_suspect)
    values: dict[str, JsonValue] = {
        "repository": place.name,
        "point": path,
        "disks": list(wanted.disks),
        "accept_suspect": suspect or wanted.accept_suspect,
    }
    return Found(place.name, path, known, values)


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
