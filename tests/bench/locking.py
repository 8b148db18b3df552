"""What root's timer takes for 10,000 restore points: when it sees them first, later, and when all their locks end.

It mounts a file system, so it is root's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from runner.base.units import DAY, GiB, KiB, MiB
from steps.repository import layout
from tests.bench.measure import peak_memory
from tests.locked_repository import UID, LockedRepository, mounted

VMS = 100
POINTS = 100
AIM = 60.0
HEADER = 8 * KiB
"""What the timer reads of an image, and more: whole ones would take 2 GiB."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sb-") as name, mounted("ext4", 2 * GiB) as top:
        repository = LockedRepository.create(top, Path(name))
        _fill(repository)
        print(f"{VMS * POINTS:,} restore points locked by root's timer, aim {AIM:.0f} s:")
        _take(repository, "first seen")
        repository.pass_time(DAY)
        _take(repository, "nothing new")
        repository.pass_time(repository.lock)
        _take(repository, "all locks end")


def _fill(repository: LockedRepository) -> None:
    """Each VM has a full and 99 incrementals, each on the one before it."""
    vm = repository.root / _vm(0)
    for number in range(POINTS):
        point = repository.point(number, on=number - 1 if number else None, vm=vm.name)
        os.truncate(point / layout.image(2000), HEADER)
    for number in range(1, VMS):
        shutil.copytree(vm, repository.root / _vm(number))
    for directory, names, files in os.walk(repository.root):
        for one in (*names, *files):
            os.chown(Path(directory) / one, UID, UID)


def _vm(number: int) -> str:
    return layout.vm_directory("bench", f"12345678-1234-1234-1234-{number:012x}")


def _take(repository: LockedRepository, what: str) -> None:
    began, used, memory = time.perf_counter(), os.times(), 0
    with subprocess.Popen(repository.argv(), stderr=subprocess.PIPE) as timer:
        while timer.poll() is None:
            memory = max([memory, *(peak_memory(str(pid)) for pid in _below(timer.pid))])
            try:
                timer.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
        assert timer.stderr is not None
        said = timer.stderr.read().decode()
    assert timer.returncode == 0, said
    assert not said, said
    after = os.times()
    cpu = after.children_user + after.children_system - used.children_user - used.children_system
    seconds = time.perf_counter() - began
    print(f"  {what}: {seconds:.1f} s, {cpu:.1f} s of CPU, {memory / MiB:.0f} MiB in its largest process", flush=True)


def _below(pid: int) -> set[int]:
    """It and the processes that it started, of one thread each."""
    found = {pid}
    with suppress(OSError):  # it ended
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found |= _below(int(child))
    return found


if __name__ == "__main__":
    main()
