"""What unfinished runs may hold no longer is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.app.desk import Options, open_desk
from runner.app.records import holder_of
from runner.checkpoint import now
from runner.events import Event
from runner.step import Run


def sweep_job(
    path: Path, options: Options, listeners: Sequence[Callable[[Event], None]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lets go of what unfinished runs may hold no longer; returns what was released, and the runs that still hold
    something. A run that is alive has the lock: LockedError."""
    with open_desk(path, options, threading.Event(), listeners) as desk, ExitStack() as stack:
        stack.callback(desk.state.lock(str(holder_of("sweep"))).release)
        released: list[str] = []
        holding: list[str] = []
        for record in desk.state.runs():
            if record.phase not in ("working", "unwinding"):
                continue
            desk.world.run = Run(record.id, record.job, record.job_digest, record.git_commit)
            state = desk.state.open(record.id)
            desk.world.log = state.log
            unwinding = desk.unwinding(state)
            unwound = unwinding.release(succeeded=record.phase == "unwinding")
            released += [f"{record.id}: {what}" for what in unwound.released]
            unwound.raise_failures()
            if record.phase == "unwinding":
                state.save(record.model_copy(update={"phase": "finished", "ended": now()}))
            else:
                holding.append(record.id)
                unwinding.name_what_is_held(record.id, work_done=False)
        return tuple(released), tuple(holding)
