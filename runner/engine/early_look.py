"""The part of the look ahead that can begin when the run does: what steps depend on by the job file alone.

A login takes several round trips, and so does the proof that a host's sshd carries forwards: both are over
when the first steps are. Steps learn such things once a run (`Context.once`), so the look that decides
whether the run may begin finds them, also that a host cannot be reached (`World.reached`); what else fails
here is asked again there, and told. Nothing depends on this look: not even a bug in it ends the run.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from runner.base.errors import SendenseError
from runner.engine.observer import Observer
from runner.events.events import Event, Warned
from runner.job.inputs import Resolver
from runner.job.nodes import Nodes
from runner.step.preflight import Known

AT_ONCE = 4
"""Steps that are asked side by side; most have nothing to ask."""


@contextmanager
def early_look(
    nodes: Nodes,
    resolver: Resolver,
    observing: Callable[[threading.Event], Observer],
    emit: Callable[[Event], None],
) -> Iterator[None]:
    """Looks beside the block. `observing`: who looks until the event is set, which it is at the block's end:
    nobody waits for a host then that does not answer. `emit` is told of bugs."""
    over = threading.Event()
    observer = observing(over)

    def ask(step: str) -> None:
        try:
            observer.preflight(step, nodes.kind(step), Known[Any, Any](resolver.told_values(step)))
        except SendenseError:
            return  # told by the look ahead
        except Exception as bug:  # noqa: BLE001  the step's node may do all the same
            what = "".join(traceback.format_exception_only(bug)).strip()
            emit(Warned(node=step, text=f"looking at it early met a bug: {what}"))

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="early look") as pool:
        for step in nodes.order:
            pool.submit(ask, step)
        try:
            yield
        finally:
            over.set()
            pool.shutdown(cancel_futures=True)
