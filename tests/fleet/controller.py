"""A controller of children on a cluster: ``python -m tests.fleet.controller DIRECTORY SCHEDULER AT_ONCE``.

It places the orders of ``orders/*.json`` that did not end well yet, by ``ended.jsonl``, and writes there how they do."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

from runner.job.fleet import DaskFleet
from runner.sets.dask.assignments import Patience
from runner.sets.dask.placement import DaskPlacement
from runner.sets.placement import Order

PATIENCE = Patience(silence=4.0, returns=30.0, locked=30.0)


def main(directory: Path, scheduler: str, at_once: int) -> None:
    def said(key: str, line: str) -> None:
        print(f"{key}: {line}", file=sys.stderr, flush=True)

    def told(key: str, event: object) -> None:
        with (directory / "events.jsonl").open("a") as file:
            file.write(json.dumps({"key": key, "event": event}) + "\n")

    log = directory / "ended.jsonl"
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    good = {ended["key"] for ended in known if ended["exit_code"] == 0}
    orders = [Order.model_validate_json(path.read_text()) for path in sorted((directory / "orders").iterdir())]
    waiting = [order for order in orders if order.key not in good]
    files = {name: str(directory / "identity" / f"{name}.pem") for name in ("ca", "cert", "key")}
    placement = DaskPlacement(DaskFleet(scheduler=scheduler, **files), at_once, told, said, PATIENCE)
    running = 0
    try:
        while waiting or running:
            while waiting and placement.room():
                placement.start(waiting.pop(0))
                running += 1
            for ended in placement.ended(0.2):
                running -= 1
                with log.open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(ended)) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
    finally:
        placement.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
