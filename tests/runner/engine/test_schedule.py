"""Whose turn it is, while workers tell of what they do."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from runner.engine.schedule import Schedule, Status
from runner.events.events import Bus
from runner.job.nodes import NodeId


def test_workers_may_tell_of_processes_while_the_loop_looks_at_all_nodes(hurried: None) -> None:
    stop = threading.Event()
    stop.set()
    nothing: Any = SimpleNamespace()
    schedule = Schedule(nothing, nothing, Bus(), stop)
    broken: list[BaseException] = []

    def tell(worker: int) -> None:
        for number in range(500):
            node: Any = SimpleNamespace(id=NodeId("export", (worker, number)))
            schedule.set(node, Status.FAILED)

    workers = [threading.Thread(target=tell, args=(worker,)) for worker in range(2)]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            assert schedule._stopped_working()
    except RuntimeError as error:
        broken.append(error)
    for worker in workers:
        worker.join()
    assert broken == []
