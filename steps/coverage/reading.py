"""The job files that a coverage is of: as they are here, or in another version of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.base.errors import JobFileError, UsageError
from runner.job.load import load, settable
from runner.job.model import Job
from runner.job.sources import content_of
from runner.job.versions import Version
from runner.step.registry import Registry
from steps.coverage.guard import refuse_changed
from steps.coverage.jobs import BackupJob, CopyJob, backup_job, copy_job

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Read:
    """A site, the jobs that make restore points, and those that copy them (`copies`). `unread`: of the job
    files that are wrong, a sentence each; what they back up is unknown. `others`: files of jobs that do
    neither. `settings`: names of the variables that a file was given."""

    site: Job
    jobs: tuple[BackupJob, ...]
    unread: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    settings: frozenset[str] = frozenset()
    copies: tuple[CopyJob, ...] = ()

    @property
    def all_jobs(self) -> tuple[Job, ...]:
        return (*(one.job for one in self.jobs), *(one.job for one in self.copies))


def read(
    site: Path, given: Sequence[Path], registry: Registry, settings: Mapping[str, str] | None = None
) -> Read:
    """As they are here: `given` are job files, and directories of them; `settings` are variables, for each
    job that has them. Raises JobFileError for the site: without it nothing is known."""
    return _read(site, list(_files(given)), registry, content_of, settings or {})


def read_at(
    site: Path,
    given: Sequence[Path],
    registry: Registry,
    version: Version,
    settings: Mapping[str, str] | None = None,
) -> Read:
    """As they are in `version`; what is not there is left out. Raises JobFileError as `read`,
    VersionError where it cannot be looked at as it was."""
    files = [one for one in _files(given, version) if version.has(one.path.resolve())]
    found = _read(site, files, registry, version.read, settings or {})
    refuse_changed(found.site, version)
    for job in found.all_jobs:
        refuse_changed(job, version)
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


def _read(
    site: Path,
    files: Sequence[_File],
    registry: Registry,
    content: Callable[[Path], bytes],
    settings: Mapping[str, str],
) -> Read:
    def loaded(path: Path, *, part: bool) -> Job:
        own = settable(path, registry, settings, content) if settings else {}
        used.update(own)
        return load(path, registry, own, part=part, content=content)

    used: set[str] = set()
    jobs: list[BackupJob] = []
    copies: list[CopyJob] = []
    unread: list[str] = []
    others: list[str] = []
    known = loaded(site, part=True)
    for file in files:
        try:
            job = loaded(file.path, part=file.may_be_part)
        except JobFileError as error:
            unread.append("; ".join(map(str, error.problems)))
            continue
        if file.may_be_part and not job.name and not job.steps:
            continue
        if (found := backup_job(job, registry)) is not None:
            jobs.append(found)
        elif (copying := copy_job(job, registry)) is not None:
            copies.append(copying)
        else:
            others.append(str(file.path))
    return Read(known, tuple(jobs), tuple(unread), tuple(others), frozenset(used), tuple(copies))


def refuse_unused(settings: Mapping[str, str], reads: Sequence[Read]) -> None:
    """Raises UsageError for a variable that no file has."""
    used = frozenset[str]().union(*(read.settings for read in reads))
    for name in settings:
        if name not in used:
            raise UsageError(f"--set {name}: no job here has a variable of that name")
