"""Before another version of job files is believed: a branch that is to be merged must not replace what the
version before it logs in with, or knows a server by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from runner.base.model import RELATIVE_TO_FILE, marks_of
from runner.hosts.secrets import FromExec
from runner.job.model import Job
from runner.job.versions import Version, VersionError
from steps.coverage.jobs import VCENTERS


def refuse_changed(job: Job, version: Version) -> None:
    """`job` is as in `version`, but the files that its vCenters and hosts name (a CA, a key, a program that
    prints a password) are those of the working tree. Raises VersionError where one of these differs."""
    for path in files_of([*job.hosts.values(), *job.sections.get(VCENTERS, {}).values()]):
        if version.changed(path.resolve()):
            raise VersionError(
                f"{path} differs from {version.name}, and a vCenter or host of {job.file} is known by it or "
                "logged in to with it: merge that first, or compare by `sendense plan --offline`"
            )


def files_of(value: Any) -> Iterator[Path]:
    """All that it names, and each word of a command that prints a secret: one of them may be the script."""
    match value:
        case FromExec(exec=argv):
            yield from map(Path, argv)
        case BaseModel():
            for name in type(value).model_fields:
                found = getattr(value, name)
                if RELATIVE_TO_FILE in marks_of(type(value), name):
                    yield from map(Path, [found] if isinstance(found, str) else found or ())
                else:
                    yield from files_of(found)
        case Mapping():
            yield from files_of(list(value.values()))
        case list() | tuple():
            for one in value:
                yield from files_of(one)
