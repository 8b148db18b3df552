"""What a change of a job file, and of what it includes, changes against another version of them. Looks at
files alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runner.app.inspection import plan_offline
from runner.app.options import Options
from runner.base.errors import JobFileError
from runner.engine.difference import Difference, changes
from runner.engine.plan import Plan
from runner.job.load import load
from runner.job.model import Job
from runner.job.sources import content_of
from runner.job.versions import Version, VersionError, version_of
from runner.job.writer import settings
from runner.step.registry import Registry

Planned = tuple[Job, Plan]


def compare(path: Path, options: Options, against: str) -> Difference:
    """`against`: a git reference, a directory or a file. Raises VersionError where there is nothing to
    compare with, and JobFileError for what is wrong with the job as it is."""
    registry = Registry.installed()
    version = version_of(path, against)
    before_is_there = version.has(path.resolve())
    if not path.exists() and not before_is_there:
        raise VersionError(f"there is no job {path}, neither here nor in {against}")
    now = _read(path, options, registry, content_of) if path.exists() else None
    return _difference(against, _before(path, options, registry, version) if before_is_there else None, now)


def of_deleted(path: Path, found: Difference) -> Plan:
    """In the place of a plan of a job that no longer exists."""
    return Plan(job=str(path), file=str(path), offline=True, resumes=None, nodes=(), edges=(), against=found)


def _before(path: Path, options: Options, registry: Registry, version: Version) -> Planned:
    try:
        return _read(path, options, registry, version.read)
    except JobFileError as error:
        several = f" ({len(error.problems)} mistakes; the first)" if len(error.problems) > 1 else ""
        raise VersionError(
            f"there is no comparison with {version.name}, where the job file is wrong{several}: "
            f"{error.problems[0]}"
        ) from error


def _read(path: Path, options: Options, registry: Registry, content: Callable[[Path], bytes]) -> Planned:
    job = load(path, registry, options.overrides, content=content)
    return job, plan_offline(job, registry)


def _difference(against: str, before: Planned | None, now: Planned | None) -> Difference:
    old = {} if before is None else {one.name: one.text for one in before[1].about}
    new = {} if now is None else {one.name: one.text for one in now[1].about}
    about = changes(old, new, {} if now is None else {one.name: one.change for one in now[1].about})
    if before is None:
        # It deletes nothing that was there under other rules.
        return Difference(against=against, state="new", about=changes({}, new))
    if now is None:
        return Difference(against=against, state="deleted", about=about)
    written = changes(settings(before[0]), settings(now[0]))
    nodes = changes(*({node.id: node.step for node in plan.nodes} for _, plan in (before, now)))
    same = not (about or written or nodes)
    return Difference(
        against=against, state="same" if same else "changed", about=about, settings=written, nodes=nodes
    )
