"""A lease: vCenter lets disks go to or from an ESXi host over HTTPS as long as somebody says that he is still
there (API reference, HttpNfcLease).

It ends when `HttpNfcLeaseProgress` was not called for `leaseTimeout` seconds (300), with its session, and
with Complete or Abort. What an import has made by then goes with it, unless it was completed: the VM and its
disks. So a thread says it while disks are under way, and every failure ends in Abort.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from types import TracebackType
from typing import Any, Self, TypeVar

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import HOUR, MINUTE, human_seconds
from runner.base.waiting import Deadline, FirstOf, until
from steps.vsphere import nfc, vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import LeaseEnded, Unreachable, UploadRefused, VSphereError
from steps.vsphere.faults import explain
from steps.vsphere.nfc import Device
from steps.vsphere.properties import read
from steps.vsphere.session import Session
from steps.vsphere.transport import LongConnection
from steps.vsphere.unset import given

READY_DEADLINE = 12 * HOUR
"""As for a VM's creation: a disk that is zeroed beforehand is written whole before the lease is ready."""

ABORT_TIMEOUT = 30.0
"""Seconds; a lease that does not hear of it ends by itself."""

JOIN_TIMEOUT = 5.0
"""Seconds for the thread to end; it may hang in a call to a vCenter that is gone, and dies with the
process."""

SHARES = 6
"""How often within its time-out a lease hears that we are there."""

LONGEST_SILENCE = MINUTE

ResultT = TypeVar("ResultT")


class Lease:
    """Of the moref that the call for it returned; `doing` says in words what it is for: ``importing VM
    pgtest1``. Entered, it is ready and kept alive; left without `complete`, it is aborted."""

    def __init__(self, client: Client, moref: str, doing: str) -> None:
        self.doing = doing
        self.vm = ""
        """moref of the VM that is made, or read."""
        self.devices: tuple[Device, ...] = ()
        """Disks, each with what it is reached by."""
        self.percent = 0
        """What vSphere shows a person of it."""
        self._client = client
        self._moref = moref
        self._timeout = 0.0
        self._over = threading.Event()
        self._failed: SendenseError | None = None
        self._lock = threading.Lock()
        self._open: set[LongConnection] = set()
        self._keeper = threading.Thread(target=self._keep_alive, name=f"lease of {doing}", daemon=True)

    def __enter__(self) -> Self:
        """Raises what vCenter says of a lease that failed, LeaseEnded, Interrupted."""
        try:
            self._await_ready()
        except BaseException:
            self._abort()
            raise
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = self._over.is_set()
        self._over.set()
        if not done:
            self._abort()
        self._hang_up()
        self._keeper.join(JOIN_TIMEOUT)

    def complete(self) -> None:
        """Raises LeaseEnded, Unreachable (transient): it is not known then whether it was heard."""
        self.raise_failure()
        self._over.set()
        try:
            self.ask("completing", lambda lease: lease.HttpNfcLeaseComplete(), repeatable=False)
        except Unreachable:
            doing = f"looking whether {self.doing} is complete"
            seen = read(self._client, vmomi.vim.HttpNfcLease, self._moref, ("state",), doing)
            if seen.get("state") != vmomi.vim.HttpNfcLease.State.done:
                raise

    def raise_failure(self) -> None:
        """Raises what ended the lease, Interrupted once the run was told to stop."""
        if self._failed is not None:
            raise self._failed
        if self._client.stop.is_set():
            raise Interrupted

    @contextmanager
    def connected(self, device: Device) -> Iterator[LongConnection]:
        """To the device's host. It ends with the lease, with the run's stop, and when another one fails, or
        cannot be had: half of the disks are of no use. Raises as `nfc.connect`; Unreachable (transient) for a
        connection that broke."""
        with closing(self._connect(device)) as connection:
            with self._lock:
                self._open.add(connection)
            try:
                self.raise_failure()
                yield connection
            except (OSError, HTTPException) as error:
                said = "no byte for too long" if isinstance(error, TimeoutError) else str(error)
                broke = Unreachable(
                    f"{self.doing} failed: the connection to the ESXi host {connection.host} broke: "
                    f"{said or type(error).__name__}"
                )
                raise self._cause(broke) from error
            except UploadRefused as error:
                if (why := self._cause(error)) is not error:
                    raise why from error
                raise
            except SendenseError as error:
                self._fail(error)
                raise
            finally:
                with self._lock:
                    self._open.discard(connection)

    def _connect(self, device: Device) -> LongConnection:
        self.raise_failure()
        try:
            return nfc.connect(self._client, device)
        except SendenseError as error:
            self._fail(error)
            raise

    def ask(self, verb: str, work: Callable[[Any], ResultT], *, repeatable: bool = True) -> ResultT:
        """`work(lease)`. Raises LeaseEnded, VSphereError."""
        return self._ask(self._client, verb, work, repeatable)

    def _ask(self, client: Client, verb: str, work: Callable[[Any], ResultT], repeatable: bool) -> ResultT:
        def call(session: Session) -> ResultT:
            vim = vmomi.vim
            over = (vim.fault.Timedout, vim.fault.InvalidState, vmomi.vmodl.fault.ManagedObjectNotFound)
            try:
                return work(session.object(vim.HttpNfcLease, self._moref))
            except over as fault:
                said = type(fault).__name__.rpartition(".")[2]
                raise LeaseEnded(
                    f"{self.doing} failed: its lease has ended ({said}), and what it made with it"
                ) from fault

        try:
            return client.call(f"{verb} the lease of {self.doing}", call, repeatable=repeatable)
        except LeaseEnded as ended:
            raise self._why_ended(client, ended) from ended

    def _why_ended(self, client: Client, ended: LeaseEnded) -> SendenseError:
        """What vSphere found wrong, such as a full datastore, where it says so."""
        fine = (vmomi.vim.fault.Timedout, vmomi.vmodl.fault.RequestCanceled)
        doing = f"asking why the lease of {self.doing} ended"
        try:
            found = read(client, vmomi.vim.HttpNfcLease, self._moref, ("error",), doing).get("error")
        except Interrupted:
            raise
        except SendenseError:
            return ended  # it is forgotten already
        return ended if found is None or isinstance(found, fine) else explain(found, self.doing)

    def _await_ready(self) -> None:
        states = vmomi.vim.HttpNfcLease.State

        def ready() -> Any:
            doing = f"waiting for the lease of {self.doing}"
            seen = read(self._client, vmomi.vim.HttpNfcLease, self._moref, ("state", "error", "info"), doing)
            state = given(seen, "state", doing)
            if state == states.error:
                raise explain(given(seen, "error", doing), self.doing)
            if state == states.done:
                raise LeaseEnded(f"{self.doing} failed: its lease has ended before it was used")
            return given(seen, "info", doing) if state == states.ready else None

        def late() -> VSphereError:
            return VSphereError(
                f"{self.doing} failed: its lease was not ready after {human_seconds(READY_DEADLINE)}"
            )

        info = until(
            ready, stop=self._client.stop, timeout=READY_DEADLINE, late=late, pause=0.05, longest_pause=3.0
        )
        self.vm = str(given(info, "entity", self.doing)._moId)
        self._timeout = float(info.leaseTimeout or 300)
        self.devices = tuple(_device(one) for one in info.deviceUrl or () if one.disk)

    def _keep_alive(self) -> None:
        """Says that we are there. A vCenter that does not answer is asked until the lease must have ended."""
        pause = min(self._timeout / SHARES, LONGEST_SILENCE)
        ended = FirstOf(self._over, self._client.stop)
        heard = time.monotonic()
        while not ended.wait(pause):
            try:
                self.ask("keeping", lambda lease: lease.HttpNfcLeaseProgress(self.percent))
                heard = time.monotonic()
            except Interrupted:
                break
            except SendenseError as error:
                if not error.transient or isinstance(error, LeaseEnded) or self._is_late(heard):
                    self._fail(error)
                    return
        if not self._over.is_set():
            self._hang_up()

    def _cause(self, error: SendenseError) -> SendenseError:
        """Of a transfer that failed: the end of the lease, where that is what made it fail. It ends the
        others."""
        if self._failed is None and not self._client.stop.is_set():
            try:
                self.ask("looking at", lambda lease: lease.HttpNfcLeaseProgress(self.percent))
            except (Unreachable, Interrupted):
                pass  # the transfer's own error says more
            except SendenseError as why:
                error = why
        self._fail(error)
        return Interrupted() if self._client.stop.is_set() else self._failed or error

    def _is_late(self, heard: float) -> bool:
        return time.monotonic() - heard > self._timeout

    def _fail(self, error: SendenseError) -> None:
        """The first one is the one that counts."""
        with self._lock:
            self._failed = self._failed or error
        self._hang_up()

    def _hang_up(self) -> None:
        """What waits for a host that does not move wakes up."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError, AttributeError):  # it is closed already
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _abort(self) -> None:
        """Also after the run's stop. The first error is the one that counts."""
        client = self._client.until(Deadline(ABORT_TIMEOUT))
        with suppress(SendenseError):
            self._ask(client, "aborting", lambda lease: lease.HttpNfcLeaseAbort(), repeatable=False)


def abort(client: Client, moref: str) -> None:
    """A lease that a process which is gone has left. Whether another session may do that is not known: it
    ends by itself otherwise. Raises nothing but Interrupted."""

    def work(session: Session) -> None:
        session.object(vmomi.vim.HttpNfcLease, moref).HttpNfcLeaseAbort()

    with suppress(VSphereError):
        client.call("aborting an import that was cut short", work, repeatable=False)


def _device(found: Any) -> Device:
    key = str(found.importKey or found.key or "")
    return Device(
        key=str(found.key or ""),
        place=key.rpartition("/")[2],
        url=str(given(found, "url", f"device {key} of a lease")),
        thumbprint=str(found.sslThumbprint or ""),
    )
