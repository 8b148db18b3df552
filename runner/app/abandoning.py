"""An unfinished run is given up: everything it holds is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.app.desk import Desk, Options, open_desk
from runner.checkpoint import RunRecord, now
from runner.errors import UsageError
from runner.events import Event


def abandon_run(path: Path, run_id: str, options: Options, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
    """Lets go of everything the unfinished run `run_id` holds. Raises UsageError if there is no such run."""
    with open_desk(path, options, threading.Event(), listeners) as desk, ExitStack() as stack:
        stack.enter_context(desk.lock(run_id))
        for record in desk.state.runs():
            if record.id == run_id and record.is_unfinished:
                abandon(desk, record)
                return
        raise UsageError(f"the job {desk.job.name} has no unfinished run {run_id}")


def abandon(desk: Desk, record: RunRecord) -> None:
    desk.run(record)
    state = desk.state.open(record.id)
    unwinding = desk.unwinding(state)
    # A run that only had to be unwound has published: its point stays.
    unwound = unwinding.abandon(sealed=desk.is_out(record, unwinding))
    unwound.raise_failures()
    state.save(record.model_copy(update={"phase": "abandoned", "ended": now()}))
