"""A lock that a run holds while it lives, on whatever host: taken again if its session broke, lost if another
came between."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime

from runner.base.errors import LockedError, LockLostError, TransientError
from runner.base.model import Model
from runner.hosts.fencing import bare
from runner.hosts.host import Host, Lock
from runner.hosts.stray_processes import end_session


class Holder(Model):
    """Who holds a lock; its text is what the one who finds it locked reads."""

    host: str
    pid: int
    run: str
    job: str
    since: datetime
    execution: str
    """One process that works on the run: two machines may resume one run, one after the other."""

    @property
    def token(self) -> str:
        return f"{self.run}:{self.execution}"

    def __str__(self) -> str:
        return f"run {self.run} of {self.job} on {self.host}, pid {self.pid}, since {_time(self.since)}"


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
    """Safe from any thread. It is free once everybody who took it has released it; lost once, it stays lost,
    unless it is taken afresh."""

    def __init__(self, host: Host, path: str, holder: Holder, what: str) -> None:
        """`what` names the lock in errors."""
        self.host = bare(host)
        self.path = path
        self._holder = holder
        self._what = what
        self._lock: Lock | None = None
        """The last one we had, None before the first."""
        self._takers = 0
        self._closed = False
        self._lost: tuple[str, str, str] | None = None
        """To whom, their token, and when that was noticed."""
        self._taking = threading.RLock()

    def take(self, *, by_force: bool = False, afresh: bool = False) -> None:
        """For each there is to be one `release`. Raises LockedError with the holder, also if another had the
        lock since we first took it; `afresh`: not so where everybody had released it, since nothing rests on
        what was then. `by_force`: the holder's session is ended first, and with it everything that it holds
        on the lock's host."""
        with self._taking:
            if afresh and not self._takers:
                self._lock = self._lost = None
            try:
                self._ensure()
            except LockedError as error:
                if not by_force or self._lock is not None:
                    raise
                end_session(self.host, self.path, error.token)
                self._ensure()
            self._takers += 1

    def hold(self) -> None:
        """Before every write: returns if the lock is ours or no longer needed, takes it again if its
        session broke. Raises LockedError, also once it was closed, and what keeps the host from being
        reached."""
        with self._taking:
            if self._closed:
                words = f"run {self._holder.run} has released {self._what}: it writes nothing more"
                raise LockedError(self._what, str(self._holder), self._holder.token, sentence=words)
            if self._takers:
                self._ensure()

    def release(self) -> None:
        with self._taking:
            self._takers -= 1
            if self._takers == 0 and self._lock is not None:
                self._lock.release()

    def close(self) -> None:
        """The last `release`, at the end of the run: a thread that the run left behind is refused by `hold`
        from now on, also where another run has the lock by then."""
        with self._taking:
            self._closed = True
            self.release()

    def _ensure(self) -> None:
        # Taking it again wrote our own name into the file: the one between is no longer named there.
        if self._lost is not None:
            raise self._lock_lost(*self._lost)
        if self._lock is not None and self._lock.alive():
            return
        try:
            lock = self._locked()
        except LockedError as error:
            if self._lock is None:
                raise LockedError(self._what, error.holder, error.token) from error
            self._lost = (error.holder, error.token, _time(datetime.now(UTC)))
            raise self._lock_lost(*self._lost) from error
        if self._lock is not None and lock.before != self._holder.token:
            lock.release()
            self._lost = (self._who(lock.before), lock.before, _time(datetime.now(UTC)))
            raise self._lock_lost(*self._lost)
        self._lock = lock

    def _who(self, token: str) -> str:
        """Of one that released it since, and left no name."""
        run = token.partition(":")[0]
        if not run:
            return "another process, unknown since the lock's file was removed or replaced"
        if run == self._holder.run:
            return f"another process that resumed this run {run} and has ended"
        return f"run {run}, which has ended"

    def _lock_lost(self, holder: str, token: str, noticed: str) -> LockLostError:
        return LockLostError(self._what, holder, token, noticed=noticed)

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
                f"{self._what} is still locked by a session of this run that broke, and {self.host.name} "
                "does not end it"
            ) from error


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
