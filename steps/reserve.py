"""reserve: the VM's lock in the repository, held while the run lives (a PROCESS step and a guard)."""

from __future__ import annotations

import os
import posixpath
import socket
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

from runner.errors import LockedError, SendenseError, TransientError
from runner.hosts import Host, remove_temporaries
from runner.model import JobModel, SectionName
from runner.step import Context, Empty, Forecast, Given, Lifetime, Step
from steps.repository import layout, marker, vm_directory
from steps.repository.section import locate
from steps.vsphere.inventory import VM


class Reservation(Given):
    repository: str
    """The job's name of the repository."""
    lock: str
    """Path of the lock file on the repository's host."""


class ReserveIn(JobModel):
    vm: VM
    """The VM that is to be this run's alone."""
    repository: Annotated[str, SectionName("repositories")]
    """Where its restore points are."""


class Reserve(Step[ReserveIn, Empty, Reservation]):
    """Takes the VM's lock in the repository. It does so before anything is changed and holds it to the end of the run, so
    that two runs never write one VM's restore points. The lock is freed by the run's death, whatever kills it."""

    name = "reserve"
    lifetime = Lifetime.PROCESS
    guard = True
    In = ReserveIn
    Out = Reservation
    example = 'uses: reserve, with: {vm: "${{ discover.vm }}", repository: main}'
    errors = (
        "another run holds the VM (exit code 3; the holder is named)",
        "the path is not a repository (is the disk mounted?)",
        "the VM's directory belongs to a VM of another vCenter with the same instance uuid",
    )

    def run(self, ctx: Context, inputs: ReserveIn, live: Empty) -> Reservation:
        host, root = locate(ctx, inputs.repository)
        marker.require(host, root)
        directory = vm_directory.ensure(host, root, inputs.vm)
        what = f"VM {inputs.vm.name!r} in repository {inputs.repository}"
        return Reservation(repository=inputs.repository, lock=hold(ctx, host, directory, what))

    def forecast(self, ctx: Context, inputs: ReserveIn) -> Forecast:
        host, root = locate(ctx, inputs.repository)
        try:
            marker.require(host, root)
            directory = vm_directory.look(host, root, inputs.vm)
        except SendenseError as error:
            return Forecast(problems=(error.message,))
        return Forecast(notes=(f"{directory} on {host.name}",))


def hold(ctx: Context, host: Host, directory: str, what: str) -> str:
    """Takes the lock of the VM with this directory for as long as `ctx` is open; returns the lock file's path. `what` names
    the VM in messages. Raises LockedError, and TransientError for a session of this run that broke."""
    path = posixpath.join(directory, layout.LOCK)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = f"host {socket.gethostname()}, pid {os.getpid()}, run {ctx.run.id} of {ctx.run.job}, since {since}"
    try:
        lock = host.lock(path, holder)
    except LockedError as error:
        if f"run {ctx.run.id} " in error.holder:
            # Ours: the network broke, and the hub's sshd has not noticed yet that the session is dead.
            raise TransientError(
                f"{what} is still locked by a session of this run that broke; {host.name} gives it back once its sshd "
                "notices (ClientAliveInterval says when)"
            ) from error
        raise LockedError(what, error.holder) from error
    ctx.closing.callback(lock.release)
    ctx.alive.append(lock.alive)
    own: _Taken = ctx.shared(("reserve", host.name, path), lambda: nullcontext(_Taken()))
    last = _last_run(host, directory)
    if own.before and last != ctx.run.id:
        raise LockedError(what, f"run {last}, which came while our session to {host.name} was broken")
    remove_temporaries(host, directory)
    host.write(posixpath.join(directory, layout.LAST_RUN), f"{ctx.run.id}\n".encode())
    own.before = True
    return path


class _Taken:
    """Whether this run held the lock before: it takes it again after its session broke, and must know who came between.
    The lock file cannot tell, since whoever gives the lock back empties it."""

    before = False


def _last_run(host: Host, directory: str) -> str:
    try:
        return host.read(posixpath.join(directory, layout.LAST_RUN)).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
