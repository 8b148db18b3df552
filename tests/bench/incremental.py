"""A whole incremental run against a whole full one, after the guest changed 1 % of the disk."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from runner.base.units import KiB, MiB, human_bytes
from tests.bench.disk import SIZE, make_disk
from tests.estate import VM, Estate, disk, estate, inventory, machine, of

WRITE = 64 * KiB
WRITES = SIZE // 100 // WRITE


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sb-") as name:
        directory = Path(name)
        make_disk(directory / "disk.raw")
        one = disk(2000, f"{SIZE // MiB} MiB", content={"file": str(directory / "disk.raw")})
        with estate(directory, {"prod": inventory(machine(one, change_tracking=True))}) as site:
            _measure(site)


def _measure(site: Estate) -> None:
    job = site.job()
    _, full = _timed(site, job)
    chance = random.Random(1)
    for _ in range(WRITES):
        site.vcenter.write(VM, 2000, chance.randrange(0, SIZE, WRITE), chance.randbytes(WRITE))
    point, incremental = _timed(site, job)
    made = of(point, 2000)
    print(
        f"a run after {WRITES} writes of 64 KiB (1 % of {human_bytes(SIZE)}): {incremental:.2f} s, the full before it "
        f"{full:.2f} s ({full / incremental:.1f} ×); read {human_bytes(made.read)}, "
        f"wrote {human_bytes((point / made.image).stat().st_blocks * 512)}"
    )


def _timed(site: Estate, job: Path) -> tuple[Path, float]:
    began = time.perf_counter()
    ran = site.run(job)
    if ran.exit_code:
        raise RuntimeError(f"the job ended with exit code {ran.exit_code}: {ran.error}")
    return ran.points()[0], time.perf_counter() - began


if __name__ == "__main__":
    main()
