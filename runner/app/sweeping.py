"""What unfinished runs may hold no longer is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from runner.app.desk import Options, open_desk
from runner.checkpoint import now
from runner.events import Event


def sweep_job(
    path: Path, options: Options, listeners: Sequence[Callable[[Event], None]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lets go of what unfinished runs may hold no longer; returns what was released, and the runs that still hold
    something. A run that is alive has the lock: LockedError."""
    with open_desk(path, options, threading.Event(), listeners) as desk, desk.lock("sweep"):
        released: list[str] = []
        holding: list[str] = []
        for record in desk.state.runs():
            if record.phase not in ("working", "unwinding"):
                continue
            desk.run(record)
            state = desk.state.open(record.id)
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
