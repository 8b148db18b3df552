"""What a step may use while it works: hosts, entries of sections, the stop, logs, progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from runner.base.errors import Interrupted, SendenseError
from runner.events.events import Event, NodeProgress, ToolSeen, Warned
from runner.hosts import files
from runner.hosts.free_memory import require_memory
from runner.hosts.held_lock import HeldLock
from runner.hosts.host import Child, Host
from runner.hosts.spec import RoomLimits
from runner.step.items import Item

T = TypeVar("T")

Answers = dict[object, Any]
"""What one look has learnt of the world so far, by what was asked."""


@dataclass(frozen=True)
class Run:
    """One execution of a job. `id` reads 20261123T170000Z-3f9a0c1e."""

    id: str
    job: str
    job_digest: str
    git_commit: str | None
    tools: dict[str, str] = field(default_factory=dict, hash=False)
    """Versions of what it depends on, by name (``qemu on store``), as far as they were seen. Each record of a
    node holds them: a resumed run did not see those of its earlier executions."""
    execution: str = ""
    """Which process works on the run: at a resume it is another."""
    break_locks: bool = False
    """Whether to take a lock that this run needs from the run that holds it."""
    discarded: frozenset[str] = frozenset()
    """The ids of runs that are discarded before this one starts: for a plan, which still sees what they
    hold."""


class Log(Protocol):
    """A file that only grows; every append is durable when it returns."""

    path: str

    def read(self) -> bytes | None:
        """None if there is none."""

    def pieces(self) -> Iterator[bytes]:
        """Of what it holds, in order; none if there is none."""

    def append(self, content: bytes) -> None: ...

    def cut(self, length: int) -> None:
        """Keeps the first `length` bytes."""

    def remove(self) -> None:
        """Absent is fine."""


class Turns(Protocol):
    """The limits of the job's entries and hosts, for a run that nobody admitted: it waits among all that
    share them."""

    def of(self, ctx: Context, item: Item, age: float) -> AbstractContextManager[None]:
        """Its turn, from when all that work on `item` needs is free to the end of the block; `age`: seconds
        since its newest good point, infinite where there is none. Raises Interrupted, and SendenseError
        where its turn cannot come."""

    def briefly(self, ctx: Context, item: Item, reads: Collection[str]) -> AbstractContextManager[None]:
        """As `of`, for one of several nodes of the run that have turns of their own, one after the other.
        `reads`: names of entries that it only reads, whose room it does not need."""


class Shares(Protocol):
    """Memory and temporary disk of hosts, of which their `limits` grant so much to all runs together."""

    def take(self, ctx: Context, host: str, *, memory: int, disk: int) -> AbstractContextManager[None]:
        """See `Context.taking`."""


class Context:
    """What a step may use. One for each node; made by the executor and the planner."""

    def __init__(
        self,
        *,
        run: Run,
        node: str,
        emit: Callable[[Event], None],
        host: Callable[[str], Host],
        section: Callable[[str, str], Any],
        shared: Callable[[object, Callable[[], AbstractContextManager[Any]]], Any],
        scratch: Path,
        stop: threading.Event,
        unwind: Callable[[], tuple[str, ...]],
        log: Callable[[str], Log] | None = None,
        previous_failure: Mapping[str, object] | None = None,
        guards: list[HeldLock] | None = None,
        answers: Answers | None = None,
        turns: Turns | None = None,
        pictures: Path | None = None,
        limits: Callable[[str], RoomLimits] = lambda host: RoomLimits(),
        shares: Shares | None = None,
    ) -> None:
        self.run = run
        self.node = node
        self.emit = emit
        self.host: Callable[[str], Host] = lambda name: host(name).until(stop)
        """The host of that name, for work that ends with `stop`; raises UsageError for a name the job does
        not have."""
        self.section = section
        """``section("repositories", "main")``: that entry of the job's section, as its model."""
        self.shared = shared
        """``shared(key, factory)``: one object for the whole run, made at first use, closed at its end
        (sessions). What needs no closing is for `once`."""
        self.scratch = scratch
        """A local 0700 directory of this node, removed when the run ends."""
        self.stop = stop
        """Set when the work that this context is for is to end, be it the run's or cleaning up."""
        self.unwind = unwind
        """Releases the JOB nodes that are due, for the step that ends a job; returns what was released."""
        self._log = log
        self.previous_failure = previous_failure
        """`details` of the error with which this node failed before in this run."""
        self.closing = ExitStack()
        """PROCESS steps register here, before each act, how to undo it; closed in reverse. A start that
        fails half-way then leaves as little as one that ended."""
        self.children: list[Child] = []
        self.explains: list[Callable[[SendenseError], SendenseError]] = []
        """What a PROCESS node knows of the failure of a node that depends on it: each gets the error and
        returns it, or one that says more. Called while the processes are as the failure left them."""
        self.guards = guards if guards is not None else []
        """The locks without which nothing of this run is written on any host; a guard adds its own."""
        self.answers = answers
        """Of a look ahead, in which nothing is changed: what all its nodes have asked so far, and need not
        ask again. None for a step that acts."""
        self.turns = turns
        """None where the run has no limits, or was admitted by who placed it."""
        self._pictures = pictures
        self._limits = limits
        self._shares = shares
        self.advanced = threading.Event()
        """Set by a step once a part of its work is durable: transient errors are counted from there."""

    def once(self, key: object, make: Callable[[], T]) -> T:
        """What `make` returns: called by the first node of the run that asks for `key`, the same for all
        others."""
        made: T = self.shared(key, lambda: nullcontext(make()))
        return made

    def looked(self, key: object, make: Callable[[], T]) -> T:
        """As `once`, but forgotten with a look ahead: a plan of thousands keeps nothing of each."""
        if self.answers is None:
            return self.once(key, make)
        if key not in self.answers:
            self.answers[key] = make()
        made: T = self.answers[key]
        return made

    def log(self, name: str) -> Log:
        """A file of this run that only grows, beside its records: it outlives this process and is there at a
        resume."""
        assert self._log is not None, "this context is not of a run"
        return self._log(name)

    def picture(self, png: bytes) -> str:
        """Keeps a picture for reports, one of each node, beside the run's events on this machine, and returns
        its path. It stays as long as they do. Raises SendenseError where it cannot be written."""
        assert self._pictures is not None, "this context is not of a run"
        path = self._pictures / f"{self.scratch.name}.png"
        with files.translate_os_errors(files.THIS_MACHINE, str(path)):
            files.make_directory(str(path.parent), parents=True)
            files.write(str(path), png)
        return str(path)

    def start(self, host: Host, argv: Iterable[str]) -> Child:
        """A process on `host` that ends with this PROCESS node; the node is dead once such a child is."""
        child = host.popen(tuple(argv))
        self.closing.callback(child.stop)
        self.children.append(child)
        return child

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is started within ends with the block, though the node continues."""
        outer, children = self.closing, list(self.children)
        self.closing = ExitStack()
        try:
            with self.closing:
                yield
        finally:
            self.closing, self.children[:] = outer, children

    def shortfall(self, host: str, *, memory: int = 0, disk: int = 0) -> str:
        """Why the limits of `host` never grant so many bytes, in a sentence; empty where they may. For a look
        ahead."""
        return self._limits(host).shortfall(host, memory=memory, disk=disk)

    @contextmanager
    def taking(self, host: str, *, memory: int = 0, disk: int = 0) -> Iterator[None]:
        """For the block, so many bytes of the memory and of the temporary disk of `host`: waits until its
        limits grant them among all runs, and then looks whether the memory is free at all. Whether the disk
        is, `Host.tempdir` says. Raises SendenseError if they never grant it, NoMemoryError, Interrupted."""
        if lack := self.shortfall(host, memory=memory, disk=disk):
            raise SendenseError(lack)
        shares = self._shares
        with nullcontext() if shares is None else shares.take(self, host, memory=memory, disk=disk):
            require_memory(self.host(host), memory)
            yield

    def hold(self) -> None:
        """Before what must not be done without the run's locks. Raises LockedError. What changes a host does
        it by itself."""
        for guard in tuple(self.guards):
            guard.hold()

    def check_stop(self) -> None:
        """Raises Interrupted once the run was told to stop."""
        if self.stop.is_set():
            raise Interrupted()

    def progress(
        self,
        label: str,
        phase: str,
        done: int,
        total: int | None,
        *,
        data: int = 0,
        zero: int = 0,
        skipped: int = 0,
        read: int | None = None,
        seconds: float | None = None,
        noun: str = "bytes",
    ) -> None:
        """See `NodeProgress`."""
        self.emit(
            NodeProgress(
                node=self.node,
                label=label,
                phase=phase,
                done=done,
                total=total,
                data=data,
                zero=zero,
                skipped=skipped,
                read=read,
                seconds=seconds,
                noun=noun,
            )
        )

    def uses(self, tool: str, version: str) -> None:
        """Tells the report and the manifest which version of a tool had a part in this run; as often as one
        likes."""
        if self.run.tools.get(tool) == version:
            return
        self.run.tools[tool] = version
        self.emit(ToolSeen(tool=tool, version=version))

    def warn(self, text: str) -> None:
        self.emit(Warned(node=self.node, text=text))
