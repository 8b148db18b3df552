"""What a run remembers: ``<state>/<job>/<run>/run.json`` and ``nodes/<node>.json``, each replaced whole.

Everything goes through a Host, so that the state may be on another machine. A file that is damaged or from a
newer version is refused with a sentence, never guessed at: each carries a checksum.
"""

from __future__ import annotations

import posixpath
import threading
from datetime import UTC, datetime
from typing import Literal, TypeVar

from pydantic import JsonValue

from runner.base.errors import StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.engine.unread import UNFINISHED
from runner.hosts.file_log import FileLog, read_if_there
from runner.hosts.host import Host, remove_temporaries
from runner.job.nodes import NodeId
from runner.job.written_job import WrittenJob

STATE_SCHEMA_VERSION = 3
"""1: a run did not tell which of its variables its user wrote; 2: nor of which set it is."""

_JOB = "job.json"


class RunRecord(Model):
    """`phase`: working; unwinding (all work is done, only the cleanup is left); finished; abandoned."""

    schema_version: int = STATE_SCHEMA_VERSION
    id: str
    job: str
    set: str = ""
    """The name of the set whose child its job is; empty for another job."""
    item: str = ""
    """The id of that child's item."""
    order: str = ""
    """The id of the order that began it; empty for a run that nobody placed."""
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

    @property
    def item_name(self) -> str:
        """What its child's item was called then, as `slug` leaves it."""
        return self.job.rpartition("/")[2].removesuffix(f"-{self.item}")


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
    """How many times it acted; what depends on an earlier act is stale."""
    digest: str
    fields: dict[str, str]
    """Input name → digest, to say which one changed."""
    inputs: dict[str, JsonValue]
    state: Literal["intent", "done", "failed", "forgotten"]
    out: dict[str, JsonValue] | None = None
    error: str | None = None
    details: dict[str, JsonValue] = {}
    tools: dict[str, str] = {}
    """What the run had seen of `runner.step.context.Run.tools` by then."""
    at: datetime

    @property
    def node(self) -> NodeId:
        return NodeId(self.step_id, self.key)


RecordT = TypeVar("RecordT", RunRecord, NodeRecord)


class ForeignStateError(StateError):
    """A record is whole, and of another version of this program."""


class RunState:
    """The records of one run."""

    def __init__(self, host: Host, directory: str) -> None:
        self.host = host
        self.directory = directory
        self._nodes: dict[NodeId, NodeRecord] | None = None
        self._logs: dict[str, FileLog] = {}
        self._is_new = False
        """It was created by this object, and has nothing but what that wrote."""
        self._lock = threading.Lock()

    def create(self, record: RunRecord) -> None:
        folders = (posixpath.join(self.directory, name) for name in ("nodes", "ledger"))
        self.host.mkdir(self.directory, *folders, parents=True)
        self.save(record)
        self._nodes, self._is_new = {}, True

    def save_job(self, job: WrittenJob) -> None:
        """As the run works on it: its file may be another, or gone, when somebody asks what the run
        holds."""
        self.host.write(posixpath.join(self.directory, _JOB), seal(job.to_json_value()))

    def job(self) -> WrittenJob | None:
        """None for a run of an earlier version. Raises StateError."""
        path = posixpath.join(self.directory, _JOB)
        if (content := read_if_there(self.host, path)) is None:
            return None
        try:
            return unseal(content, WrittenJob, 1)
        except Damaged as error:
            raise error.error(f"the record {path}") from error

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
                    record = parse_record(NodeRecord, path, text)
                    self._nodes[record.node] = record
        return self._nodes

    def tools(self) -> dict[str, str]:
        """The versions that the run saw, the latest of each. Raises StateError."""
        found: dict[str, str] = {}
        for record in sorted(self.nodes().values(), key=lambda record: record.at):
            found |= record.tools
        return found

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
                path = posixpath.join(self.directory, "ledger", name)
                self._logs[name] = FileLog(self.host, path, new=self._is_new)
            return self._logs[name]

    def _path(self, node: NodeId) -> str:
        return posixpath.join(self.directory, "nodes", node.file_name + ".json")


def _dump(record: Model) -> bytes:
    return seal(record.to_json_value())


def parse_record(kind: type[RecordT], path: str, text: bytes) -> RecordT:
    """Raises StateError."""
    try:
        return unseal(text, kind, STATE_SCHEMA_VERSION)
    except Damaged as error:
        kind_of_error = ForeignStateError if error.foreign else StateError
        raise kind_of_error(
            f"the record {path} {error}; move its run's directory away to start a new run"
        ) from error


def now() -> datetime:
    return datetime.now(UTC)
