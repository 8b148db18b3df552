"""All that one `sendense run` of sets, or of several jobs at once, works on: which jobs and items these are,
the order of each, and what a set remembers of them.

It selects and orders; when each begins, `runner.sets.admission` decides, and where, a placement."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from runner.app.claims import needs_of, nodes_at_once
from runner.app.elsewhere import node_host, require_shared_records
from runner.app.open_set import Member, OpenSet, Which
from runner.app.options import Options
from runner.app.records import commit_of, new_run_id
from runner.base.digest import digest
from runner.base.errors import UsageError
from runner.base.units import DAY
from runner.events.events import Event
from runner.job.children import child
from runner.job.model import Job
from runner.job.written_job import WrittenJob
from runner.sets.admission import Admission
from runner.sets.placement import Order
from runner.sets.request import Request
from runner.step.items import Claim

ALL = Which()

JOBS_AGE = 3650 * DAY
"""Seconds: jobs that were named begin in the order of their names, before all but what was never backed
up."""


class Estate:
    """Use as a context manager: it holds the locks of its sets."""

    def __init__(
        self,
        options: Options,
        stop: threading.Event,
        listeners: Sequence[Callable[[Event], None]],
        which: Which = ALL,
        *,
        elsewhere: bool = False,
    ) -> None:
        """`elsewhere`: they may run on other machines."""
        self._elsewhere = elsewhere
        self._hosts: dict[str, str] = {}
        """Node hosts, by file, of what may run elsewhere."""
        self._id = new_run_id()
        self._options = options
        self._stop = stop
        self._listeners = listeners
        self._which = which
        self._stack = ExitStack()
        self._jobs: dict[str, tuple[Job, str | None]] = {}
        """By file, with the git commit."""
        self._sets: dict[str, OpenSet] = {}
        self.members: dict[str, Member] = {}
        """Those that are to run, by key."""

    def __enter__(self) -> Estate:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, job: Job) -> OpenSet | None:
        """Raises what keeps the job, or the whole set, from running: nothing of it runs then."""
        file = job.file
        if file in self._jobs:
            raise UsageError(f"{file} is named twice")
        if self._elsewhere:
            require_shared_records(job)
        self._jobs[file] = (job, commit_of(job, self._options))
        if job.select is None:
            self.members[file] = Member(file, job.name, file)
            self._hosts[file] = node_host(job) if self._elsewhere else ""
            return None
        opened = self._stack.enter_context(OpenSet(job, self._options, self._stop, self._listeners))
        wanted = opened.choose(self._which)
        self._sets[file] = opened
        of_all = self._elsewhere and wanted and wanted[0].item
        self._hosts[file] = node_host(child(job, of_all)) if of_all else ""
        self.members |= {member.key: member for member in wanted}
        return opened

    def requests(self, at: Callable[[str], tuple[Claim, ...]]) -> list[Request]:
        """`at`: see `Placement.claims`."""
        ages = itertools.count(JOBS_AGE, -1)
        return [
            self._sets[member.file].request(member, at(self._hosts[member.file]))
            if member.item is not None
            else Request(
                member.key,
                member.called,
                at(self._hosts[member.file]),
                next(ages),
                job=member.file,
                needs=needs_of(self._jobs[member.file][0]),
            )
            for member in self.members.values()
        ]

    def admission(self) -> Admission:
        """Raises UsageError where limits are shared in different places: no queue can keep both."""
        slots = [one.slots for one in self._sets.values() if one.slots is not None]
        places = {one.where for one in slots}
        if len(places) > 1:
            raise UsageError(
                f"these sets share their limits in different places ({', '.join(sorted(places))}): give them "
                "the same `slots`, or run them one after the other"
            )
        rooms = {room.resource: room for one in self._sets.values() for room in one.rooms}
        return Admission(slots[0] if slots else None, tuple(rooms.values()))

    def order(self, key: str) -> Order:
        member, options = self.members[key], self._options
        job, commit = self._jobs[member.file]
        opened = self._sets.get(member.file)
        job = job if member.item is None else child(job, member.item)
        execution = self._id if opened is None else opened.id
        # Another job, or other settings, are asked for by the same words: what was done does not answer that.
        of = digest([job.digest, dict(job.vars)])[:8]
        return Order(
            **dict(WrittenJob.of(job)),
            id=f"{execution}/{of}/{key}",
            host=self._hosts[member.file],
            key=key,
            called=member.called,
            git_commit=commit,
            only=member.only,
            settings=dict(options.overrides),
            state=None if options.state is None else str(options.state),
            nodes=options.nodes if opened is None else nodes_at_once(opened.claims(member), options.nodes),
            fresh=options.fresh,
            break_lock=options.break_lock,
        )

    def ended(self, key: str, document: dict[str, Any], exit_code: int, error: str) -> None:
        member = self.members[key]
        if member.item is not None:
            self._sets[member.file].ended(member.item.id, document, exit_code, error)
