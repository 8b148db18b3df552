"""The lock of a VM in a repository: who works on its restore points has it."""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.hosts.held_lock import HeldLock, holder_of
from runner.hosts.host import Host, remove_temporaries
from runner.hosts.stray_processes import holder_at, is_alive
from runner.step.context import Context
from steps.repository import beforehand, layout


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


def holder(host: Host, directory: str) -> str | None:
    """Who works on the restore points in this VM's directory, in words, without touching the lock."""
    root, name = posixpath.split(directory)
    whole = beforehand.known(host, root)
    text = None if whole is None else whole.lock(name)
    if text is None:
        return holder_at(host, posixpath.join(directory, layout.LOCK))
    return text.holder if text.holder and text.process is not None and is_alive(host, text.process) else None


def _release(ctx: Context, lock: HeldLock) -> None:
    """What was done with it stands, also where its session does not end."""
    try:
        lock.release()
    except SendenseError as error:
        ctx.warn(error.message)
