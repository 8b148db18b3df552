"""A VM that is encrypted between two nights: its earlier points stay until somebody has looked."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.cli import main
from runner.events.events import Warned
from tests.estate import VM, disk, estate, inventory, machine, of

SIZE = 64 * MiB
A_LINE = b"Dec  1 03:00:01 db1 postgres[412]: checkpoint complete: wrote 117 buffers\n"


def text(length: int, seed: int) -> bytes:
    return (A_LINE.replace(b"412", b"%03d" % seed) * (length // len(A_LINE) + 1))[:length]


def test_the_points_of_a_vm_that_was_encrypted_stay_until_somebody_has_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vm = machine(disk(2000, "64 MiB"), change_tracking=True)
    with estate(tmp_path, {"prod": inventory(vm)}) as site:
        job = site.job(cbt="enable", retention={"keep-last": 3})
        points = []
        for night in range(4):
            site.vcenter.write(VM, 2000, 0, text((48 if night == 0 else 12) * MiB, night))
            points.append(site.backup(job))
        first = of(points[-1], 2000).sampled
        assert first is not None and first.incompressible == 0 and first.changed == 12 * MiB
        kept = {point.name for point in site.repository().glob("*/*Z-????")}
        assert len(kept) == 3, "an ordinary night deletes what no rule keeps"

        site.vcenter.write(VM, 2000, 0, random.Random(7).randbytes(48 * MiB))
        ran = site.run(job)
        assert ran.exit_code == 0, ran.error
        told = [event.text for event in ran.events if isinstance(event, Warned)]
        assert any("100% of what changed on disk 2000 incompressible" in text for text in told)
        there = {point.name for point in site.repository().glob("*/*Z-????")}
        assert there > kept and len(there) == 4, "nothing is deleted"

        def sendense(*words: str) -> tuple[int, str]:
            with pytest.raises(SystemExit) as left:
                main([*words])
            said = capsys.readouterr()
            return int(left.value.code or 0), said.out + said.err

        code, said = sendense("points", str(job))
        assert code == 0 and "as if it were being encrypted" in said
        code, said = sendense("prune", str(job), "--keep-last=1", "--yes")
        assert code == 0 and "as if it were being encrypted" in said
        assert {point.name for point in site.repository().glob("*/*Z-????")} == there
        code, said = sendense("release-brake", str(job), VM, "--reason", "it is a new archive")
        assert code == 0, said
        code, said = sendense("log", str(job), "--json")
        (log,) = json.loads(said)["repositories"]
        assert (log["entries"][-1]["act"], log["entries"][-1]["text"]) == ("release-brake", "it is a new archive")
        code, said = sendense("prune", str(job), "--keep-last=1", "--yes")
        assert code == 0, said
        assert len(list(site.repository().glob("*/*Z-????"))) == 1
