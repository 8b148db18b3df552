"""Managed objects: what the simulator's objects share, and the world that knows them by moref.

An object says which properties and operations of its API type it has by decorators; a property it does not
provide is unset, an operation it does not provide is answered with NotSupported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeVar

from steps.lab.simulator.events import Events
from steps.lab.simulator.faults import Faults
from steps.lab.simulator.soap import Call
from steps.lab.simulator.unset import Unset
from steps.lab.simulator.vmodl import object_gone

F = TypeVar("F", bound=Callable[..., Any])


def provides(name: str) -> Callable[[F], F]:
    """Marks a method that gives the value of the property `name`; None is unset."""

    def mark(method: F) -> F:
        method.__dict__["provides"] = name
        return method

    return mark


OPERATIONS: set[str] = set()
"""All WSDL operations that are answered."""


def operation(name: str) -> Callable[[F], F]:
    """Marks a method that answers the WSDL operation `name`; it gets the `Call` and runs under the world's
    lock."""

    OPERATIONS.add(name)

    def mark(method: F) -> F:
        method.__dict__["operation"] = name
        return method

    return mark


NOT_KNOWN = object()
"""What `Managed.known` answers for what it does not know."""


class Managed:
    """A managed object; `kind` is its vmodl type."""

    kind: ClassVar[Any]
    property_names: ClassVar[dict[str, str]] = {}
    operation_names: ClassVar[dict[str, str]] = {}
    unreadable: frozenset[str] = frozenset()
    """Names of properties that the user may not read."""
    denied: frozenset[str] = frozenset()
    """Privileges that the user lacks on it."""

    def __init__(self, world: World, moid: str) -> None:
        self.world = world
        self.moid = moid
        world.add(self)

    def __init_subclass__(cls) -> None:
        cls.property_names = dict(cls.property_names)
        cls.operation_names = dict(cls.operation_names)
        for name, member in vars(cls).items():
            marks = getattr(member, "__dict__", {})
            if "provides" in marks:
                cls.property_names[marks["provides"]] = name
            if "operation" in marks:
                cls.operation_names[marks["operation"]] = name

    @property
    def ref(self) -> Any:
        return self.kind(self.moid)

    def read(self, name: str) -> Any:
        """The value of a property by its name; None where it is unset."""
        method = self.property_names.get(name)
        return getattr(self, method)() if method else None

    def known(self, path: str) -> Any:
        """The value at a property path, typed, where that is known without reading the whole property."""
        return NOT_KNOWN

    def visible_to(self, session: Any) -> bool:
        return True

    def session_ended(self) -> None:
        """That of the session which owns it."""
        self.world.remove(self)

    def operations(self) -> dict[str, Callable[[Call], Any]]:
        return {wsdl: getattr(self, name) for wsdl, name in self.operation_names.items()}


@dataclass(frozen=True)
class CustomField:
    """A custom attribute."""

    key: int
    name: str
    of: Any
    """The type of the objects that can have it; None: all."""


class Starts(Protocol):
    """Of `Tasks`, what operations use."""

    def start(
        self, call: Call, entity: Managed, entity_name: str, work: Callable[[], Any], done: Callable[[], None]
    ) -> Any: ...


class Grants(Protocol):
    """Of `AuthorizationManager`, what operations use."""

    def require(self, *needed: tuple[str | None, Managed]) -> None: ...


class Leases(Protocol):
    """Of `nfc.leases`, what operations use."""

    def import_vapp(self, pool: Any, call: Call) -> Any: ...

    def export_vm(self, machine: Any, call: Call) -> Any: ...

    def expire(self) -> None: ...


class World:
    """Every object by moref, under one lock; waiters are woken when something changed. `esxi`: of a host by
    itself."""

    def __init__(self, *, esxi: bool = False) -> None:
        self.esxi = esxi
        self.lock = threading.Condition(threading.RLock())
        self.faults = Faults()
        self.unset = Unset()
        self.events = Events()
        self.generation = 0
        self.stopping = threading.Event()
        self.clock_ahead = timedelta()
        self.started = datetime.now(UTC)
        self.custom_fields: dict[int, CustomField] = {}
        """Custom attributes by key. A key is never used again."""
        self._last_field = 100
        self.key_provider = False
        """Whether VMs can be encrypted and have a virtual TPM."""
        self.newest_hardware = 21
        """The newest hardware version that its hosts run."""
        self.tasks: Starts
        self.authorization: Grants
        self.leases: Leases
        self.look_outside: Callable[[], None] = lambda: None
        """Before changed block tracking answers: what was written that no VM wrote."""
        self.session: Any = None
        """Whose call is being answered; read it under the lock."""
        self._objects: dict[str, Managed] = {}
        self._numbers: dict[str, int] = {}

    def now(self) -> datetime:
        """By the vCenter's clock."""
        return datetime.now(UTC) + self.clock_ahead

    @property
    def root_folder(self) -> str:
        return "ha-folder-root" if self.esxi else "group-d1"

    def number(self, prefix: str) -> str:
        """A moref never used before: ``vm-16``."""
        with self.lock:
            self._numbers[prefix] = self._numbers.get(prefix, 15) + 1
            number = self._numbers[prefix]
            return str(number) if self.esxi and prefix == "vm" else f"{prefix}-{number}"

    def define(self, name: str, of: Any) -> CustomField:
        """A custom attribute of objects of that type (None: of all), made where it is not there."""
        for field in self.custom_fields.values():
            if field.name == name:
                return field
        self._last_field += 1
        made = self.custom_fields[self._last_field] = CustomField(self._last_field, name, of)
        return made

    def add(self, managed: Managed) -> None:
        with self.lock:
            self._objects[managed.moid] = managed

    def remove(self, managed: Managed) -> None:
        with self.lock:
            self._objects.pop(managed.moid, None)
            self.changed()

    def find(self, reference: Any) -> Managed:
        """Raises ManagedObjectNotFound."""
        with self.lock:
            found = self._objects.get(reference._moId)
            if found is None or not issubclass(found.kind, type(reference)):
                raise object_gone(reference)
            return found

    def all(self, kind: type[Managed]) -> Iterator[Any]:
        with self.lock:
            yield from [managed for managed in self._objects.values() if isinstance(managed, kind)]

    def changed(self) -> None:
        with self.lock:
            self.generation += 1
            self.lock.notify_all()

    def happened(self, event: Any, *about: str) -> None:
        """`about`: morefs, of an entity and of what it is in."""
        with self.lock:
            user = self.session.user if self.session else ""
            self.events.record(event, about, user=user, now=self.now())

    def wait_for_change(self, since: int, deadline: float) -> bool:
        """False when `deadline` (monotonic) passed, or the simulator stops, without a change since generation
        `since`.

        The lock must be held; it is released while waiting.
        """
        while self.generation == since:
            left = deadline - time.monotonic()
            if left <= 0 or self.stopping.is_set():
                return False
            self.lock.wait(left)
        return not self.stopping.is_set()
