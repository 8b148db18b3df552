"""`sendense copy` where every one of 10,000 points has its copy already: what it costs each night.

python -m tests.bench.copies [VMS] [POINTS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.hosts.local import LocalHost
from steps.repository import layout, marker
from steps.repository.manifest import Origin, dump, parse
from tests.chain import FIRST, many


def copied(main: Path, offsite: Path) -> None:
    """`offsite` as if all of `main` had been copied; both get the sequences that points of today have."""
    origin = Origin(repository=marker.require(LocalHost(), str(main)).uuid, at=FIRST, run="20261101T030000Z-00000000")
    for directory in main.glob("*/"):
        for number, file in enumerate(sorted(directory.glob(f"*/{layout.MANIFEST}")), 1):
            made = parse(file.read_bytes(), str(file))
            now = {"schema_version": 2, "sequence": number, "stored": made.published}
            for root, more in ((main, now), (offsite, now | {"copied": origin})):
                (root / file.relative_to(main)).write_bytes(dump(made.model_copy(update=more)))


def measure(vms: int, points: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        main, offsite, site = (Path(scratch) / name for name in ("main", "offsite", "site.yaml"))
        many(main, vms, points)
        many(offsite, vms, points)
        copied(main, offsite)
        places = {root.name: {"host": "local", "path": str(root)} for root in (main, offsite)}
        site.write_text(json.dumps({"version": 1, "repositories": places}))
        argv = [sys.executable, "-m", "runner.cli", "copy", str(site), "--to=offsite", f"--state={scratch}/state"]
        began = time.monotonic()
        subprocess.run(argv, check=True, capture_output=True, timeout=600)
        return time.monotonic() - began


AIM = 5.0


def main(vms: int = 100, points: int = 100) -> None:
    print(
        f"copy of {vms * points:,} points with nothing to do: {measure(vms, points):.1f} s, aim {AIM:.0f} s", flush=True
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
