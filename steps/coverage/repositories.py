"""The repositories of several jobs, each read once, whatever the jobs call it; and the contexts in which that
and more is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from runner.app.outside import context_outside_of_runs
from runner.base.errors import Interrupted, SendenseError
from runner.base.waiting import NEVER
from runner.events.events import Event
from runner.hosts.connect import OpenHosts
from runner.job.model import Job
from runner.step.context import Context
from steps.coverage import protection
from steps.coverage.jobs import REPOSITORIES
from steps.coverage.protection import Protections
from steps.repository.section import Repository


class Contexts:
    """Of jobs, each opened when it is asked for. Use as a context manager: what was opened ends with it."""

    def __init__(self, listener: Callable[[Event], None], hosts: OpenHosts | None) -> None:
        self._listener = listener
        self._hosts = hosts
        self._stack = ExitStack()
        self._opened: dict[int, Context] = {}

    def __enter__(self) -> Contexts:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.close()

    def of(self, job: Job) -> Context:
        if id(job) not in self._opened:
            opened = context_outside_of_runs(job, "coverage", NEVER, self._listener, self._hosts)
            self._opened[id(job)] = self._stack.enter_context(opened)
        return self._opened[id(job)]


@dataclass(frozen=True)
class _Place:
    name: str
    entry: Repository
    job: Job
    """The first that has it."""


class Repositories:
    """Those that `jobs` have."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._places: dict[object, _Place] = {}
        names: set[str] = set()
        for job in jobs:
            for name, entry in job.sections.get(REPOSITORIES, {}).items():
                assert isinstance(entry, Repository)
                if (key := _where(job, entry)) not in self._places:
                    # Two jobs may call two repositories the same.
                    called = f"{name} ({entry.path} on {entry.host})" if name in names else name
                    self._places[key] = _Place(called, entry, job)
                    names.add(called)

    def called(self, job: Job, name: str) -> str | None:
        """What is called `name` in `job`, as it is called here."""
        entry = job.sections.get(REPOSITORIES, {}).get(name)
        place = self._places.get(_where(job, entry)) if isinstance(entry, Repository) else None
        return None if place is None else place.name

    def read(self, contexts: Contexts) -> Protections:
        found = Protections()
        for place in self._places.values():
            try:
                host = contexts.of(place.job).host(place.entry.host)
                found.all += protection.read(host, place.entry.path, place.name)
                found.free[place.name] = host.free_bytes(place.entry.path)
            except Interrupted:
                raise
            except SendenseError as error:
                found.unread[place.name] = error.message
        return found


def _where(job: Job, entry: Repository) -> object:
    """What makes two entries one repository: the machine and the path."""
    return (job.hosts[entry.host], entry.path)
