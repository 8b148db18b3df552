"""The simulator as a whole: an inventory, a directory of disk files, an HTTPS endpoint on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from runner.base.errors import UsageError
from runner.base.suggestion import did_you_mean
from steps.lab.simulator import certificate, services
from steps.lab.simulator.access import Access
from steps.lab.simulator.authorization import AuthorizationManager
from steps.lab.simulator.compute import Host
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.dispatch import Dispatcher
from steps.lab.simulator.endpoint import Endpoint
from steps.lab.simulator.entities import unescape
from steps.lab.simulator.folder import Datastores
from steps.lab.simulator.inventory import Inventory
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.nfc.service import Nfc
from steps.lab.simulator.objects import OPERATIONS, World
from steps.lab.simulator.outside_writes import OutsideWrites
from steps.lab.simulator.sessions import Sessions
from steps.lab.simulator.snapshots import remove_all
from steps.lab.simulator.tagging import Tagging
from steps.lab.simulator.tasks import Tasks, fault_type
from steps.lab.simulator.tickets import Tickets
from steps.lab.simulator.traffic import Traffic
from steps.lab.simulator.tree import build
from steps.lab.simulator.vapi import Vapi

STOP_TIMEOUT = 10.0

METHODS = ("Fetch", "GET", "HEAD", "PUT", "POST", "DELETE")
"""What comes besides the operations of objects: how attributes are read, and HTTP for files."""


class Simulator:
    """A vCenter on 127.0.0.1. Use it as a context manager, or start() and stop() it.

    `directory` gets datastores/ with the disk files, and tls/ with the certificates. Disk files that are
    there already are kept. Times are in seconds: `idle` is a session's limit, `task_seconds` what a task
    takes, `remember` how long a finished task is known, `lease_timeout` how long a lease lasts without
    progress; sessions and leases age by `clock`. `certificate_valid`: how long its certificate still is,
    negative if it has expired; `certificate_names`: which servers it names.
    Raises UsageError where the inventory and the directory do not fit together.
    """

    def __init__(
        self,
        inventory: Inventory,
        directory: Path,
        *,
        username: str,
        password: str,
        port: int = 0,
        idle: float = 1800.0,
        task_seconds: float = 0.0,
        remember: float = 600.0,
        lease_timeout: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        certificate_valid: timedelta = certificate.VALID,
        certificate_names: certificate.Names = certificate.LOOPBACK,
    ) -> None:
        self.directory = directory
        traffic = Traffic()
        self.calls, self.served, self.received = traffic.calls, traffic.served, traffic.received
        self._world = _world(inventory)
        self._tasks = Tasks(self._world, seconds=task_seconds, remember=remember)
        sessions = Sessions(self._world, username=username, password=password, idle=idle, clock=clock)
        tickets = Tickets()
        self.tagging = Tagging()
        for tag in inventory.tags:
            self.tagging.make(tag)
        root = build(self._world, self._tasks, inventory, directory, self.tagging)
        authorization = AuthorizationManager(self._world, inventory.denied)
        self._world.tasks, self._world.authorization = self._tasks, authorization
        services.make(self._world, root, inventory.instance_uuid, sessions, tickets, self._tasks)
        rest = "none" if self._world.esxi else inventory.rest
        self.rest = Vapi(self._world, sessions, self.tagging, rest, self.calls)
        tls = directory / "tls"
        certificates = certificate.make(tls, certificate_valid, certificate_names)
        self.ca_path = certificates.ca
        """PEM of the authority that signed the server's certificate."""
        self.thumbprint = certificates.thumbprint
        """SHA-256 of the server's certificate, hex pairs with colons."""
        self._nfc = Nfc(
            self._world, inventory, certificates, tls, traffic, timeout=lease_timeout, clock=clock
        )
        self._world.leases = self._nfc.leases
        self._endpoint = Endpoint(
            port,
            certificates.context(),
            self._world,
            Access(self._world, sessions, tickets),
            Dispatcher(self._world, sessions, authorization, self.calls),
            Datastores(self._world, root, inventory.locked_file_status, authorization),
            self.rest,
            self._nfc.transfers,
            traffic,
        )
        self.port: int = self._endpoint.server_port
        self._thread = threading.Thread(
            target=self._endpoint.serve_forever, kwargs={"poll_interval": 0.05}, name="simulator", daemon=True
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._nfc.start()
        self._thread.start()

    def stop(self) -> None:
        """Ends every connection and task. The disk files stay, each as its guest sees it: snapshots are not
        kept, so that another can continue with the directory."""
        self._world.stopping.set()
        self._world.changed()
        if self._thread.is_alive():
            self._endpoint.shutdown()
            self._thread.join(STOP_TIMEOUT)
        self._nfc.stop(STOP_TIMEOUT)
        self._endpoint.server_close()
        self._endpoint.close_connections(STOP_TIMEOUT)
        self._tasks.join(STOP_TIMEOUT)
        for machine in self._world.all(Machine):
            for disk in machine.stored_disks:
                disk.flatten()
                disk.close()

    def see_vddk_writes(self, noted: Path) -> None:
        """From now on changed block tracking sees what is written by VMware's library, which notes it in that
        file; before, it does not."""
        with self._world.lock:
            outside = OutsideWrites(noted)
            self._world.look_outside = lambda: outside.notice(
                disk for machine in self._world.all(Machine) for disk in machine.stored_disks
            )

    def set_clock(self, ahead: timedelta) -> None:
        """From now on its clock is so much ahead of this machine's."""
        self._world.clock_ahead = ahead

    def _machine(self, vm: str) -> Machine:
        """By name, as people write it or escaped, by inventory path or by moref."""
        machines: list[Machine] = list(self._world.all(Machine))
        for known in ("moid", "inventory_path", "name"):
            found = [one for one in machines if unescape(vm) == unescape(getattr(one, known))]
            if len(found) == 1:
                return found[0]
            if found:
                raise UsageError(
                    f"there are {len(found)} VMs called '{vm}'; say which by its inventory path or moref"
                )
        raise UsageError(
            f"there is no VM '{vm}'; there are {', '.join(unescape(one.name) for one in machines)}"
        )

    def _disk(self, vm: str, key: int) -> Disk:
        machine = self._machine(vm)
        disk = machine.disk(key)
        if disk is None:
            keys = ", ".join(str(one.key) for one in machine.disks)
            raise UsageError(f"the VM {vm} has no disk {key}; it has {keys}")
        return disk

    def write(self, vm: str, key: int, offset: int, content: bytes) -> None:
        """A guest write: into the live disk, seen by changed block tracking. Offset and length in bytes.

        Raises UsageError for an unknown VM or disk and for a write past the disk's end.
        """
        with self._world.lock:
            disk = self._disk(vm, key)
            if offset < 0 or offset + len(content) > disk.capacity:
                raise UsageError(
                    f"disk {key} of {vm} has {disk.capacity} bytes; the write would end behind them"
                )
            disk.write(offset, content)

    def read(self, vm: str, key: int, offset: int, length: int) -> bytes:
        """What the guest reads now, through every delta."""
        with self._world.lock:
            return self._disk(vm, key).read(offset, length)

    def grow(self, vm: str, key: int, capacity: int) -> None:
        """Makes a disk larger, which starts its change tracking over unless the fault cbt-keep is armed.
        Raises UsageError while the VM has a snapshot."""
        with self._world.lock:
            machine, disk = self._machine(vm), self._disk(vm, key)
            if len(disk.layers) > 1 or capacity < disk.capacity or capacity % 512:
                raise UsageError(
                    f"disk {key} of {vm} cannot become {capacity} bytes: it has {disk.capacity}, must grow "
                    "by whole sectors, and must not be in a snapshot"
                )
            disk.grow(capacity, keep_tracking=self._world.faults.hits("cbt-keep"))
            machine.touch()

    def add_disk(self, vm: str, spec: DiskSpec) -> None:
        """Attaches a new disk. Raises UsageError while the VM has a snapshot, and for a key that it has
        already."""
        with self._world.lock:
            machine = self._machine(vm)
            if machine.snapshots or machine.disk(spec.key):
                raise UsageError(f"{vm} cannot get a disk {spec.key}: it has one, or a snapshot")
            machine.add_disk(spec)
            machine.touch()

    def remove_disk(self, vm: str, key: int) -> None:
        """Detaches it. Raises UsageError while the VM has a snapshot."""
        with self._world.lock:
            machine, _ = self._machine(vm), self._disk(vm, key)
            if machine.snapshots:
                raise UsageError(f"disk {key} of {vm} cannot be removed: the VM has a snapshot")
            machine.remove_disk(key)
            machine.touch()

    def rename(self, vm: str, name: str) -> None:
        """Raises UsageError where another VM of its folder has that name."""
        with self._world.lock:
            machine = self._machine(vm)
            beside = machine.parent.children if machine.parent is not None else []
            if any(one is not machine and unescape(one.name) == name for one in beside):
                raise UsageError(f"{vm} cannot be called '{name}': another VM beside it is")
            machine.rename(name)

    def change_instance_uuid(self, vm: str, uuid: str) -> None:
        """As a vCenter does where two VMs had one."""
        with self._world.lock:
            self._machine(vm).change_instance_uuid(uuid)

    def migrate(self, vm: str, host: str) -> None:
        """To another host, by its name; its files stay. Raises UsageError."""
        with self._world.lock:
            found = [one for one in self._world.all(Host) if one.name == host]
            if not found:
                raise UsageError(f"there is no host '{host}'")
            self._machine(vm).migrate(found[0])

    def unregister(self, vm: str) -> None:
        """Takes it out of the inventory; its files stay."""
        with self._world.lock:
            self._machine(vm).unregister()

    def tag(self, vm: str, tag: str, *, attach: bool = True) -> None:
        """``category/tag``, made where it is not there."""
        with self._world.lock:
            reference = self._machine(vm).ref
            (self.tagging.attach if attach else self.tagging.detach)(tag, reference)

    def fault(self, name: str, count: int = 1, **parameters: Any) -> None:
        """Arms a fault of `FAULTS` for the next `count` calls that it hits. Raises UsageError for an unknown
        one, and for parameters that it cannot have."""
        if name.startswith("fail-") and "fault" in parameters:
            fault_type(parameters["fault"])  # raises for a name that the API does not have
        method = parameters.get("method", "")
        if method and method not in (known := sorted({*OPERATIONS, *METHODS})):
            raise UsageError(f"the simulator is never asked for '{method}'{did_you_mean(method, known)}")
        self._world.faults.arm(name, count, parameters)

    def unset(self, *properties: str) -> None:
        """Leaves these out of all answers from now on, and no others: ``VirtualDisk.capacityInBytes``. Raises
        UsageError for one that the API does not have."""
        self._world.unset.set(frozenset(properties))

    @property
    def armed(self) -> dict[str, int]:
        """The faults not yet taken, and how often each will still hit."""
        return self._world.faults.armed()

    def remove_snapshots(self, vm: str) -> None:
        """All of the VM's at once, as somebody else may."""
        with self._world.lock:
            remove_all(self._machine(vm))

    def snapshots(self, vm: str) -> list[str]:
        """The names of the VM's snapshots, the oldest first."""
        with self._world.lock:
            return [snapshot.name for snapshot in self._machine(vm).snapshots]

    def snapshots_of_all(self) -> dict[str, list[str]]:
        """The same of every VM that there is now, by inventory path."""
        with self._world.lock:
            return {
                vm.inventory_path: [snapshot.name for snapshot in vm.snapshots]
                for vm in self._world.all(Machine)
            }

    def disk_file(self, vm: str, key: int) -> Path:
        """The disk's flat file, which equals the guest's disk whenever the VM has no snapshot."""
        with self._world.lock:
            return self._disk(vm, key).layers[0].raw.path


def _world(inventory: Inventory) -> World:
    world = World(esxi=inventory.product == "esxi")
    world.clock_ahead = timedelta(seconds=inventory.clock_ahead)
    world.unset.set(frozenset(inventory.unset))
    world.key_provider = inventory.key_provider
    world.newest_hardware = inventory.newest_hardware
    return world
