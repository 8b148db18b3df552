"""The job files that a coverage is of: as they are here, or in another version of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.errors import JobFileError
from runner.job.load import load
from runner.job.model import Job
from runner.job.sources import content_of
from runner.job.versions import Version
from runner.step.registry import Registry
from steps.coverage.guard import refuse_changed
from steps.coverage.jobs import BackupJob, backup_job

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Read:
    """A site, and the jobs that make restore points. `unread`: of the job files that are wrong, a sentence
    each; what they back up is unknown. `others`: files of jobs that make none."""

    site: Job
    jobs: tuple[BackupJob, ...]
    unread: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def read(site: Path, given: Sequence[Path], registry: Registry) -> Read:
    """As they are here: `given` are job files, and directories of them. Raises JobFileError for the site:
    without it nothing is known."""
    known = load(site, registry, {}, part=True)
    return _read(known, list(_files(given)), registry, content_of)


def read_at(site: Path, given: Sequence[Path], registry: Registry, version: Version) -> Read:
    """As they are in `version`; what is not there is left out. Raises JobFileError as `read`,
    VersionError where it cannot be looked at as it was."""
    known = load(site, registry, {}, part=True, content=version.read)
    refuse_changed(known, version)
    files = [one for one in _files(given, version) if version.has(one.path.resolve())]
    found = _read(known, files, registry, version.read)
    for one in found.jobs:
        refuse_changed(one.job, version)
    return found


@dataclass(frozen=True)
class _File:
    path: Path
    may_be_part: bool
    """It was found in a directory, which may have what its jobs include beside them."""


def _files(given: Sequence[Path], version: Version | None = None) -> Iterator[_File]:
    seen: set[Path] = set()
    for file in _listed(given, version):
        # Named, and in a directory that is named as well: it is one job.
        if (real := file.path.resolve()) not in seen:
            seen.add(real)
            yield file


def _listed(given: Sequence[Path], version: Version | None) -> Iterator[_File]:
    for path in given:
        there = set() if version is None else set(version.names(path.resolve()))
        if version is None and path.is_dir():
            there = {one.name for one in path.iterdir() if one.is_file()}
        if there or path.is_dir():
            names = sorted(name for name in there if name.endswith(SUFFIXES))
            yield from (_File(path / name, True) for name in names)
        else:
            yield _File(path, False)


def _read(site: Job, files: Sequence[_File], registry: Registry, content: Callable[[Path], bytes]) -> Read:
    jobs: list[BackupJob] = []
    unread: list[str] = []
    others: list[str] = []
    for file in files:
        try:
            job = load(file.path, registry, {}, part=file.may_be_part, content=content)
        except JobFileError as error:
            unread.append("; ".join(map(str, error.problems)))
            continue
        if file.may_be_part and not job.name and not job.steps:
            continue
        found = backup_job(job, registry)
        if found is None:
            others.append(str(file.path))
        else:
            jobs.append(found)
    return Read(site, tuple(jobs), tuple(unread), tuple(others))
