"""The runs of a job, where it keeps them: ``<state>/<job>/<run>/``, with the job's lock. One run that cannot
be read says nothing of the others."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

from runner.base.digest import digest
from runner.base.errors import HostError
from runner.base.sealed import Damaged, unseal
from runner.engine.checkpoint import STATE_SCHEMA_VERSION, RunRecord, RunState, parse_record
from runner.engine.unread import UnreadRun, unread
from runner.hosts.fencing import guarded
from runner.hosts.file_log import read_if_there
from runner.hosts.held_lock import HeldLock, Holder
from runner.hosts.host import Host
from runner.hosts.lock_file import read_lock
from runner.hosts.script import load
from runner.hosts.stray_processes import holder_at

LOCK = ".lock"

KEPT_RUNS = 20
"""Finished runs whose records stay, for `status` and for questions the week after."""

_RUN_RECORDS = load("runner/engine/scripts/run-records.sh")

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True)
class Runs:
    """Of one job, oldest first."""

    known: tuple[RunRecord, ...]
    unread: tuple[UnreadRun, ...]

    @property
    def ids(self) -> frozenset[str]:
        return frozenset((*(record.id for record in self.known), *(one.run for one in self.unread)))

    @property
    def unfinished(self) -> RunRecord | None:
        """The newest that can be resumed."""
        return next((record for record in reversed(self.known) if record.is_unfinished), None)


class JobState:
    """The runs of one job."""

    def __init__(
        self, host: Host, root: str, job: str, ready: Callable[[Host], None] = lambda host: None
    ) -> None:
        """`ready` raises if nothing may be made at `root` now."""
        self.host = host
        self._ready = ready
        self._held: HeldLock | None = None
        self.directory = posixpath.join(root, slug(job))

    @classmethod
    def at(cls, host: Host, directory: str) -> JobState:
        """Of the job that keeps its runs there."""
        state = cls(host, "", "")
        state.directory = directory
        return state

    def lock(self, holder: Holder, *, by_force: bool = False) -> HeldLock:
        """From now on nothing is written here but while the lock is held. Raises LockedError; see
        `HeldLock.take` for `by_force`."""
        self._ready(self.host)
        self.host.mkdir(self.directory, parents=True)
        lock = HeldLock(
            self.host, self._lock_path, holder, f"the job's state {self.directory} on {self.host.name}"
        )
        lock.take(by_force=by_force)
        self._held = lock
        return lock

    def hold(self) -> None:
        """Before a write. Raises LockedError if another has the lock by now."""
        if self._held is not None:
            self._held.hold()

    @property
    def _lock_path(self) -> str:
        return posixpath.join(self.directory, LOCK)

    def holder(self) -> str | None:
        """Who works on the job now, in words. Looking does not disturb them."""
        return holder_at(self.host, self._lock_path)

    def left_by(self) -> str | None:
        """The run whose process ended without giving the lock back, if nobody took it since."""
        text = read_lock(read_if_there(self.host, self._lock_path) or b"")
        return text.token.partition(":")[0] if text.holder else None

    def require_place(self) -> None:
        """For read-only commands: an empty directory is not believed of a disk that is not mounted. Raises
        what is wrong with the place."""
        if not self.host.exists(self.directory):
            self._ready(self.host)

    def runs(self) -> Runs:
        # Where each request takes a round trip, that of 20 files is felt.
        contents = None if self.host.local else self._archived()
        contents, unreadable = self._one_by_one() if contents is None else (contents, [])
        known = []
        for name, content in sorted(contents.items()):
            try:
                known.append(unseal(content, RunRecord, STATE_SCHEMA_VERSION))
            except Damaged as why:
                unreadable.append(unread(name, self._record_path(name), content, why))
        return Runs(
            tuple(sorted(known, key=lambda record: (record.started, record.id))),
            tuple(sorted(unreadable, key=lambda one: one.run)),
        )

    def _archived(self) -> dict[str, bytes] | None:
        """The content of each run's record, by one request. None unless all came without a word: what is
        wrong with which is found by asking for each."""
        done = self.host.run(_RUN_RECORDS.argv(self.directory), ok=None)
        if done.exit_code or done.stderr:
            return None
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:", errors="surrogateescape") as archive:
            for member in archive:
                name = posixpath.basename(posixpath.dirname(member.name))
                if is_run_id(name) and (content := archive.extractfile(member)) is not None:
                    found[name] = content.read()
        return found

    def _one_by_one(self) -> tuple[dict[str, bytes], list[UnreadRun]]:
        """As `_archived`, and the runs with a record that cannot be read."""
        found: dict[str, bytes] = {}
        unreadable = []
        for name in filter(is_run_id, self.host.listdir(self.directory)):
            path = self._record_path(name)
            try:
                content = read_if_there(self.host, path)
            except HostError as error:
                # A host that is away for the moment has not lost its records.
                if error.transient:
                    raise
                why = f"cannot be read: {error}"
                unreadable.append(UnreadRun(name, path, why, foreign=False, unfinished=None))
                continue
            if content is not None:
                found[name] = content
        return found, unreadable

    def _record_path(self, run: str) -> str:
        return posixpath.join(self.directory, run, "run.json")

    def open(self, run: str) -> RunState:
        return RunState(guarded(self.host, self.hold), posixpath.join(self.directory, run))

    def forget_old(self) -> frozenset[str]:
        """Removes all but the last finished runs, and those that died before they had a record. Returns the
        ids of those that stay."""
        self.hold()
        # A run whose record cannot be read has one: `ids` are of both.
        runs = self.runs()
        for name in self.host.listdir(self.directory):
            if is_run_id(name) and name not in runs.ids:
                self.host.remove(posixpath.join(self.directory, name), recursive=True)
        old = [record.id for record in runs.known if not record.is_unfinished][:-KEPT_RUNS]
        for run in old:
            self.hold()
            self.host.remove(posixpath.join(self.directory, run), recursive=True)
        return runs.ids.difference(old)


def slug(name: str) -> str:
    """A directory name for any job name; names that had to be changed get a digest, so that none meet."""
    kept = "".join(
        character if (character.isalnum() and character.isascii()) or character in "-_" else "-"
        for character in name
    )
    return name if kept == name and len(name) <= 60 else f"{kept[:50]}-{digest(name)[:8]}"


def is_run_id(name: str) -> bool:
    return _RUN_ID.fullmatch(name) is not None


def record_of(host: Host, root: str, run: str) -> RunRecord | None:
    """What any job with records below `root` says of that run. Raises StateError."""
    if not is_run_id(run) or not host.exists(root):
        return None
    found = host.run(("find", root, "-mindepth", "2", "-maxdepth", "2", "-name", run)).stdout.decode()
    for path in (posixpath.join(directory, "run.json") for directory in found.splitlines()):
        if (text := read_if_there(host, path)) is not None:
            return parse_record(RunRecord, path, text)
    return None
