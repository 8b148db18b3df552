"""`sendense drill` is killed by SIGKILL, and everything that it started: nothing of it is left, the point is as it was, and the
same command drills it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from runner.base.units import MiB
from tests.chain import Chain
from tests.drills import add, needs_qemu, repository, site
from tests.eventually import eventually
from tests.faults.disks import TORTURE
from tests.guests.boot_sectors import sector
from tests.hub import tree

pytestmark = [needs_qemu, pytest.mark.slow]

SOME = (("qemu-nbd", 0.0), ("qemu-system-x86_64", 0.3))
ALL = (
    *SOME,
    *(("qemu-nbd", one / 20) for one in range(1, 5)),
    *(("qemu-system-x86_64", one / 10) for one in range(5, 9)),
)
"""A program that it starts, and how many seconds after that it is killed."""


@pytest.fixture
def made(tmp_path: Path) -> Chain:
    made = repository(tmp_path / "repository")
    made.capacity = 8 * MiB
    return made


@pytest.mark.parametrize(("program", "after"), ALL if TORTURE else SOME)
def test_a_killed_drill_leaves_nothing_and_is_done_by_the_same_command(
    made: Chain, tmp_path: Path, program: str, after: float
) -> None:
    point = add(made, sector("prints", "up"))
    before = tree(point)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "XDG_STATE_HOME": str(tmp_path / "state")}

    def command(text: str) -> list[str]:
        words = [
            "drill",
            str(site(made)),
            str(point),
            f"--expect=serial={text}",
            "--within=60s",
            "--accelerator=tcg",
            "--json",
        ]
        return [str(Path(sys.executable).with_name("sendense")), *words]

    killed = subprocess.Popen(command("never"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: running(program, tmp_path), 60)
        with pytest.raises(subprocess.TimeoutExpired):
            killed.wait(after)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
    assert eventually(lambda: not running("", temporary), 30), running("", temporary)
    assert eventually(lambda: not [*temporary.glob("sd-*/qmp"), *temporary.rglob("*.qcow2")], 30)
    assert tree(point) == before

    done = subprocess.run(command("up"), env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["drill"]["verdict"] == "passed"
    assert not running("", temporary)


def running(program: str, place: Path) -> list[int]:
    """Processes of that program that have something below `place` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes()
            if str(place).encode() in words and (not program or Path(words.split(b"\0")[0].decode()).name == program):
                found.append(int(path.parent.name))
    return found
