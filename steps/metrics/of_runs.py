"""The metrics of `sendense run`: of the VMs that it backed up, or was to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.app.metrics import LastRun, Ran
from runner.events.events import Event
from runner.hosts.connect import OpenHosts
from runner.job.model import Job
from runner.step.registry import Registry
from steps.coverage.jobs import BackupJob, backup_job
from steps.coverage.of_job import newest_by_uuid, of_named
from steps.coverage.protection import Protection, Protections
from steps.coverage.repositories import Contexts, Repositories
from steps.metrics.of_vms import Drills, Points, add_free, add_points
from steps.metrics.textfile import Metrics

PREFIX = "sendense_run"


@dataclass(frozen=True)
class _Backup:
    """One VM that was to be backed up."""

    job: Job
    vm: str
    uuid: str
    last: LastRun | None
    points: Protection | None
    is_known: bool
    """Its repositories could be read: else to say that there is no point would be a guess."""


def write(ran: Ran, file: Path, listener: Callable[[Event], None], hosts: OpenHosts | None = None) -> None:
    """Raises SendenseError."""
    registry = Registry.installed()
    jobs = [one for job in ran.jobs if (one := backup_job(job, registry)) is not None]
    metrics = Metrics(PREFIX)
    with Contexts(listener, hosts) as contexts:
        repositories = Repositories([one.job for one in jobs])
        found = repositories.read(contexts)
    for backup in _backups(jobs, ran, repositories, found):
        _add(metrics, backup)
    names = ",".join(job.name for job in ran.jobs)
    metrics.add("waiting", "Jobs and VMs that were to run and did not begin.", ran.waiting, job=names)
    metrics.add("timestamp_seconds", "When this command ended.", time.time(), job=names)
    unread = "Repositories that could not be read: of their VMs no point is known."
    metrics.add("repositories_unread", unread, len(found.unread), job=names)
    add_free(metrics, found.free, job=names)
    metrics.write(file)


def _backups(
    jobs: list[BackupJob], ran: Ran, repositories: Repositories, found: Protections
) -> Iterator[_Backup]:
    last: dict[str, list[LastRun]] = {}
    for run in ran.last:
        last.setdefault(run.file, []).append(run)
    for one in jobs:
        names = {repositories.called(one.job, name) for name in one.repositories}
        own = [points for points in found.all if points.repository in names]
        known = not names & found.unread.keys()
        if one.job.select is not None:
            yield from _of_set(one.job, [run for run in last.get(one.job.file, ()) if run.item], own, known)
            continue
        for named in one.named:
            meant = of_named(one.name, named.vm, own)
            runs = last.get(one.job.file)
            vm, uuid = (named.vm, "") if meant is None else (meant.name, meant.instance_uuid)
            yield _Backup(one.job, vm, uuid, runs[-1] if runs else None, meant, known)


def _of_set(job: Job, runs: Sequence[LastRun], own: Sequence[Protection], known: bool) -> Iterator[_Backup]:
    newest = newest_by_uuid(own)
    for run in runs:
        yield _Backup(job, run.name, run.item, run, newest.get(run.item.lower()), known)
    if runs:
        return
    # A set that could not select must not make its VMs vanish, and the alerts of their ages with them.
    for points in newest.values():
        if points.job.startswith(f"{job.name}/"):
            yield _Backup(job, points.name, points.instance_uuid, None, points, known)


def _add(metrics: Metrics, backup: _Backup) -> None:
    points = backup.points
    labels = {
        "vm": backup.vm,
        "uuid": backup.uuid,
        "job": backup.job.name,
        "repository": "" if points is None else points.repository,
    }
    good = None if points is None else points.newest_good
    found = Points(
        moment=None if good is None else good.moment,
        read=None if good is None else good.read,
        stored=None if good is None else good.stored,
        seconds=None if good is None else good.seconds,
        rpo=backup.job.rpo,
        drills=Drills() if points is None else _drills(points),
    )
    if backup.is_known:
        add_points(metrics, found, **labels)
    if (last := backup.last) is not None:
        about = "The exit code of the last run; 0: done."
        metrics.add("last_exit_code", about, last.exit_code, **labels)
        about = "How long it waited for its turn: for a limit, or a free process."
        metrics.add("waited_seconds", about, last.waited, **labels)
        about = "What the last run still holds: snapshots, unfinished points."
        metrics.add("held", about, last.held, **labels)


def _drills(points: Protection) -> Drills:
    verdict = None if points.drill is None else points.drill.verdict
    return Drills(points.drill_passed, verdict, is_known=not points.drills_unread)
