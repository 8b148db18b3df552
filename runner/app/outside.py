"""A job's hosts and entries, for commands that work on them in no run of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.app.records import new_run_id
from runner.base.errors import SendenseError
from runner.engine.world import World
from runner.events.events import Bus, Event, Warned
from runner.hosts.connect import OpenHosts
from runner.hosts.process import temporary_directory
from runner.job.model import Job
from runner.step.context import Context, Run


@contextmanager
def context_outside_of_runs(
    job: Job,
    command: str,
    stop: threading.Event,
    listener: Callable[[Event], None],
    hosts: OpenHosts | None = None,
) -> Iterator[Context]:
    """What a step may use, for a `command` that works on the job's hosts and entries in no run of it. What is
    opened ends with the block, but for `hosts`."""
    bus = Bus()
    bus.subscribe(listener)
    with scratch_of(bus) as scratch, World(job, bus, stop, scratch, hosts) as world:
        world.run = Run(new_run_id(), job.name, job.digest, None, execution=world.execution)
        yield world.context(command)


@contextmanager
def scratch_of(bus: Bus) -> Iterator[Path]:
    """A temporary directory. What cannot be removed of it changes nothing of what came of the work."""
    with ExitStack() as stack:
        yield Path(stack.enter_context(temporary_directory()))
        try:
            stack.close()
        except SendenseError as error:
            bus.emit(Warned(node="the temporary directory", text=error.message))
