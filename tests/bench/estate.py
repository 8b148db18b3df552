"""What a set of 1,000 and of 10,000 VMs takes: to select, to plan, to judge; and how much is asked for it."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import yaml

from runner.app.options import Options
from runner.app.selecting import select
from steps.lab.lab import Lab
from tests.bench.command import show, take
from tests.chain import many_of

SIZES = {1_000: 20.0, 10_000: 200.0}
"""VMs, and seconds that a plan of them may take. Its memory: 400 MB at 10,000."""
SIZE = "1 MiB"
"""Of a disk, at most: all of them are to fit on this machine."""
UNCOVERED = 6
"""The exit code of a coverage that names VMs: these points are old."""
POINTS = 3
"""Of each VM."""
ROUNDS = 1


def main() -> None:
    for vms, aim in SIZES.items():
        with tempfile.TemporaryDirectory(prefix="sb-") as name:
            directory = Path(name)
            inventory = directory / "inventory.yaml"
            inventory.write_text(yaml.safe_dump({"estate": {"vms": vms, "size": SIZE}}))
            lab = Lab.start(directory / "lab", inventory, leashed=True)
            try:
                _measure(lab, vms, aim)
            finally:
                lab.stop()


def _measure(lab: Lab, vms: int, aim: float) -> None:
    job = lab.directory / "jobs" / "estate.yaml"
    job.parent.mkdir(exist_ok=True)
    document = {
        "version": 1,
        "include": "../site.yaml",
        "template": "backup",
        "name": "estate",
        "select": {"from": "vcenters.lab"},
        "rpo": "26h",
        "vars": {"repository": "main", "transport": "https", "cbt": "enable", "retention": {"keep-last": 7}},
    }
    job.write_text(yaml.safe_dump(document, sort_keys=False))
    found = select(job, Options(state=lab.directory / "state"))
    named = {item.id: item.name for item in found.items.chosen}
    many_of(Path(lab.record.repository), named, POINTS, found.census.key)
    print(f"A set of {vms:,} VMs with {POINTS} restore points each:")
    state = f"--state={lab.directory / 'state'}"
    site = str(lab.directory / "site.yaml")
    commands = (
        (("select", str(job), state), aim / 2, 0),
        (("plan", str(job), state), aim, 0),
        (("coverage", site, str(job)), aim / 2, UNCOVERED),
    )
    for words, seconds, code in commands:
        before = _calls(lab)
        show(f"  {words[0]}", take(words, rounds=ROUNDS, ok=(code,)), seconds)
        asked = _calls(lab) - before
        print(f"    asked of the vCenter: {sum(asked.values()) // (ROUNDS + 1)} requests", flush=True)


def _calls(lab: Lab) -> Counter[str]:
    return Counter(lab.status()["calls"])


if __name__ == "__main__":
    main()
