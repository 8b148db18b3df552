"""The usual night: an incremental of two disks in which nothing changed, and what it is made of."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from steps.lab import record
from steps.lab.lab import Lab

AIM = 1.2
"""CPU seconds of the runner and of the programs it starts, beside those of a Python that does nothing."""
AIM_LOGINS = 4
"""At the repository's host."""
VM = "pgtest1"
RUNS = 5
SHOWN = 8
TIMEOUT = 300.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sb-") as name:
        lab = Lab.start(Path(name) / "lab", leashed=True)
        try:
            _measure(lab, Path(name))
        finally:
            lab.stop()


def write_job(lab: Lab) -> Path:
    """A nightly job of the lab's first VM as people write it: with its records in the repository."""
    site = yaml.safe_load((lab.directory / "site.yaml").read_text())
    values = {"vm": VM, "vcenter": "lab", "repository": "main", "transport": "https", "cbt": "enable"}
    path = lab.directory / "jobs" / "night.yaml"
    job = {**site, "name": "night", "template": "backup", "vars": values, "state": {"in": "repositories.main"}}
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


def soap_calls(lab: Lab) -> Counter[str]:
    """By method, so far; without the requests that read disks and files."""
    return Counter({name: count for name, count in lab.status()["calls"].items() if " " not in name})


def _measure(lab: Lab, directory: Path) -> None:
    job = write_job(lab)
    run_counted(job, directory)  # the full
    before = soap_calls(lab)
    sshd = lab.directory / record.STORE / "sshd" / "log"
    logged_in = _logins(sshd)
    nights = [run_counted(job, directory) for _ in range(RUNS)]
    logins = (_logins(sshd) - logged_in) / RUNS
    calls = (soap_calls(lab) - before).total() / RUNS
    python = statistics.median(_used([sys.executable, "-c", "pass"]) for _ in range(RUNS))
    cpu = [night["cpu"] - python for night in nights]
    middle = {name: statistics.median(night[name] for night in nights) for name in nights[0] if name != "events"}
    print(
        f"a night in which nothing changed, two disks: {middle['seconds']:.2f} s ({_spread(n['seconds'] for n in nights)}); "
        f"CPU seconds beside Python's start and end of {python:.2f}: {statistics.median(cpu):.2f} ({_spread(cpu)}) "
        f"(aim ≤ {AIM:.1f}: {'met' if statistics.median(cpu) <= AIM else 'NOT met'}); {middle['commands']:.0f} "
        f"commands through {logins:.0f} logins (aim ≤ {AIM_LOGINS}), {middle['programs']:.0f} programs here, "
        f"{calls:.0f} SOAP calls, {middle['modules']:.0f} modules. Where its time went:"
    )
    parts = _parts(nights[-1]["events"], nights[-1]["seconds"])
    for part in sorted(parts, key=lambda part: -parts[part])[:SHOWN]:
        print(f"    {part:<34} {parts[part]:5.2f} s")


def run_counted(job: Path, directory: Path) -> dict[str, Any]:
    report, events = directory / "report.json", directory / "events.jsonl"
    events.unlink(missing_ok=True)
    words = ["run", str(job), "--quiet", f"--state={directory / 'state'}", f"--events={events}"]
    argv = [sys.executable, "-m", "tests.bench.counted", str(report), *words]
    cpu = _used(argv)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    return {**json.loads(report.read_text()), "cpu": cpu, "events": told}


def _logins(log: Path) -> int:
    """That sshd wrote down so far: those that carry commands, and those that carry forwards."""
    return log.read_text(errors="replace").count("Accepted publickey for ")


def _used(argv: Sequence[str]) -> float:
    """CPU seconds of a program and of those that it starts, from its first moment to its last."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, capture_output=True, check=False, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(f"{argv} failed: {done.stderr.decode(errors='replace')}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _parts(events: Sequence[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Seconds by kind of step, from the first of its nodes that starts to the last that is done; those of the processes
    that it needs are told apart. The look before the first change is the time until the first lock opens."""
    at = [datetime.fromisoformat(event["at"]).timestamp() for event in events]
    spans: dict[str, list[float]] = defaultdict(list)
    for when, event in zip(at, events, strict=True):
        if event["type"] in ("node-started", "node-finished"):
            spans[event["node"].partition("[")[0]].append(when - at[0])
    found = {f"step {step}": max(times) - min(times) for step, times in spans.items()}
    looked = min(spans["reserve"]) - max(spans["discover"])
    return {
        "start, job file, state, and the end": seconds - (at[-1] - at[0]),
        "look before the first change": looked,
        **found,
    }


def _spread(values: Any) -> str:
    several = sorted(values)
    return f"{several[0]:.2f} to {several[-1]:.2f}"


if __name__ == "__main__":
    main()
