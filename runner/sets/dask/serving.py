"""The two processes of a cluster that stay: its scheduler, and the workers on the machines that run children.

Neither opens any port but its own TLS one, on the one address that it is told."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from distributed import Scheduler, Worker, WorkerPlugin
from pydantic import JsonValue, ValidationError

from runner.base.errors import SendenseError
from runner.base.waiting import LOOK
from runner.job.fleet import DaskFleet
from runner.sets.child_process import ChildProcess
from runner.sets.dask.children import Children, Start
from runner.sets.dask.cluster import ClusterError, client_of, configure, require_safe, security_of, sentence
from runner.sets.dask.messages import Question

PLUGIN = "sendense"

CLOSES = 300.0
"""Seconds that children have to stop in order: what they hold is released on hosts that may be slow."""

TOLD = 3.0
"""Seconds in which a controller, which asks each second, hears of the last that ended."""

Say = Callable[[str], None]
"""A line for who reads the journal of the process."""


class _NoHttp:
    """Dask's own HTTP server has no switch: it opens a plain port, on all addresses unless told otherwise."""

    def start_http_server(
        self, routes: Any, dashboard_address: Any, default_port: int = 0, ssl_options: Any = None
    ) -> None:
        return None


class ClosedScheduler(_NoHttp, Scheduler):
    """Of Dask, without HTTP."""


class ClosedWorker(_NoHttp, Worker):
    """Of Dask, without HTTP."""


class ChildrenPlugin(WorkerPlugin):
    """By which `exchange` finds the children of the worker that it runs in."""

    name = PLUGIN

    def __init__(self, children: Children) -> None:
        self.children = children


def exchange(question: dict[str, JsonValue], dask_worker: Worker) -> dict[str, JsonValue]:
    """Runs in a worker. Raises SendenseError for a worker or a question that is none of ours."""
    plugin = dask_worker.plugins.get(PLUGIN)
    if not isinstance(plugin, ChildrenPlugin):
        raise SendenseError("it is no `sendense worker`")
    try:
        asked = Question.from_json_value(question)
    except ValidationError as error:
        raise SendenseError("it has another version of sendense: install the same one everywhere") from error
    return plugin.children.exchange(asked).to_json_value()


@dataclass(frozen=True)
class Listening:
    host: str
    port: int
    """0: any."""

    @classmethod
    def of(cls, address: str) -> Listening:
        """``tls://HOST:PORT``"""
        parts = urlsplit(address)
        return cls(parts.hostname or "", parts.port or 0)


def serve_scheduler(fleet: DaskFleet, say: Say, stop: threading.Event) -> None:
    """Until `stop`; `fleet.scheduler` is where it listens. Raises UsageError, and ClusterError where that
    address is taken."""
    configure()
    security = security_of(fleet)
    listening = Listening.of(fleet.scheduler)

    async def serve() -> None:
        scheduler = ClosedScheduler(
            host=listening.host, port=listening.port, protocol="tls", security=security, dashboard=False
        )
        try:
            await scheduler
        except OSError as error:
            raise ClusterError(f"cannot listen at {fleet.scheduler}: {error.strerror or error}") from error
        try:
            say(f"the scheduler listens at {scheduler.address}")
            while not stop.is_set():
                await asyncio.sleep(LOOK)
        finally:
            await scheduler.close()

    asyncio.run(serve())


@dataclass(frozen=True)
class WorkerOptions:
    hosts: tuple[str, ...]
    """The node hosts that it stands at, as jobs name them; none: it takes children of any."""
    slots: int
    listen: str | None
    """An address of this machine; None: the one by which it reaches the scheduler."""
    lease: float


def serve_worker(
    fleet: DaskFleet,
    options: WorkerOptions,
    say: Say,
    stop: threading.Event,
    start: Start = ChildProcess,
) -> None:
    """Until `stop`, with all children stopped. Raises UsageError, and ClusterError for a scheduler that is
    away, refuses us or is lost: the children are stopped in order then too."""
    configure()
    security = security_of(fleet)

    async def serve() -> None:
        try:
            async with client_of(fleet, security) as client:
                await require_safe(client, fleet.scheduler)
        except (OSError, TimeoutError) as error:
            raise sentence(fleet.scheduler, error) from error
        host = options.listen or _address_towards(fleet.scheduler)
        await _Serving(fleet, options, start, say).serve(security, host, stop)

    asyncio.run(serve())


def _address_towards(scheduler: str) -> str:
    """That of this machine from which it would connect there; nothing is sent."""
    parts = urlsplit(scheduler)
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        host: str = probe.getsockname()[0]
    return f"[{host}]" if family == socket.AF_INET6 else host


class _Serving:
    """One worker's life."""

    def __init__(self, fleet: DaskFleet, options: WorkerOptions, start: Start, say: Say) -> None:
        self._fleet = fleet
        self._options = options
        self._say = say
        self._children = Children(start, self._tell, options.slots, options.hosts, options.lease)
        self._worker: Worker | None = None

    async def serve(self, security: Any, host: str, stop: threading.Event) -> None:
        at = "+".join(self._options.hosts)
        worker = ClosedWorker(
            self._fleet.scheduler,
            host=host,
            protocol="tls",
            security=security,
            nthreads=1,
            # Of the node host, for who looks at the cluster; unique, so that a frozen worker keeps none away.
            name=f"{at or 'any'}-{socket.gethostname()}-{id(self):x}",
            memory_limit=0,
            plugins=(ChildrenPlugin(self._children),),
        )
        try:
            await worker
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"no worker at {host} for the scheduler {self._fleet.scheduler}: {error}"
            ) from error
        self._worker = worker
        for_hosts = f" for {', '.join(self._options.hosts)}" if self._options.hosts else ""
        self._say(
            f"{self._options.slots} children at once{for_hosts}: the worker listens at {worker.address}"
        )
        try:
            while not stop.is_set() and worker.status.name == "running":
                self._children.expire()
                await asyncio.sleep(LOOK)
            lost = worker.status.name != "running"
            await self._end_children(wait=not lost)
        finally:
            self._children.kill()
            with suppress(OSError, TimeoutError):
                await worker.close(timeout=5)
        if lost:
            raise ClusterError(
                f"the scheduler {self._fleet.scheduler} was lost: all children were stopped, and their "
                "controllers start them again"
            )

    async def _end_children(self, *, wait: bool) -> None:
        if running := len(self._children):
            self._say(f"stopping {running} children")
        self._children.stop()
        clock = asyncio.get_running_loop().time
        ends = clock() + CLOSES
        while len(self._children) and clock() < ends:
            await asyncio.sleep(LOOK)
        ends = clock() + TOLD
        while wait and self._children.untold() and clock() < ends:
            await asyncio.sleep(LOOK)

    def _tell(
        self, controller: str, key: str, *, event: dict[str, JsonValue] | None = None, said: str | None = None
    ) -> None:
        if said is not None:
            self._say(f"{key}: {said}")
        worker = self._worker
        if worker is not None and worker.status.name == "running":
            worker.loop.add_callback(
                partial(worker.log_event, controller, {"key": key, "event": event, "said": said})
            )
