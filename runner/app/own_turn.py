"""The turn of a run that no set placed, and of what any run takes of a host's memory or temporary disk for a
while: it waits for its limits among all that share them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from runner.app.claims import Limits, host_claims, nodes_at_once, slots_of
from runner.app.workspace import Workspace
from runner.base.errors import Interrupted, SendenseError
from runner.base.waiting import LOOK
from runner.sets.admission import Admission
from runner.sets.request import Request
from runner.sets.sharing import LONGEST_PAUSE
from runner.step.context import Context
from runner.step.items import Claim, Item


class NoTurn(SendenseError):
    """It waits for what will not come."""


class OwnTurns:
    """See `runner.step.context.Turns`."""

    def __init__(self, workspace: Workspace, limits: Limits) -> None:
        self._workspace = workspace
        self._limits = limits
        self._taken = Counter[str]()
        """By resource, of this run's nodes that have turns of their own."""
        self._given_back = threading.Condition()

    @contextmanager
    def of(self, ctx: Context, item: Item, age: float) -> Iterator[None]:
        claims = self._limits.claims(item)
        with self._turn(ctx, item, claims, age):
            yield

    @contextmanager
    def briefly(self, ctx: Context, item: Item, reads: Collection[str]) -> Iterator[None]:
        claims = self._limits.claims(item, reads=reads)
        # Nodes of one run wait for each other without a word.
        with self._among_its_nodes(ctx, claims), self._turn(ctx, item, claims, math.inf):
            yield

    @contextmanager
    def _turn(self, ctx: Context, item: Item, claims: Sequence[Claim], age: float) -> Iterator[None]:
        request = Request(f"{self._workspace.job.key}@{item.id}", item.name, tuple(claims), age)
        with Admission(self._limits.slots(ctx.run.id), self._limits.rooms([item])) as queue:
            queue.put(request)
            _wait(ctx, queue, request)
            world = self._workspace.world
            world.most_at_once = nodes_at_once(claims, self._workspace.options.nodes)
            with _kept(queue):
                yield

    @contextmanager
    def _among_its_nodes(self, ctx: Context, claims: Sequence[Claim]) -> Iterator[None]:
        with self._given_back:
            while any(self._taken[one.resource] + one.amount > one.limit for one in claims):
                ctx.check_stop()
                self._given_back.wait(LOOK)
            self._taken.update({one.resource: one.amount for one in claims})
        try:
            yield
        finally:
            with self._given_back:
                self._taken.subtract({one.resource: one.amount for one in claims})
                self._given_back.notify_all()


class HostShares:
    """See `runner.step.context.Shares`. What a node takes it takes beside what its run holds already, and
    who waits for a run's place holds none of it: nobody waits for each other."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @contextmanager
    def take(self, ctx: Context, host: str, *, memory: int, disk: int) -> Iterator[None]:
        job, world = self._workspace.job, self._workspace.world
        claims = host_claims(job, host, memory=memory, disk=disk)
        if not claims:
            yield
            return
        request = Request(f"{job.key}@{ctx.run.id}/{ctx.node}", ctx.node, claims, math.inf)
        with Admission(slots_of(job, world, ctx.run.id)) as queue:
            queue.put(request)
            _wait(ctx, queue, request)
            with _kept(queue):
                yield


@contextmanager
def _kept(queue: Admission) -> Iterator[None]:
    """Others hear that this run lives, and what it holds is not void after a session to them broke."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(min(max(queue.due(), LOOK), LONGEST_PAUSE)):
            queue.admit(0)

    thread = threading.Thread(target=look, name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _wait(ctx: Context, queue: Admission, request: Request) -> None:
    told = ""
    while not queue.admit(1):
        for refused in queue.refused():
            error = NoTurn(f"{request.name} cannot begin: {refused.why}")
            error.shared = refused.shared
            raise error
        why = queue.waits_for(request.id)
        # How much of it is in use changes all night.
        if (what := why.partition(" (")[0]) != told:
            told = what
            ctx.warn(f"{request.name} waits for its turn: {why}")
        if ctx.stop.wait(min(max(queue.due(), LOOK), 1.0)):
            raise Interrupted


def turns_of(workspace: Workspace) -> OwnTurns | None:
    """None for a job whose steps name nothing that has limits."""
    limits = Limits(workspace.job, workspace.world, workspace.options.nodes)
    return OwnTurns(workspace, limits) if limits.any else None
