"""What a run remembers: ``<state>/<job>/<run>/run.json`` and ``nodes/<node>.json``, each replaced whole.

Everything goes through a Host, so that the state may be on another machine. A file that is damaged or from a
newer version is refused with a sentence, never guessed at: each carries a checksum. One run that cannot be
read says nothing of the job's others.
"""

from __future__ import annotations

import posixpath
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from pydantic import JsonValue

from runner.base.digest import digest
from runner.base.errors import HostError, StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.engine.unread import UNFINISHED, UnreadRun, unread
from runner.hosts.fencing import guarded
from runner.hosts.file_log import FileLog, read_if_there
from runner.hosts.held_lock import HeldLock, Holder
from runner.hosts.host import Host, remove_temporaries
from runner.hosts.lock_file import read_lock
from runner.hosts.stray_processes import holder_at
from runner.job.nodes import NodeId

STATE_SCHEMA_VERSION = 2
"""1: a run did not tell which of its variables its user wrote."""
LOCK = ".lock"
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
KEPT_RUNS = 20
"""Finished runs whose records stay, for `status` and for questions the week after."""


class RunRecord(Model):
    """`phase`: working; unwinding (all work is done, only the cleanup is left); finished; abandoned."""

    schema_version: int = STATE_SCHEMA_VERSION
    id: str
    job: str
    vars: dict[str, JsonValue]
    """All of them, also the defaults of its template."""
    given: tuple[str, ...] = ()
    """The names of those that its user wrote."""
    job_file: str
    job_digest: str
    git_commit: str | None
    started: datetime
    phase: Literal["working", "unwinding", "finished", "abandoned"]
    ended: datetime | None = None
    alarms: tuple[str, ...] = ()
    """Of a finished run: what it found that somebody must look at, a sentence each."""

    @property
    def is_unfinished(self) -> bool:
        return self.phase in UNFINISHED


class NodeRecord(Model):
    """`state`: intent (written before the act), done, failed, forgotten (must run again)."""

    schema_version: int = STATE_SCHEMA_VERSION
    step_id: str
    key: tuple[int | str, ...] = ()
    step: str
    """The kind of step: create-qcow2."""
    step_version: int
    sequence: int
    """Order in which the nodes of this run first acted; undone in reverse."""
    acts: int
    """How many times it acted; what stands on an earlier act is stale."""
    digest: str
    fields: dict[str, str]
    """Input name → digest, to say which one changed."""
    inputs: dict[str, JsonValue]
    state: Literal["intent", "done", "failed", "forgotten"]
    out: dict[str, JsonValue] | None = None
    error: str | None = None
    details: dict[str, JsonValue] = {}
    at: datetime

    @property
    def node(self) -> NodeId:
        return NodeId(self.step_id, self.key)


RecordT = TypeVar("RecordT", RunRecord, NodeRecord)


class ForeignStateError(StateError):
    """A record is whole, and of another version of this program."""


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


def slug(name: str) -> str:
    """A directory name for any job name; names that had to be changed get a digest, so that none meet."""
    kept = "".join(
        character if (character.isalnum() and character.isascii()) or character in "-_" else "-"
        for character in name
    )
    return name if kept == name and len(name) <= 60 else f"{kept[:50]}-{digest(name)[:8]}"


def is_run_id(name: str) -> bool:
    return _RUN_ID.fullmatch(name) is not None


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
        known, unreadable = [], []
        for name in filter(is_run_id, self.host.listdir(self.directory)):
            path = posixpath.join(self.directory, name, "run.json")
            try:
                text = read_if_there(self.host, path)
            except HostError as error:
                # A host that is away for the moment has not lost its records.
                if error.transient:
                    raise
                unreadable.append(
                    UnreadRun(name, path, f"cannot be read: {error}", foreign=False, unfinished=None)
                )
                continue
            if text is None:
                continue
            try:
                known.append(unseal(text, RunRecord, STATE_SCHEMA_VERSION))
            except Damaged as why:
                unreadable.append(unread(name, path, text, why))
        return Runs(tuple(sorted(known, key=lambda record: (record.started, record.id))), tuple(unreadable))

    def open(self, run: str) -> RunState:
        return RunState(guarded(self.host, self.hold), posixpath.join(self.directory, run))

    def forget_old(self) -> None:
        """Removes all but the last finished runs, and those that died before they had a record."""
        self.hold()
        # A run whose record cannot be read has one: `ids` are of both.
        runs = self.runs()
        for name in self.host.listdir(self.directory):
            if is_run_id(name) and name not in runs.ids:
                self.host.remove(posixpath.join(self.directory, name), recursive=True)
        ended = [record for record in runs.known if not record.is_unfinished]
        for record in ended[:-KEPT_RUNS]:
            self.hold()
            self.host.remove(posixpath.join(self.directory, record.id), recursive=True)


def record_of(host: Host, root: str, run: str) -> RunRecord | None:
    """What any job with records below `root` says of that run. Raises StateError."""
    if not is_run_id(run) or not host.exists(root):
        return None
    found = host.run(("find", root, "-mindepth", "2", "-maxdepth", "2", "-name", run)).stdout.decode()
    for path in (posixpath.join(directory, "run.json") for directory in found.splitlines()):
        if (text := read_if_there(host, path)) is not None:
            return _parse(RunRecord, path, text)
    return None


class RunState:
    """The records of one run."""

    def __init__(self, host: Host, directory: str) -> None:
        self.host = host
        self.directory = directory
        self._nodes: dict[NodeId, NodeRecord] | None = None
        self._logs: dict[str, FileLog] = {}
        self._lock = threading.Lock()

    def create(self, record: RunRecord) -> None:
        self.host.mkdir(self.directory, parents=True)
        for name in ("nodes", "ledger"):
            self.host.mkdir(posixpath.join(self.directory, name))
        self.save(record)

    def tidy(self) -> None:
        """The caller resumes the run and has its lock."""
        remove_temporaries(
            self.host, self.directory, *(posixpath.join(self.directory, name) for name in ("nodes", "ledger"))
        )

    def save(self, record: RunRecord) -> None:
        self.host.write(posixpath.join(self.directory, "run.json"), _dump(record))

    def nodes(self) -> dict[NodeId, NodeRecord]:
        """A copy. Read once; after that this object is the only writer. Raises StateError."""
        with self._lock:
            return dict(self._known())

    def _known(self) -> dict[NodeId, NodeRecord]:
        if self._nodes is None:
            folder = posixpath.join(self.directory, "nodes")
            self._nodes = {}
            for name in self.host.listdir(folder):
                path = posixpath.join(folder, name)
                if name.endswith(".json") and (text := read_if_there(self.host, path)) is not None:
                    record = _parse(NodeRecord, path, text)
                    self._nodes[record.node] = record
        return self._nodes

    def put(self, record: NodeRecord) -> None:
        # On the disk first: what is not there did not happen.
        self.host.write(self._path(record.node), _dump(record))
        with self._lock:
            self._known()[record.node] = record

    def drop(self, node: NodeId) -> None:
        self.host.remove(self._path(node))
        with self._lock:
            self._known().pop(node, None)

    def log(self, name: str) -> FileLog:
        """``<run>/ledger/<name>``: the same object each time, since it keeps the appends of several threads
        apart."""
        with self._lock:
            if name not in self._logs:
                self._logs[name] = FileLog(self.host, posixpath.join(self.directory, "ledger", name))
            return self._logs[name]

    def _path(self, node: NodeId) -> str:
        return posixpath.join(self.directory, "nodes", node.file_name + ".json")


def _dump(record: Model) -> bytes:
    return seal(record.to_json_value())


def _parse(kind: type[RecordT], path: str, text: bytes) -> RecordT:
    try:
        return unseal(text, kind, STATE_SCHEMA_VERSION)
    except Damaged as error:
        kind_of_error = ForeignStateError if error.foreign else StateError
        raise kind_of_error(
            f"the record {path} {error}; move its run's directory away to start a new run"
        ) from error


def now() -> datetime:
    return datetime.now(UTC)
