"""A lock that a run holds while it lives, on whatever host: taken again if its session broke, lost if another came between."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime

from runner.errors import LockedError, TransientError
from runner.hosts import Host, Lock
from runner.hosts.guarded import bare
from runner.hosts.leftovers import end_session
from runner.model import Model


class Holder(Model):
    """Who holds a lock; its text is what the one who finds it locked reads."""

    host: str
    pid: int
    run: str
    job: str
    since: datetime
    execution: str
    """One process that works on the run: two machines may go on with one run, one after the other."""

    @property
    def token(self) -> str:
        return f"{self.run}:{self.execution}"

    def __str__(self) -> str:
        since = f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"run {self.run} of {self.job} on {self.host}, pid {self.pid}, since {since}"


def holder_of(run: str, job: str, execution: str) -> Holder:
    """This process, for that run."""
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        run=run,
        job=" ".join(job.split()),
        since=datetime.now(UTC),
        execution=execution,
    )


class HeldLock:
    """Safe from any thread."""

    def __init__(self, host: Host, path: str, holder: Holder, what: str) -> None:
        """`what` names the lock in errors."""
        self.host = bare(host)
        self.path = path
        self._holder = holder
        self._what = what
        self._lock: Lock | None = None
        self._had = False
        self._released = False
        self._taking = threading.RLock()

    def take(self, *, by_force: bool = False) -> None:
        """Raises LockedError with the holder, also if another had the lock since we first took it. `by_force`: the holder's
        session is ended first, and with it everything that it holds on the lock's host."""
        with self._taking:
            self._released = False
            try:
                self._take()
            except LockedError as error:
                if not by_force or self._had:
                    raise
                end_session(self.host, self.path, error.token)
                self._take()

    def hold(self) -> None:
        """Before every write: returns if the lock is ours, takes it again if its session broke. Raises LockedError, and what
        keeps the host from being reached."""
        with self._taking:
            if self._had and not self._released and not self.alive():
                self._take()

    def alive(self) -> bool:
        return self._lock is not None and self._lock.alive()

    def release(self) -> None:
        """Twice is fine."""
        with self._taking:
            self._released = True
            if self._lock is not None:
                self._lock.release()

    def _take(self) -> None:
        token = self._holder.token
        try:
            lock = self._locked()
        except LockedError as error:
            raise LockedError(self._what, error.holder, error.token) from error
        if self._had and lock.before != token:
            lock.release()
            other = lock.before.partition(":")[0] or "another"
            raise LockedError(self._what, f"run {other}, which came while our session to {self.host.name} was broken")
        self._lock, self._had = lock, True

    def _locked(self) -> Lock:
        try:
            return self.host.lock(self.path, str(self._holder), self._holder.token)
        except LockedError as error:
            if error.token != self._holder.token:
                raise
        # Ours: the network broke, and the host has not noticed yet that the session is dead.
        end_session(self.host, self.path, self._holder.token, also_marked=False)
        try:
            return self.host.lock(self.path, str(self._holder), self._holder.token)
        except LockedError as error:
            if error.token != self._holder.token:
                raise
            raise TransientError(
                f"{self._what} is still locked by a session of this run that broke, and {self.host.name} does not end it"
            ) from error
