"""A set whose backups drill their new points, on a host that bears two of them: how many QEMUs there are when one more is
started. The guests hang until their time is over, so that more would meet if they could."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.drill.drilling import BESIDES
from steps.repository import verification_records
from tests.drills import needs_qemu
from tests.estate import Estate, disk, estate, inventory, machine
from tests.guests.boot_sectors import sector

pytestmark = [needs_qemu, pytest.mark.slow]

VMS = tuple(f"vm{number}" for number in range(4))
MEMORY = 64 * MiB

COUNTING = """\
#!/bin/sh
# Says how many others there are, and becomes QEMU: its process is that of this shell.
case $* in
    *--version*|"-L help") exec {qemu} "$@" ;;
esac
exec 9>{log}.lock && flock 9
others=0
for pid in $(cat {log}); do
    [ ! -e "/proc/$pid/exe" ] || others=$((others + 1))
done
echo "$$" >>{log}
echo "$others" >>{log}.others
exec 9>&-
exec {qemu} "$@"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    machines = [machine(disk(2000, "1 MiB"), name=name) for name in VMS]
    with estate(tmp_path, {"prod": inventory(*machines)}) as made:
        for name in VMS:
            made.vcenter.write(name, 2000, 0, sector("hangs"))
        yield made


def counted(directory: Path) -> tuple[dict[str, str], Path]:
    """An environment in which each QEMU is counted, and where."""
    log, programs = directory / "started", directory / "programs"
    programs.mkdir()
    log.touch()
    shim = programs / "qemu-system-x86_64"
    shim.write_text(COUNTING.format(qemu=shutil.which("qemu-system-x86_64"), log=log))
    shim.chmod(0o700)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}, Path(f"{log}.others")


def write_set(site: Estate, limit: int) -> Path:
    shared = site.directory / "site.yaml"
    document = yaml.safe_load(shared.read_text())
    document["hosts"] = {**document.get("hosts", {}), "local": {"limits": {"memory": limit}}}
    document["slots"] = {"in": "repositories.main"}
    shared.write_text(yaml.safe_dump(document))
    drill = {
        "expect": [{"serial": "login:"}],
        "within": "8s",
        "accelerator": "tcg",
        "limits": {"memory": MEMORY, "overlay": 16 * MiB},
    }
    path = site.directory / "all.yaml"
    document = {
        "version": 1,
        "include": "site.yaml",
        "template": "backup",
        "name": "all",
        "select": {"from": "vcenters.prod", "any": [{"name": "vm*"}]},
        "vars": {"repository": "main", "transport": "https", "drill": drill},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_no_more_machines_are_booted_at_once_than_the_host_bears(site: Estate, tmp_path: Path) -> None:
    environment, others = counted(tmp_path)
    path = write_set(site, 2 * (MEMORY + BESIDES))
    words = [
        sys.executable,
        "-m",
        "runner.cli",
        "run",
        "-q",
        str(path),
        "--parallel=4",
        f"--state={tmp_path / 'state'}",
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    records = [
        verification_records.drill(LocalHost(), str(point.parent))
        for point in site.repository().glob("*/*/manifest.json")
    ]
    assert [record.verdict for record in records if record is not None] == ["undecided"] * len(VMS)
    beside = [int(line) for line in others.read_text().splitlines()]
    assert len(beside) == len(VMS)
    assert max(beside) == 1
