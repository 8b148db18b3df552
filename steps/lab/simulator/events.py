"""What happened to VMs: an event each, with what it is about and all that this was in, as a filter asks for
it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from steps.lab.simulator.vmodl import vim

KEPT = 10_000
"""A vCenter keeps about 30 days of them."""


@dataclass(frozen=True)
class Happened:
    event: Any
    about: tuple[str, ...]
    """Morefs: of the entity, then of what it was in, up to the root folder."""

    @property
    def type_id(self) -> str:
        """``vim.event.VmRemovedEvent``, or what an EventEx calls itself."""
        own = self.event.eventTypeId if isinstance(self.event, vim.event.EventEx) else ""
        return own or str(type(self.event).__name__)


class Events:
    """The oldest first. Not locked: the caller holds the world's lock."""

    def __init__(self) -> None:
        self._kept: deque[Happened] = deque(maxlen=KEPT)
        self._last = 0

    def record(self, event: Any, about: tuple[str, ...], *, user: str, now: datetime) -> None:
        """The server gives key, chain and time, whatever the event came with (API reference,
        EventManager.PostEvent)."""
        self._last += 1
        event.key = event.chainId = self._last
        event.createdTime, event.userName = now, user
        self._kept.append(Happened(event, about))

    def matching(self, asked: Any) -> list[Any]:
        """Those that an EventFilterSpec takes; of more than its `maxCount` the newest."""
        found = [happened.event for happened in self._kept if _takes(asked, happened)]
        return found[-asked.maxCount :] if asked.maxCount else found

    def __iter__(self) -> Iterator[Happened]:
        return iter(self._kept)


def _takes(asked: Any, happened: Happened) -> bool:
    event = happened.event
    return (
        is_about(asked.entity, happened.about)
        and is_within(asked.time, event.createdTime)
        and (not asked.eventTypeId or happened.type_id in asked.eventTypeId)
        and (not asked.type or isinstance(event, tuple(asked.type)))
        and (not asked.eventChainId or event.chainId == asked.eventChainId)
    )


def is_about(asked: Any, about: tuple[str, ...]) -> bool:
    """`asked`: entity and recursion, of an EventFilterSpec or a TaskFilterSpec."""
    if asked is None:
        return True
    wanted = asked.entity._moId
    depth = about.index(wanted) if wanted in about else None
    reach = {"self": (0,), "children": (1,), "all": range(len(about))}
    return depth is not None and depth in reach[str(asked.recursion)]


def is_within(asked: Any, time: datetime) -> bool:
    """`asked`: beginTime and endTime, either of which may be unset; both are in it."""
    if asked is None:
        return True
    return (asked.beginTime is None or asked.beginTime <= time) and (
        asked.endTime is None or time <= asked.endTime
    )
