"""The PropertyCollector: objects chosen by traversal, their properties, in pages; and its filters'
updates."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from steps.lab.simulator.filters import Filter, UpdateQueue
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.retrieval import retrieve
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vmodl

PAGE = 100
"""Objects in a page at most, asked or not: the API lets a server page unasked, and clients must cope."""

LONGEST_WAIT = 600.0
"""Seconds that WaitForUpdatesEx waits when the client names no limit."""


class PropertyCollector(Managed):
    """The default one belongs to every session; what is in it (tokens, filters) is kept for each session
    apart."""

    kind = vmodl.query.PropertyCollector

    def __init__(self, world: World, moid: str = "propertyCollector") -> None:
        super().__init__(world, moid)
        self._pages: dict[tuple[str, str], list[Any]] = {}
        self._queues: dict[str, UpdateQueue] = {}

    def _queue(self, call: Call) -> UpdateQueue:
        for key in [key for key, queue in self._queues.items() if not queue.session.alive]:
            del self._queues[key]
        return self._queues.setdefault(call.session.token, UpdateQueue(call.session))

    @provides("filter")
    def filters(self) -> list[Any]:
        return [one.ref for queue in self._queues.values() for one in queue.filters]

    @operation("RetrieveProperties")
    def retrieve_all(self, call: Call) -> list[Any]:
        return list(self._contents(call.arguments.specSet))

    @operation("RetrievePropertiesEx")
    def retrieve_page(self, call: Call) -> Any:
        limit = call.arguments.options.maxObjects if call.arguments.options else None
        if limit is not None and limit <= 0:
            raise invalid_argument("maxObjects")
        return self._page(call, list(self._contents(call.arguments.specSet)), limit or PAGE)

    @operation("ContinueRetrievePropertiesEx")
    def next_page(self, call: Call) -> Any:
        rest = self._take(call)
        return self._page(call, rest, int(call.arguments.token.split("-", 1)[0]))

    @operation("CancelRetrievePropertiesEx")
    def cancel(self, call: Call) -> None:
        self._take(call)

    def _take(self, call: Call) -> list[Any]:
        rest = self._pages.pop((_owner(call), call.arguments.token), None)
        if rest is None:
            raise invalid_argument("token")
        return rest

    def _page(self, call: Call, contents: list[Any], limit: int) -> Any:
        if not contents:
            return None
        limit = min(limit, PAGE)
        page = vmodl.query.PropertyCollector.RetrieveResult(objects=contents[:limit])
        if contents[limit:]:
            page.token = f"{limit}-{secrets.token_hex(8)}"
            self._pages[_owner(call), page.token] = contents[limit:]
        return page

    def _contents(self, specs: Sequence[Any]) -> Iterator[Any]:
        for spec in specs:
            for managed, values, missing in retrieve(self.world, spec):
                yield vmodl.query.PropertyCollector.ObjectContent(
                    obj=managed.ref,
                    propSet=[vmodl.DynamicProperty(name=path, val=value) for path, value in values.items()],
                    missingSet=missing,
                )

    @operation("CreateFilter")
    def create_filter(self, call: Call) -> Any:
        for _ in retrieve(
            self.world, call.arguments.spec
        ):  # raises what is wrong with it now rather than later
            pass
        made = Filter(
            self.world, call.arguments.spec, self._queue(call), partial=call.arguments.partialUpdates
        )
        call.session.owned[made.moid] = made
        return made.ref

    @operation("CreatePropertyCollector")
    def create_collector(self, call: Call) -> Any:
        made = PropertyCollector(self.world, f"session[{secrets.token_hex(8)}]{secrets.token_hex(8)}")
        call.session.owned[made.moid] = made
        return made.ref

    @operation("DestroyPropertyCollector")
    def destroy(self, call: Call) -> None:
        for queue in self._queues.values():
            queue.cancelled = True
            for one in list(queue.filters):
                one.drop()
        call.session.owned.pop(self.moid, None)
        self.world.remove(self)

    @operation("WaitForUpdatesEx")
    def wait_for_updates(self, call: Call) -> Any:
        seconds = call.arguments.options.maxWaitSeconds if call.arguments.options else None
        limit = call.arguments.options.maxObjectUpdates if call.arguments.options else None
        return self._updates(call, LONGEST_WAIT if seconds is None else float(seconds), limit)

    @operation("WaitForUpdates")
    def wait_for_updates_of_old(self, call: Call) -> Any:
        while (updates := self._updates(call, LONGEST_WAIT, None)) is None:
            pass
        return updates

    @operation("CheckForUpdates")
    def check_for_updates(self, call: Call) -> Any:
        return self._updates(call, 0.0, None)

    @operation("CancelWaitForUpdates")
    def cancel_wait(self, call: Call) -> None:
        self._queue(call).cancelled = True
        self.world.changed()

    def _updates(self, call: Call, seconds: float, limit: int | None) -> Any:
        queue = self._queue(call)
        queue.begin(call.arguments.version or "")
        deadline = time.monotonic() + seconds
        while True:
            generation = self.world.generation
            if (updates := queue.take(limit)) is not None:
                return updates
            changed = self.world.wait_for_change(generation, deadline)
            if queue.cancelled or not call.session.alive or self.world.stopping.is_set():
                queue.cancelled = False
                raise fault(vmodl.fault.RequestCanceled, "The request was canceled by a user.")
            if not changed:
                return None


def _owner(call: Call) -> str:
    return call.session.token if call.session else ""
