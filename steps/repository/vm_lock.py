"""The lock of a VM in a repository: who works on its restore points has it."""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.hosts.held_lock import HeldLock, holder_of
from runner.hosts.host import Host, remove_temporaries
from runner.step.context import Context
from steps.repository import layout


def hold(ctx: Context, host: Host, directory: str, what: str, *, afresh: bool = False) -> str:
    """Takes the lock of the VM with this directory for as long as `ctx` is open, and lets nothing of this run
    be written on any host without it; returns the lock file's path. `what` names the VM in messages, `afresh`
    is that of `HeldLock.take`. Raises LockedError, and TransientError for a session of this run that
    broke."""
    path = posixpath.join(directory, layout.LOCK)

    holder = holder_of(ctx.run.id, ctx.run.job, ctx.run.execution)
    # One for the run: it knows, when it is taken again, whether another had it meanwhile, and who else still
    # needs it.
    lock = ctx.once(("reserve", host.name, path), lambda: HeldLock(host, path, holder, what))
    lock.take(by_force=ctx.run.break_locks, afresh=afresh)
    ctx.closing.callback(_release, ctx, lock)
    if lock not in ctx.guards:
        ctx.guards.append(lock)
    remove_temporaries(host, directory)
    return path


def _release(ctx: Context, lock: HeldLock) -> None:
    """What was done with it stands, also where its session does not end."""
    try:
        lock.release()
    except SendenseError as error:
        ctx.warn(error.message)
