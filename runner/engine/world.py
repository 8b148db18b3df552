"""What a run's steps may reach: hosts, sections, shared sessions, scratch space; made at first use, closed at
the end."""

from __future__ import annotations

import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runner.base.digest import Identities
from runner.base.errors import HostError, Interrupted, SendenseError, UsageError
from runner.base.units import MINUTE
from runner.base.waiting import Deadline
from runner.events.events import Bus, Event, Warned
from runner.hosts.connect import OpenHosts, connect
from runner.hosts.fencing import guarded
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.held_lock import HeldLock, Holder, holder_of
from runner.hosts.host import Host
from runner.hosts.remembering import remembering
from runner.hosts.spec import HostSpec, SshSpec
from runner.hosts.stray_processes import tidy
from runner.hosts.supervisor import mark_of
from runner.job.model import Job
from runner.job.nodes import NodeId
from runner.step.context import Answers, Context, Log, Run, Shares, Turns
from runner.step.section import Section

CLEANUP_TIMEOUT = 8 * MINUTE
"""Seconds for all that a run rolls back and releases after it was told to stop: less than the ten minutes
that the pipelines of `runner.cli.ci` leave it. The next run does the rest."""


T = TypeVar("T")


class World:
    """Use as a context manager: leaving it ends sessions and connections and removes the scratch space."""

    def __init__(
        self,
        job: Job,
        bus: Bus,
        stop: threading.Event,
        scratch: Path,
        open_hosts: OpenHosts | None = None,
    ) -> None:
        """`open_hosts`: what is opened there stays open."""
        self.job = job
        self._open_hosts = open_hosts
        self.run: Run | None = None
        """Which run it is, known once the state was read; no step acts before."""
        self.bus = bus
        self.stop = stop
        self.unwind: Callable[[], tuple[str, ...]] = tuple
        self.log: Callable[[str], Log] | None = None
        """Where the run keeps what only grows; a plan has no such place."""
        self.pictures: Path | None = None
        """Where it keeps pictures for reports."""
        self.guards: list[HeldLock] = []
        """Held before anything is written."""
        self.turns: Turns | None = None
        """Set before any step acts, see `Context.turns`."""
        self.shares: Shares | None = None
        """As `turns`; None where no host of the job has limits of that kind."""
        self.most_at_once = sys.maxsize
        """Nodes that may run at once, whatever the command line says: where a VM has more disks than a
        limit, they take turns."""
        self.execution = secrets.token_hex(4)
        self.oddities: dict[str, str] = {}
        """What was told of hosts that work all the same, by their names."""
        self._scratch = scratch
        self._mark = ""
        self._lock = threading.RLock()
        self._hosts: dict[str, Host] = {}
        self._shared: dict[object, _Slot] = {}
        self._stack = ExitStack()
        self._ended = False
        self._cleanup: Deadline | None = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended = True
        try:
            self._stack.close()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _close(self, what: str, close: Callable[[], object]) -> None:
        try:
            close()
        except Exception as error:  # noqa: BLE001  also a bug must not stand for the result of what was done before
            self._warn(what, f"could not be closed: {error}")

    def _warn(self, what: str, text: str) -> None:
        self.bus.emit(Warned(node=what, text=text))

    def _odd(self, host: str, text: str) -> None:
        self.oddities[host] = text
        self._warn(f"host {host}", text)

    def host(self, name: str) -> Host:
        """For work that ends with the run's stop."""
        return self.lasting_host(name).until(self.stop)

    def lasting_host(self, name: str) -> Host:
        """For what is done also once the run was told to stop: its records."""
        with self._lock:
            if name not in self._hosts:
                if self._ended:
                    raise Interrupted
                spec, odd = host_spec(self.job, name), partial(self._odd, name)
                if self._open_hosts is None:
                    host = connect(name, spec, odd)
                    self._stack.callback(self._close, f"host {name}", host.close)
                else:
                    host = self._open_hosts.host(name, spec, odd)
                host.mark = self._mark
                self._hosts[name] = host
            return self._hosts[name]

    def reached(self, name: str) -> Host:
        """The host, once a command ran there. Raises what kept it, for the rest of this execution and without
        asking again: who looks at many things of one host waits once."""
        return self._reached(name, self.stop)

    def _reached(self, name: str, stop: threading.Event) -> Host:
        host = self.lasting_host(name).until(stop)
        if not host.local:
            found = self.once(("reached", name), partial(_try, host))
            if found.failure:
                error = HostError(found.failure, transient=found.passing)
                error.shared = f"host {name}"
                raise error
        return host

    def claim(self, run: str) -> Holder:
        """From now on what is started on any host is marked as this execution of `run`; returns it as a
        holder of locks."""
        with self._lock:
            self._mark = mark_of(run, self.execution)
            for host in self._hosts.values():
                host.mark = self._mark
        return holder_of(run, self.job.name, self.execution)

    def hold(self) -> None:
        """Before a write. Raises LockedError if one of the run's locks is another's by now."""
        for guard in tuple(self.guards):
            guard.hold()

    def _acting_host(self, name: str) -> Host:
        """For steps that act: what earlier executions of the run left there is ended before its first use.
        A read-only command has claimed nothing: the run may be alive."""
        host = self.lasting_host(name)
        if not self._mark:
            return host
        run = self.run
        assert run is not None, "a step acts for a run"

        self.once(("tidied", name, run.id), lambda: tidy(host, run.id, self.execution))
        return guarded(host, self.hold)

    def section(self, section: str, name: str) -> Section:
        entries = self.job.sections.get(section, {})
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise UsageError(f"the job has no {section} entry '{name}'; it has {known}")
        return entries[name]

    def shared(self, key: object, factory: Callable[[], AbstractContextManager[Any]]) -> Any:
        """One object a run. Other keys can be made meanwhile: a login may take its time.

        Raises Interrupted once the world has ended, in a thread that a stop left behind: what is made only
        then is closed at once."""
        with self._lock:
            slot = self._shared.setdefault(key, _Slot())
        with slot.making:
            if not slot.is_made:
                if self._ended:
                    raise Interrupted
                manager = factory()
                value = manager.__enter__()
                close = partial(manager.__exit__, None, None, None)
                if not self._keep(key, close):
                    close()
                    raise Interrupted
                slot.value, slot.is_made = value, True
            return slot.value

    def _keep(self, key: object, close: Callable[[], object]) -> bool:
        """Has it closed when the world ends; False if that was before."""
        with self._lock:
            if not self._ended:
                self._stack.callback(self._close, _called(key), close)
            return not self._ended

    def once(self, key: object, make: Callable[[], T]) -> T:
        """As `shared`, of what needs no closing."""
        made: T = self.shared(key, lambda: nullcontext(make()))
        return made

    def identities(self) -> Identities:
        return Identities(lambda name: host_identity(host_spec(self.job, name)), self.section)

    def unheard(
        self,
        node: NodeId | str,
        emit: Callable[[Event], None] | None = None,
        *,
        cleanup: bool = False,
        answers: Answers | None = None,
        until: threading.Event | None = None,
    ) -> Context:
        """For looking beforehand, or in a `cleanup`: what happens is told to nobody, or to `emit`, and
        nothing is remembered for the run. `answers`: what one look has learnt of hosts so far; `until`: what
        ends it instead of the run's stop."""
        assert self.run is not None, "a step looks for a run"
        stop = until or (self.stop_of_cleanup() if cleanup else self.stop)

        def reached(name: str) -> Host:
            host = self._reached(name, stop)
            return host if answers is None else remembering(host, answers)

        return self._context(
            node,
            replace(self.run, tools={}),
            emit or _unheard,
            None,
            None,
            host=reached,
            stop=stop,
            answers=answers,
        )

    def context(
        self,
        node: NodeId | str,
        previous_failure: Mapping[str, object] | None = None,
        *,
        cleanup: bool = False,
    ) -> Context:
        """`cleanup`: for what is rolled back or released, also once the run was told to stop."""
        assert self.run is not None, "a step acts for a run"
        stop = self.stop_of_cleanup() if cleanup else self.stop
        return self._context(
            node, self.run, self.bus.emit, self.log, previous_failure, host=self._acting_host, stop=stop
        )

    def stop_of_cleanup(self) -> threading.Event:
        """The run's own until it came; all that begins after it has `CLEANUP_TIMEOUT` together."""
        if not self.stop.is_set():
            return self.stop
        with self._lock:
            self._cleanup = self._cleanup or Deadline(CLEANUP_TIMEOUT)
            return self._cleanup

    def _context(
        self,
        node: NodeId | str,
        run: Run,
        emit: Callable[[Event], None],
        log: Callable[[str], Log] | None,
        previous_failure: Mapping[str, object] | None,
        *,
        host: Callable[[str], Host],
        stop: threading.Event,
        answers: Answers | None = None,
    ) -> Context:
        scratch = self._scratch / (node.file_name if isinstance(node, NodeId) else str(node))
        with translate_os_errors(THIS_MACHINE, str(scratch)):
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Context(
            run=run,
            node=str(node),
            emit=emit,
            host=host,
            section=self.section,
            shared=self.shared,
            scratch=scratch,
            stop=stop,
            unwind=lambda: self.unwind(),
            log=log,
            previous_failure=previous_failure,
            guards=self.guards,
            answers=answers,
            turns=self.turns,
            pictures=self.pictures,
            limits=self.job.room_limits,
            shares=self.shares,
        )


@dataclass
class _Slot:
    """Of what is shared."""

    making: threading.Lock = field(default_factory=threading.Lock)
    is_made: bool = False
    value: Any = None


@dataclass(frozen=True)
class _Reached:
    """`failure`: why it cannot be reached; empty if it can. `passing`: only at the moment."""

    failure: str
    passing: bool = False


def _try(host: Host) -> _Reached:
    try:
        host.run(("true",))
    except Interrupted:
        raise
    except SendenseError as error:
        return _Reached(error.message, error.transient)
    return _Reached("")


def _called(key: object) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _unheard(event: Event) -> None:
    return None


def host_spec(job: Job, name: str) -> HostSpec:
    if name in job.hosts:
        return job.hosts[name]
    if name == "local":
        return "local"
    raise UsageError(f"the job has no host '{name}'; it has {', '.join(sorted({*job.hosts, 'local'}))}")


def host_identity(spec: HostSpec) -> str:
    return spec.identity_value() if isinstance(spec, SshSpec) else "local"
