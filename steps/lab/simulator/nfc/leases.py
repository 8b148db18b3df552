"""All leases: where their urls lead, and that they end in time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from steps.lab.simulator.compute import ResourcePool
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.nfc import export_lease, import_lease
from steps.lab.simulator.nfc.lease import STATE, Lease
from steps.lab.simulator.nfc.target import Target
from steps.lab.simulator.objects import World
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tasks import named_fault
from steps.lab.simulator.vmodl import fault, vim, vmodl

Make = Callable[[], tuple[Machine, Sequence[Target]]]

log = logging.getLogger(__name__)

REMEMBERED = 600.0
"""Seconds for which a lease that has ended is known."""


class Leases:
    """`host`: the url of the host, ``https://esxi:443/``; `path`: what leads to leases there, ``nfc``;
    `thumbprint`: SHA-1 of its certificate."""

    def __init__(
        self,
        world: World,
        *,
        host: str,
        path: str,
        thumbprint: str,
        timeout: float,
        private: bool,
        clock: Callable[[], float],
    ) -> None:
        self.host = host
        self.timeout = timeout
        self.thumbprint = thumbprint
        self.private = private
        self.remember = REMEMBERED
        self._world = world
        self._path = path
        self._clock = clock
        self._leases: list[Lease] = []
        self._watcher: threading.Thread | None = None

    def url(self, ticket: str) -> str:
        return f"{self.host}{self._path}/{ticket}"

    def time(self) -> float:
        return self._clock()

    def import_vapp(self, pool: ResourcePool, call: Call) -> Any:
        """Answers ResourcePool.ImportVApp: the lease's reference. Raises NoPermission."""
        lease = import_lease.start(self._world, self, pool, call)
        return self._start(lease, lambda: lease.make(pool, call))

    def export_vm(self, machine: Machine, call: Call) -> Any:
        """Answers VirtualMachine.ExportVm. Raises InvalidPowerState, TaskInProgress."""
        lease = export_lease.start(self, machine, call)
        return self._start(lease, lambda: lease.make(machine))

    def _start(self, lease: Lease, make: Make) -> Any:
        """Opens it on what `make` gives, or ends it with the vmodl fault that it raises: a client hears of
        either by the lease (API reference, ImportVApp)."""
        self._leases.append(lease)
        threading.Thread(target=self._prepare, args=(lease, make), name=lease.moid, daemon=True).start()
        return lease.ref

    def _prepare(self, lease: Lease, make: Make) -> None:
        slow = self._world.faults.take("slow-task", lease.method)
        if slow and self._world.stopping.wait(slow["seconds"]):
            return
        with self._world.lock:
            if not lease.is_open:
                return
            try:
                if broken := self._world.faults.take("fail-task", lease.method):
                    raise named_fault(broken["fault"], vim.Folder(self._world.root_folder))
                lease.open(*make())
                self._watch()
            except vmodl.MethodFault as error:
                lease.end(error)
            except Exception:
                # A bug of the simulator: its client gets a fault instead of a lease that stays initializing.
                log.exception("the lease %s (%s) failed", lease.moid, lease.method)
                lease.end(fault(vmodl.fault.SystemError, "A general system error occurred", reason="bug"))

    def find(self, ticket: str, name: str) -> tuple[Lease, Target] | None:
        """What a url names, while its lease is ready."""
        with self._world.lock:
            self.expire()
            for lease in self._leases:
                if lease.ticket == ticket and lease.state == STATE.ready:
                    return next(((lease, one) for one in lease.targets if one.name == name), None)
        return None

    def expire(self) -> None:
        """Ends what was not renewed, forgets what ended long ago."""
        with self._world.lock:
            for lease in list(self._leases):
                if lease.late:
                    lease.time_out()
                elif not lease.is_open and self.time() - lease.ended_at > self.remember:
                    lease.forget()
                    self._leases.remove(lease)

    def _watch(self) -> None:
        """Ends leases while nobody asks for anything."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._until_none, name="leases", daemon=True)
            self._watcher.start()

    def _until_none(self) -> None:
        with self._world.lock:
            while not self._world.stopping.is_set():
                self.expire()
                ready = [lease for lease in self._leases if lease.is_open]
                if not ready:
                    self._watcher = None
                    return
                ends = min(lease.renewed for lease in ready) + self.timeout
                self._world.lock.wait(max(0.05, ends - self.time()))

    def close(self) -> None:
        """A vCenter that stops ends its sessions, and leases with them."""
        with self._world.lock:
            for lease in self._leases:
                lease.session_ended()
