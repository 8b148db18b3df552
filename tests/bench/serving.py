"""How long it takes from the command line of `sendense serve` to the first byte of the point, on one machine."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.base.units import GiB
from runner.hosts.local import LocalHost
from tests.chains import full, incremental
from tests.hub import disk, hub_on

ROUNDS = 5
AIM = 1.0
"""Seconds."""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with hub_on(LocalHost("hub"), str(directory / "repository"), directory) as hub:
            first = full(hub, directory / "references", disk(2000, GiB))
            point = incremental(first, directory / "references", seed=1).point
            site = directory / "site.yaml"
            site.write_text(f"version: 1\nrepositories: {{main: {{host: local, path: {hub.root}}}}}\n")
            seconds = [first_byte(site, point) for _ in range(ROUNDS + 1)][1:]
    middle = statistics.median(seconds)
    print(
        f"first byte of `serve`, an incremental, here, min / median / max: {min(seconds):.2f} / {middle:.2f} / "
        f"{max(seconds):.2f} s (aim {AIM:g} s: {'met' if middle <= AIM else 'NOT met'})",
        flush=True,
    )


def first_byte(site: Path, point: Path) -> float:
    began = time.perf_counter()
    argv = [sys.executable, "-m", "runner.cli", "serve", str(site), str(point)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        uri = next(line.split()[-1] for line in server.stdout if line.startswith("disk "))
        subprocess.run(
            ["qemu-io", "-r", "-f", "raw", "-c", "read 0 1", uri], check=True, capture_output=True, timeout=60
        )
        seconds = time.perf_counter() - began
        server.send_signal(signal.SIGINT)
    return seconds


if __name__ == "__main__":
    main()
