"""A whole job against its copy alone, through SSH with a round trip of 20 ms and 200 Mbit/s, in pairs.

The job is a full of one VM as people write it, with its records in the repository: from the start of `sendense run` to its
end, with the look ahead, the snapshot, the copy, the read-back and the restore point. The copy alone is the engine's, of the
same bytes through the same wire, with its forwards already open.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from runner.base.units import human_bytes
from steps.lab import record
from steps.lab.lab import Lab
from tests.bench.copying import NARROW, ROUND_TRIP, bench_and_sshd, delayed
from tests.bench.disk import SIZE
from tests.bench.night import VM, run_counted, write_job
from tests.bench.readback import copy_alone
from tests.e2e.site import inventory

AIM = 1.25
"""The job against the copy alone."""
PAIRS = 3
DISK = 2000
SHOWN = 6


def main() -> None:
    with ExitStack() as stack:
        bench, sshd = stack.enter_context(bench_and_sshd())
        lab = stack.enter_context(_lab(bench.directory, bench.disk))
        job = write_job(lab)
        store = lab.record.store
        _point_at(job, stack.enter_context(delayed(store, NARROW))[0].port)
        spec, proxy = stack.enter_context(delayed(sshd.spec, NARROW))
        jobs: list[dict[str, Any]] = []
        copies: list[float] = []
        for _ in range(PAIRS):
            copies.append(copy_alone(bench, spec, proxy))
            jobs.append(_full(job, bench.directory))
        _print(bench.data, copies, jobs)


@contextmanager
def _lab(directory: Path, content: Path) -> Iterator[Lab]:
    """With one VM, whose disk holds what `content` does."""
    disk = {"key": DISK, "controller": 1000, "unit": 0, "size": SIZE, "content": {"file": str(content)}}
    described = directory / "inventory.yaml"
    described.write_text(yaml.safe_dump(inventory({"name": VM, "disks": [disk]})))
    lab = Lab.start(directory / "lab", described, leashed=True)
    try:
        yield lab
    finally:
        lab.stop()


def _point_at(job: Path, port: int) -> None:
    """The job reaches its repository through this port."""
    told = yaml.safe_load(job.read_text())
    told["hosts"][record.STORE]["port"] = port
    told["vars"]["mode"] = "full"
    job.write_text(yaml.safe_dump(told, sort_keys=False))


def _full(job: Path, directory: Path) -> dict[str, Any]:
    began = time.perf_counter()
    ran = run_counted(job, directory)
    return {**ran, "whole": time.perf_counter() - began}


def _print(data: int, copies: Sequence[float], jobs: Sequence[dict[str, Any]]) -> None:
    whole = [job["whole"] for job in jobs]
    ratios = [there / alone for there, alone in zip(whole, copies, strict=True)]
    middle = statistics.median(ratios)
    print(
        f"a full of {human_bytes(data)} through SSH, {ROUND_TRIP * 1000:.0f} ms and {NARROW * 8 / 1e6:.0f} Mbit/s: job "
        f"{_spread(whole)} s, copy alone {_spread(copies)} s: {_spread(ratios)} × the copy alone ({len(jobs)} pairs; aim ≤ "
        f"{AIM}: {'met' if middle <= AIM else 'NOT met'}). Longest nodes of the last job:"
    )
    took = _nodes(jobs[-1]["events"])
    for node in sorted(took, key=lambda node: -took[node])[:SHOWN]:
        print(f"    {node:<20} {took[node]:6.2f} s")


def _nodes(events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds from each node's last start to its end."""
    began: dict[str, float] = {}
    took: dict[str, float] = {}
    for event in events:
        at = datetime.fromisoformat(event["at"]).timestamp()
        if event["type"] == "node-started":
            began[event["node"]] = at
        elif event["type"] == "node-finished":
            took[event["node"]] = at - began[event["node"]]
    return took


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.2f} – {statistics.median(values):.2f} – {max(values):.2f}"


if __name__ == "__main__":
    main()
