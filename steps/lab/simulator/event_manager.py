"""The EventManager: events read, by a filter or through a collector, and posted."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.entities import Entity, chain
from steps.lab.simulator.history import MOST, HistoryCollector
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import invalid_argument, support, vim


class EventManager(Managed):
    kind = vim.event.EventManager

    def __init__(self, world: World) -> None:
        super().__init__(world, "EventManager")

    @provides("latestEvent")
    def latest(self) -> Any:
        return next((happened.event for happened in reversed(list(self.world.events))), None)

    @provides("maxCollector")
    def most_collectors(self) -> int:
        return MOST

    @operation("QueryEvents")
    def query(self, call: Call) -> list[Any]:
        return self.world.events.matching(call.arguments.filter)

    @operation("CreateCollectorForEvents")
    def create_collector(self, call: Call) -> Any:
        asked = call.arguments.filter
        return EventHistoryCollector(
            self.world, call.session, asked, lambda: self.world.events.matching(asked)
        ).ref

    @operation("LogUserEvent")
    def log_user_event(self, call: Call) -> None:
        if not call.arguments.msg:
            raise invalid_argument("msg")
        event = vim.event.GeneralUserEvent(
            message=call.arguments.msg, fullFormattedMessage=f"User logged event: {call.arguments.msg}"
        )
        self._record(event, call.arguments.entity)

    @operation("PostEvent")
    def post(self, call: Call) -> None:
        event = call.arguments.eventToPost
        about = event.vm.vm if event.vm is not None else None
        if about is None and getattr(event, "objectId", None) and event.objectType is not None:
            about = event.objectType(event.objectId)
        self._record(event, about)

    def _record(self, event: Any, about: Any) -> None:
        managed = self.world.find(about) if isinstance(about, support.ManagedObject) else None
        self.world.happened(event, *(chain(managed) if isinstance(managed, Entity) else ()))


class EventHistoryCollector(HistoryCollector):
    kind = vim.event.EventHistoryCollector

    @operation("ReadNextEvents")
    def read_next(self, call: Call) -> list[Any]:
        return self.forwards(call)

    @operation("ReadPreviousEvents")
    def read_previous(self, call: Call) -> list[Any]:
        return self.backwards(call)
