"""Tasks: queued → running → success or error, each on its own thread, for as long as it is told to take.

What a task does happens at its end, all at once, under the world's lock: a client that stops waiting for it
finds it done later. A finished task is forgotten after a while, as vCenter forgets it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator.entities import Entity, chain
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import NAMESPACE, Call
from steps.lab.simulator.vmodl import DataObject, fault, support, vim, vmodl

log = logging.getLogger(__name__)

STATE = vim.TaskInfo.State

HISTORY = 10_000
"""Tasks that can be read of after they are forgotten; a vCenter keeps about 30 days of them."""


class Task(Managed):
    """`entity` is the managed entity (the VM, never its snapshot)."""

    kind = vim.Task

    def __init__(self, world: World, method: str, entity: Any, entity_name: str, user: str) -> None:
        super().__init__(world, world.number("task"))
        information = support.GetWsdlMethod(NAMESPACE, method)
        # As in a vCenter's own list: vm.Snapshot.remove (govmomi, simulator/vpx/task_manager.go).
        kind = information.info.typeName.removeprefix("vim.")
        self.method = method
        self.started_at = 0.0
        self.seconds = 0.0
        self.finished_at: float | None = None
        self.info = vim.TaskInfo(
            key=self.moid,
            task=self.ref,
            name=information,
            descriptionId=f"{kind}.{support.Uncapitalize(information.info.name)}",
            entity=entity,
            entityName=entity_name,
            state=STATE.queued,
            cancelled=False,
            cancelable=False,
            reason=vim.TaskReasonUser(userName=user),
            queueTime=world.now(),
            eventChainId=int(self.moid.rsplit("-", 1)[-1]),
        )

    @provides("info")
    def current(self) -> Any:
        if self.info.state == STATE.running and self.seconds > 0:
            self.info.progress = min(99, int(100 * (time.monotonic() - self.started_at) / self.seconds))
        return self.info

    @operation("CancelTask")
    def cancel(self, call: Call) -> None:
        raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")


class Tasks:
    def __init__(self, world: World, *, seconds: float, remember: float) -> None:
        """`seconds`: how long a task takes unless a fault says else; `remember`: for how long a finished one
        is known."""
        self._world = world
        self._seconds = seconds
        self._remember = remember
        self._threads: list[threading.Thread] = []
        self.history: deque[tuple[Any, tuple[str, ...]]] = deque(maxlen=HISTORY)
        """Of each task its information, as it is now, and the morefs of its entity and of what that is in."""

    def start(
        self, call: Call, entity: Managed, entity_name: str, work: Callable[[], Any], done: Callable[[], None]
    ) -> Any:
        """The new task's reference. `work` gives its result or raises a vmodl fault; `done` follows in any
        case."""
        slow = self._world.faults.take("slow-task", call.method)
        user = call.session.user if call.session else ""
        task = Task(self._world, call.method, entity.ref, entity_name, user)
        task.seconds = slow["seconds"] if slow else self._seconds
        thread = threading.Thread(target=self._run, args=(task, work, done), name=task.moid, daemon=True)
        with self._world.lock:
            self.history.append((task.info, chain(entity) if isinstance(entity, Entity) else ()))
            self._forget_old()
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
        thread.start()
        return task.ref

    def _run(self, task: Task, work: Callable[[], Any], done: Callable[[], None]) -> None:
        with self._world.lock:
            task.started_at = time.monotonic()
            task.info.state, task.info.startTime = STATE.running, self._world.now()
            self._world.changed()
        if self._world.stopping.wait(task.seconds):
            return
        with self._world.lock:
            try:
                task.info.result = self._result(task, work)
                task.info.state = STATE.success
            except vmodl.MethodFault as error:
                task.info.error, task.info.state = error, STATE.error
            except Exception:
                # A bug of the simulator: its client gets a fault instead of a task that never ends.
                log.exception("the task %s (%s) failed", task.moid, task.method)
                task.info.error = fault(
                    vmodl.fault.SystemError, "A general system error occurred", reason="bug"
                )
                task.info.state = STATE.error
            task.info.progress, task.info.completeTime = None, self._world.now()
            task.finished_at = time.monotonic()
            done()
            self._world.changed()

    def _result(self, task: Task, work: Callable[[], Any]) -> Any:
        broken = self._world.faults.take("fail-task", task.method)
        if broken is not None:
            raise named_fault(broken["fault"], task.info.entity)
        return work()

    def _forget_old(self) -> None:
        for task in self._world.all(Task):
            if task.finished_at is not None and time.monotonic() - task.finished_at > self._remember:
                self._world.remove(task)

    def join(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def fault_type(name: str) -> Any:
    """The type of a fault of the API by its WSDL name, for example NoDiskSpace. Raises UsageError."""
    try:
        kind = support.GetWsdlType(NAMESPACE, name)
    except KeyError:
        kind = type(None)
    if not issubclass(kind, vmodl.MethodFault):
        raise UsageError(f"the vSphere API has no fault '{name}'; a name is for example NoDiskSpace")
    return kind


def named_fault(name: str, entity: Any) -> Exception:
    """A fault of the API by its WSDL name; what it must have is filled with something."""
    made = fault(fault_type(name), f"{name} on demand")
    for field in made._GetPropertyList():  # type: ignore[attr-defined]
        if getattr(made, field.name) is not None or field.flags & support.F_OPTIONAL:
            continue
        if issubclass(field.type, support.ManagedObject):
            setattr(made, field.name, entity if isinstance(entity, field.type) else field.type("other-1"))
        elif issubclass(field.type, DataObject):
            setattr(made, field.name, field.type())
    return made
