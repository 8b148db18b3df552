"""What is remembered of all jobs that keep their records in one place, by one request, however many they are:
a set of thousands of children has a directory for each."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.base.sealed import Damaged, unseal
from runner.engine.checkpoint import STATE_SCHEMA_VERSION, RunRecord
from runner.engine.job_state import LOCK, JobState, Runs, is_run_id
from runner.engine.unread import unread
from runner.hosts.file_log import read_if_there
from runner.hosts.host import Host
from runner.hosts.lock_file import LockText, read_lock
from runner.hosts.script import load
from runner.hosts.state_place import StatePlace
from runner.hosts.stray_processes import is_alive

SET = "set.json"
"""What a set chose, in its directory: see `runner.sets.set_record`."""

TIMEOUT = 300.0
"""Seconds: a find over 200,000 runs on disks that are busy with a night."""

_PLACE_RECORDS = load("runner/engine/scripts/place-records.sh")

_ATTEMPTS = 3
"""A record that is replaced while it is read is read again with all others."""


@dataclass(frozen=True)
class JobRecords:
    """Of one job. `runs`: its newest one, and all that may be unfinished."""

    directory: str
    runs: Runs
    lock: LockText
    set: bytes | None = None
    """The content of `SET`."""

    @property
    def newest(self) -> RunRecord | None:
        return self.runs.known[-1] if self.runs.known else None

    @property
    def unfinished(self) -> tuple[RunRecord, ...]:
        return tuple(record for record in self.runs.known if record.is_unfinished)

    def holder(self, host: Host) -> str | None:
        """Who works on the job now, in words; a kill leaves its name in the lock."""
        lock = self.lock
        return lock.holder if lock.holder and lock.process and is_alive(host, lock.process) else None


def all_records(host: Host, place: StatePlace) -> dict[str, JobRecords]:
    """By the name of the job's directory. Raises what is wrong with the place: an empty directory is not
    believed of a disk that is not mounted."""
    if not host.exists(place.path):
        place.ready(host)
        return {}
    contents = _archived(host, place.path)
    if contents is None:
        return dict(_one_by_one(host, place.path))
    return {
        name: _of_job(posixpath.join(place.path, name), files) for name, files in sorted(contents.items())
    }


Files = Mapping[str, bytes]
"""Of one job, by their paths below its directory."""


def _of_job(directory: str, files: Files) -> JobRecords:
    known, unreadable = [], []
    for path, content in files.items():
        if run := posixpath.dirname(path):
            try:
                known.append(unseal(content, RunRecord, STATE_SCHEMA_VERSION))
            except Damaged as why:
                unreadable.append(unread(run, posixpath.join(directory, path), content, why))
    runs = Runs(tuple(sorted(known, key=lambda record: (record.started, record.id))), tuple(unreadable))
    return JobRecords(directory, runs, read_lock(files.get(LOCK, b"")), files.get(SET))


def _archived(host: Host, root: str) -> dict[str, dict[str, bytes]] | None:
    """None unless all came without a word: what is wrong with which is found by asking for each."""
    for _ in range(_ATTEMPTS):
        done = host.run(_PLACE_RECORDS.argv(root), ok=None, timeout=TIMEOUT)
        if not done.exit_code and not done.stderr:
            return _unpacked(done.stdout)
    return None


def _unpacked(archive: bytes) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", errors="surrogateescape") as members:
        for member in members:
            job, _, path = posixpath.normpath(member.name).partition("/")
            run = posixpath.dirname(path)
            if (content := members.extractfile(member)) is not None and (not run or is_run_id(run)):
                found.setdefault(job, {})[path] = content.read()
    return found


def _one_by_one(host: Host, root: str) -> Iterator[tuple[str, JobRecords]]:
    found = host.run(("find", root, "-mindepth", "1", "-maxdepth", "1", "-type", "d")).stdout
    for directory in found.decode(errors="surrogateescape").splitlines():
        lock, chosen = (read_if_there(host, posixpath.join(directory, name)) for name in (LOCK, SET))
        name = posixpath.basename(directory)
        yield name, JobRecords(directory, JobState.at(host, directory).runs(), read_lock(lock or b""), chosen)
