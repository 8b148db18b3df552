"""An unfinished run is given up: everything it holds is let go of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from runner.app.desk import Desk, Options, open_desk
from runner.app.lost import lost
from runner.checkpoint import RunRecord, now
from runner.errors import SendenseError, UsageError
from runner.events import Event
from runner.unwind import UnwindError
from steps.orphans import Orphan


def abandon_run(path: Path, run_id: str, options: Options, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
    """Lets go of everything the unfinished run `run_id` holds; of one that nobody goes on with, of what is found. Raises
    UsageError if there is no such run."""
    with open_desk(path, options, threading.Event(), listeners) as desk, ExitStack() as stack:
        stack.enter_context(desk.lock(run_id))
        records = [record for record in desk.state.runs() if record.id == run_id]
        if records and records[0].is_unfinished:
            abandon(desk, records[0])
        elif left := [orphan for orphan in lost(desk) if orphan.run == run_id]:
            _let_go(left)
        else:
            raise UsageError(f"the job {desk.job.name} has no unfinished run {run_id}")


def _let_go(left: Sequence[Orphan]) -> None:
    """Each that may be; raises what stays, and why."""
    failures = []
    for orphan in left:
        try:
            if orphan.stays is not None:
                raise SendenseError(orphan.stays)
            orphan.let_go()
        except SendenseError as error:
            failures.append(f"{orphan.what} stays: {error}")
    if failures:
        raise UnwindError("; ".join(failures))


def abandon(desk: Desk, record: RunRecord) -> None:
    desk.run(record)
    state = desk.state.open(record.id)
    unwinding = desk.unwinding(state)
    unwinding.drop_misfits(record.id)
    # A run that only had to be unwound has published: its point stays.
    unwound = unwinding.abandon(sealed=desk.is_out(record, unwinding))
    unwound.raise_failures()
    state.save(record.model_copy(update={"phase": "abandoned", "ended": now()}))
