"""Property filters and the queue of their updates, which WaitForUpdatesEx hands out in pages.

A filter's first answer has every object as `enter`; later ones say what changed. `layoutEx` sends no updates
(API reference, VirtualMachine.layoutEx).
"""

from __future__ import annotations

from typing import Any

from pyVmomi import SoapAdapter

from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.retrieval import retrieve
from steps.lab.simulator.sessions import Session
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import VERSION, fault, support, vmodl

PAGE = 100
"""Object updates in one answer at most; more are marked truncated (seen in govmomi's simulator)."""

_ANY: Any = support.Object(name="val", type=object, version=support.BASE_VERSION, flags=support.F_OPTIONAL)
_serialize: Any = SoapAdapter.SerializeToStr
_collector: Any = vmodl.query.PropertyCollector


class Filter(Managed):
    kind = vmodl.query.PropertyCollector.Filter

    def __init__(self, world: World, spec: Any, queue: UpdateQueue, *, partial: bool) -> None:
        super().__init__(world, world.number("filter"))
        self._spec = spec
        self._partial = partial
        self._queue = queue
        self.seen: dict[str, tuple[Any, dict[str, str]]] = {}
        """By moref: the reference and its properties' values as text, as the client knows them."""
        queue.filters.append(self)

    @provides("spec")
    def spec(self) -> Any:
        return self._spec

    @provides("partialUpdates")
    def partial_updates(self) -> bool:
        return self._partial

    def drop(self) -> None:
        if self in self._queue.filters:
            self._queue.filters.remove(self)
        self._queue.session.owned.pop(self.moid, None)
        self.world.remove(self)

    @operation("DestroyPropertyFilter")
    def destroy(self, call: Call) -> None:
        self.drop()

    def updates(self) -> list[Any]:
        """What differs from what the client knows; afterwards the client is taken to know it."""
        found: list[Any] = []
        present: set[str] = set()
        try:
            contents = list(retrieve(self.world, self._spec))
        except vmodl.fault.ManagedObjectNotFound:
            contents = []
        for managed, values, missing in contents:
            present.add(managed.moid)
            texts = {path: _serialize(value, _ANY, VERSION) for path, value in values.items()}
            known = self.seen.get(managed.moid)
            if known is None:
                found.append(_update("enter", managed.ref, values, list(values), missing))
            elif changed := _changed(known[1], texts):
                found.append(_update("modify", managed.ref, values, changed, missing))
            self.seen[managed.moid] = (managed.ref, texts)
        for moid in [moid for moid in self.seen if moid not in present]:
            found.append(_collector.ObjectUpdate(kind="leave", obj=self.seen.pop(moid)[0]))
        return found


def _changed(known: dict[str, str], texts: dict[str, str]) -> list[str]:
    paths = [path for path in {**known, **texts} if known.get(path) != texts.get(path)]
    return [path for path in paths if path.split(".", 1)[0] != "layoutEx"]


def _update(kind: str, reference: Any, values: dict[str, Any], paths: list[str], missing: list[Any]) -> Any:
    changes = [_collector.Change(name=path, op="assign", val=values.get(path)) for path in paths]
    return _collector.ObjectUpdate(kind=kind, obj=reference, changeSet=changes, missingSet=missing)


class UpdateQueue:
    """One session's filters in one collector, and the updates not handed out yet."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.filters: list[Filter] = []
        self.cancelled = False
        self._version = 0
        self._waiting: list[tuple[Filter, Any]] = []

    def begin(self, version: str) -> None:
        """ "" starts over. Raises InvalidCollectorVersion for a version that was not the last one given."""
        if not version:
            self._waiting.clear()
            for one in self.filters:
                one.seen.clear()
        elif version != str(self._version):
            raise fault(vmodl.query.InvalidCollectorVersion, "The version is not one of this collector")

    def take(self, limit: int | None) -> Any:
        """An UpdateSet, or None where nothing changed."""
        if not self._waiting:
            self._waiting = [(one, update) for one in self.filters for update in one.updates()]
        if not self._waiting:
            return None
        size = min(limit or PAGE, PAGE)
        page, self._waiting = self._waiting[:size], self._waiting[size:]
        self._version += 1
        sets: dict[str, Any] = {}
        for one, update in page:
            made = sets.setdefault(one.moid, _collector.FilterUpdate(filter=one.ref))
            made.objectSet.append(update)
        return _collector.UpdateSet(
            version=str(self._version), filterSet=list(sets.values()), truncated=bool(self._waiting) or None
        )
