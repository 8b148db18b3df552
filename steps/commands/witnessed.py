"""What `sendense verify --witness` says: whether repositories still hold what was witnessed of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from runner.base.errors import DifferenceError, StateError
from runner.base.units import counted
from runner.cli.options import print_json
from runner.console.tables import print_table
from steps.commands.asked import Asked
from steps.points.place import Place
from steps.repository import layout, marker, reader
from steps.trail import comparison, reading, witness_file
from steps.trail.comparison import Finding, State
from steps.trail.reading import Trail
from steps.trail.witness import Witnessed

WITNESS_SCHEMA_VERSION = 1

_COUNTED: dict[State, str] = {
    "same": "as witnessed",
    "deleted": "deleted since, by whom `sendense log` says",
    "older": "older than the first that was witnessed",
}


@dataclass(frozen=True)
class OfPlace:
    place: Place
    repository: str
    """The uuid in its marker."""
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    """With its log, and with the whole of it; in sentences without a full stop."""

    @property
    def alarms(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.alarms)


@dataclass(frozen=True)
class Seen:
    file: Path
    places: tuple[OfPlace, ...]

    @property
    def exit_code(self) -> int:
        wrong = any(one.alarms or one.problems for one in self.places)
        return DifferenceError.exit_code if wrong else 0


def look(asked: Asked, file: Path) -> Seen:
    """Reads manifests and logs; no block. Raises UsageError, StateError, HostError."""
    lines = witness_file.read(file)
    with asked.places() as places:
        return Seen(file, tuple(_of(place, file, lines) for place in places))


def _of(place: Place, file: Path, lines: list[Witnessed]) -> OfPlace:
    uuid = marker.require(place.host, place.path).uuid
    # In this order: of what is deleted meanwhile, the log says so.
    vms = reader.read_all(place.host, place.path).vms
    try:
        trail = reading.read(place.host, place.path)
        problems = comparison.of_log(uuid, lines, trail)
    except StateError as error:  # who spoils the log must not keep the points from being compared
        trail, problems = Trail(), [error.message]
    findings = tuple(comparison.compare(uuid, vms, lines, trail))
    if comparison.has_none(uuid, vms.values(), lines):
        problems.append(f"{file} has no line of this repository, whose uuid is {uuid}")
    return OfPlace(place, uuid, findings, tuple(problems))


def show(seen: Seen, as_json: bool, stream: TextIO) -> None:
    if as_json:
        print_json(_document(seen))
        return
    for one in seen.places:
        stream.write(f"{one.place.name}: {', '.join(_counts(one)) or 'no points'}\n")
        rows = [(f"{layout.slug_of(found.vm)}/{found.point}", found.why) for found in one.alarms]
        if rows:
            print_table("", ("point", "what"), rows, stream=stream)
        for problem in one.problems:
            stream.write(f"✗ {one.place.path} on {one.place.host.name}: {problem}\n")
    if seen.exit_code:
        stream.write("What to look at now, and in which order: sendense help attacked\n")


def _counts(one: OfPlace) -> Iterator[str]:
    states = Counter(finding.state for finding in one.findings)
    for state in _COUNTED:
        if states[state]:
            yield f"{counted(states[state], 'point')} {_COUNTED[state]}"
    if one.alarms:
        yield f"{counted(len(one.alarms), 'point')} to look at"


def _document(seen: Seen) -> dict[str, JsonValue]:
    repositories: list[JsonValue] = [
        {
            "name": one.place.name,
            "host": one.place.host.name,
            "path": one.place.path,
            "uuid": one.repository,
            "problems": [*one.problems],
            "points": [{**found.to_json_value(), "alarm": found.alarms} for found in one.findings],
        }
        for one in seen.places
    ]
    return {
        "schema_version": WITNESS_SCHEMA_VERSION,
        "witness": str(seen.file),
        "exit_code": seen.exit_code,
        "repositories": repositories,
    }
