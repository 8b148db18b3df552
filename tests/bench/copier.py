"""One process that copies disks with the product's engine, digests on, a thread a disk as the executor has it.

``python -m tests.bench.copier '[{"source": [URI…], "target": [URI…]}…]'`` prints ``{"seconds", "cpu", "memory"}`` as JSON:
from the first connect to the last FLUSH and goodbye; CPU seconds of this process, bytes of its peak memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from steps.backup.transfer import BLOCKS_PER_CONNECTION
from steps.copy.digests import Digests
from steps.copy.engine import Tuning, copy
from steps.copy.nbd_endpoint import NbdEndpoint
from tests.bench.measure import peak_memory


class Ends(TypedDict):
    source: list[str]
    target: list[str]


def copy_one(ends: Ends, digests: Path) -> None:
    with (
        NbdEndpoint(ends["source"], "source") as source,
        NbdEndpoint(ends["target"], "target") as target,
        Digests.create(digests, source.abilities.size) as file,
    ):
        tuning = Tuning(in_flight=max(Tuning.in_flight, BLOCKS_PER_CONNECTION * len(target.channels)))
        copy(source, target, file, stop=threading.Event(), tuning=tuning)


def main(disks: Sequence[Ends]) -> None:
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(len(disks)) as workers:
        began, cpu = time.perf_counter(), time.process_time()
        for copied in [workers.submit(copy_one, ends, Path(directory) / str(n)) for n, ends in enumerate(disks)]:
            copied.result()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": peak_memory("self")}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
