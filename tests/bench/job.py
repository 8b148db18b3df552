"""What the whole demo job costs beside its copy, and which nodes took longest."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from runner.app.options import Options
from runner.app.runs import run_job
from runner.base.render import shipped
from runner.events.events import Event, NodeFinished, NodeStarted
from steps.lab.lab import Lab

AIM = 1.1
"""Seconds: half of what it cost once."""
COPIES = ("transfer", "verify")
SHOWN = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sb-") as name:
        directory = Path(name)
        lab = Lab.start(directory / "lab", leashed=True)
        try:
            _measure(directory)
        finally:
            lab.stop()


def _measure(directory: Path) -> None:
    events: list[tuple[float, Event]] = []
    options = Options(overrides={"lab": str(directory / "lab")}, state=directory / "state")
    began = time.perf_counter()
    result = run_job(
        shipped("jobs/demo.yaml"),
        options,
        threading.Event(),
        [lambda event: events.append((time.perf_counter(), event))],
    )
    seconds = time.perf_counter() - began
    if result.exit_code:
        raise RuntimeError(f"the demo job ended with exit code {result.exit_code}")
    nodes = _nodes(events)
    # The disks are copied side by side, and so are they read back.
    moving = sum(max(took for node, took in nodes.items() if node.startswith(f"{step}[")) for step in COPIES)
    beside = seconds - moving
    print(
        f"the demo job: {seconds:.2f} s, of which {moving:.2f} s copy and read back; {beside:.2f} s beside "
        f"(aim < {AIM} s: {'met' if beside < AIM else 'NOT met'}). Slowest nodes:"
    )
    for node in sorted(nodes, key=lambda node: -nodes[node])[:SHOWN]:
        print(f"    {node:<20} {nodes[node]:5.2f} s")


def _nodes(events: list[tuple[float, Event]]) -> dict[str, float]:
    """Seconds of each node by itself: what it waits for while the processes below it open is theirs."""
    own: dict[str, float] = {}
    ready: dict[str, float] = {}
    for at, event in events:
        if isinstance(event, NodeStarted):
            ready[event.node] = at
        elif isinstance(event, NodeFinished):
            below = [other for other in own if _key(other) == _key(event.node) and ready[other] > ready[event.node]]
            own[event.node] = at - ready[event.node] - sum(own[other] for other in below)
    return own


def _key(node: str) -> str:
    return node.partition("[")[2]


if __name__ == "__main__":
    main()
