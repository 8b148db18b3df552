"""A lease: what vCenter made or opened for disks to be transferred, for as long as Progress comes in time.

initializing → ready → done, or error (API reference, HttpNfcLease). What an import made goes with a lease
that ends by an error, by Abort, by time-out or with its session, disks and all; that a lease dies with its
session is an assumption. Once it has ended, Complete and Abort are InvalidState, or Timedout if that is how
it ended, until it is forgotten, when every call is ManagedObjectNotFound (oslo.vmware expects that).
"""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from steps.lab.simulator.machine import Machine
from steps.lab.simulator.nfc.tally import ALGORITHMS
from steps.lab.simulator.nfc.target import Target
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tasks import STATE as TASK
from steps.lab.simulator.tasks import Task
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl

STATE = vim.HttpNfcLease.State


class Ended(Exception):
    """A transfer's lease is over: its connection closes without an answer (assumed)."""


class Door(Protocol):
    """Where leases' files are transferred, as their urls say it."""

    timeout: float
    """Seconds from one Progress to the next."""

    private: bool
    """Whether a lease is to be seen by its session alone."""

    def url(self, ticket: str) -> str:
        """Of a lease's directory, without the slash at its end."""

    host: str
    """The url of the host that has them."""
    thumbprint: str
    """SHA-1 of its certificate."""

    def time(self) -> float:
        """Seconds, of the clock that leases age by."""


class Lease(Managed):
    kind = vim.HttpNfcLease

    def __init__(self, world: World, door: Door, call: Call) -> None:
        super().__init__(world, f"session[{call.session.info.key}]{_identifier()}")
        self.ticket = _identifier()
        self.state: Any = STATE.initializing
        self.targets: Sequence[Target] = ()
        self.machine: Machine | None = None
        """What it is about, once it is ready."""
        self.renewed = self.ended_at = 0.0
        self._door = door
        self._session = call.session
        self._task: Task | None = None
        self._error: Any = None
        self._percent = 0
        self.transferred = 0
        """Bytes, in both directions."""
        self._transferred_before = -1  # at the last Progress
        self.room: dict[str, int] = {}
        """Bytes that were free on each datastore when its first disk came in, by the datastore's name."""
        self.method, self._user = call.method, call.session.user
        call.session.owned[self.moid] = self

    @abstractmethod
    def takes(self, target: Target) -> tuple[str, ...]:
        """HTTP methods."""

    @abstractmethod
    def undo(self) -> None:
        """Removes what it made."""

    # properties

    @provides("state")
    def current_state(self) -> Any:
        return self.state

    @provides("error")
    def error(self) -> Any:
        return self._error

    @provides("initializeProgress")
    def initialize_progress(self) -> int:
        return 0 if self.state == STATE.initializing else 100

    @provides("transferProgress")
    def transfer_progress(self) -> int:
        return self._percent

    @provides("mode")
    def mode(self) -> str:
        return "pushOrGet"

    @provides("capabilities")
    def capabilities(self) -> Any:
        return vim.HttpNfcLease.Capabilities(pullModeSupported=False, corsSupported=False)

    @provides("info")
    def info(self) -> Any:
        """Valid in ready alone (API reference)."""
        if self.state != STATE.ready or self.machine is None:
            return None
        place = self._door.url(self.ticket)
        store = f"{place}/"
        host = vim.HttpNfcLease.HostInfo(url=self._door.host, sslThumbprint=self._door.thumbprint)
        return vim.HttpNfcLease.Info(
            lease=self.ref,
            entity=self.machine.ref,
            deviceUrl=[
                vim.HttpNfcLease.DeviceUrl(
                    key=target.key,
                    importKey=target.import_key,
                    url=store + target.name,
                    sslThumbprint=self._door.thumbprint,
                    disk=target.disk is not None,
                    targetId=target.name,
                    datastoreKey=store,
                )
                for target in self.targets
            ],
            totalDiskCapacityInKB=sum(one.disk.capacity // 1024 for one in self.targets if one.disk),
            leaseTimeout=max(1, round(self._door.timeout)),
            hostMap=[vim.HttpNfcLease.DatastoreLeaseInfo(datastoreKey=store, hosts=[host])],
        )

    # its life; all of it under the world's lock

    def open(self, machine: Machine, targets: Sequence[Target]) -> None:
        """Ready: the VM is held by a task until the lease ends (API reference: PowerOn, Destroy and Migrate
        are blocked meanwhile)."""
        self.machine, self.targets = machine, targets
        task = Task(self.world, self.method, machine.ref, machine.name, self._user)
        task.info.state, task.info.startTime = TASK.running, self.world.now()
        self._task, machine.busy = task, task.ref
        self.state, self.renewed = STATE.ready, self._door.time()
        self.world.changed()

    @property
    def late(self) -> bool:
        return bool(self.state == STATE.ready) and self._door.time() - self.renewed > self._door.timeout

    @property
    def is_open(self) -> bool:
        return self.state in (STATE.initializing, STATE.ready)

    def end(self, error: Any = None) -> None:
        """In done, or with an error, which removes what an import made."""
        if not self.is_open:
            return
        self.state, self._error = (STATE.error, error) if error else (STATE.done, None)
        self.ended_at = self._door.time()
        if self._task is not None and self.machine is not None:
            task, self.machine.busy = self._task, None
            task.info.state, task.info.error = (TASK.error, error) if error else (TASK.success, None)
            task.info.completeTime, task.finished_at = self.world.now(), time.monotonic()
        if error:
            self.undo()
        self.world.changed()

    def time_out(self) -> None:
        self.end(fault(vim.fault.Timedout, "Operation timed out."))

    def visible_to(self, session: Any) -> bool:
        """Its moref is that of a session's own object; whether others can use it was not found."""
        return not self._door.private or session is self._session

    def session_ended(self) -> None:
        self.end(fault(vmodl.fault.RequestCanceled, "The task was canceled by a user."))
        super().session_ended()

    def forget(self) -> None:
        self._session.owned.pop(self.moid, None)
        self.world.remove(self)

    def require_ready(self) -> None:
        """Raises Timedout or InvalidState."""
        if isinstance(self._error, vim.fault.Timedout):
            raise fault(vim.fault.Timedout, "Operation timed out.")
        if self.state != STATE.ready:
            raise fault(vim.fault.InvalidState, "The operation is not allowed in the current state.")

    def note(self, size: int) -> None:
        """Bytes that came in or go out. Raises Ended."""
        if self.state != STATE.ready:
            raise Ended
        self.transferred += size

    # operations

    @operation("HttpNfcLeaseProgress")
    def progress(self, call: Call) -> None:
        """Timedout also where "vSphere has not detected data transfer progress" (API reference): by the fault
        lease-idle."""
        if self.world.faults.hits("lease-timeout"):
            self.time_out()
        if self.transferred == self._transferred_before and self.world.faults.hits("lease-idle"):
            self.time_out()
        self.require_ready()
        if not 0 <= call.arguments.percent <= 100:
            raise invalid_argument("percent")
        self._percent, self.renewed = call.arguments.percent, self._door.time()
        self._transferred_before = self.transferred
        if self._task is not None:
            self._task.info.progress = self._percent
        self.world.changed()

    @operation("HttpNfcLeaseComplete")
    def complete(self, call: Call) -> None:
        self.require_ready()
        self.end()

    @operation("HttpNfcLeaseAbort")
    def abort(self, call: Call) -> None:
        if self.state != STATE.initializing:
            self.require_ready()
        given = call.arguments.fault
        self.end(given or fault(vmodl.fault.RequestCanceled, "The task was canceled by a user."))

    @operation("HttpNfcLeaseSetManifestChecksumType")
    def set_manifest_checksum_type(self, call: Call) -> None:
        """For what is transferred from now on: "should be set before any transfer starts" (API reference)."""
        self.require_ready()
        by_key = {target.key: target for target in self.targets}
        for pair in call.arguments.deviceUrlsToChecksumTypes:
            if pair.key not in by_key or pair.value not in ALGORITHMS:
                raise invalid_argument("deviceUrlsToChecksumTypes")
            by_key[pair.key].algorithm = pair.value

    @operation("HttpNfcLeaseGetManifest")
    def get_manifest(self, call: Call) -> list[Any]:
        """What came in or went out, as this side saw it."""
        self.require_ready()
        return [target.manifest_entry() for target in self.targets if target.moved is not None]


def _identifier() -> str:
    """As hostd and vpxd make them: a uuid that begins with 52."""
    return f"52{str(uuid.uuid4())[2:]}"
