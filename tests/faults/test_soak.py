"""Many runs in one process, done, cut and failed in turn: what a process holds does not grow."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.events.events import Event, NodeProgress
from runner.hosts import supervisor
from tests.eventually import eventually, open_descriptors
from tests.faults import ending
from tests.faults.disks import INVENTORY, TORTURE
from tests.faults.moments import Kill
from tests.faults.scene import Scene
from tests.faults.tap import watch_directories
from tests.faults.victims import made, strike_programs

__all__ = ["INVENTORY"]

ROUNDS = 30
SETTLED = 6
"""Rounds until caches are filled and everything was imported."""


@dataclass(frozen=True)
class Held:
    """By a process."""

    descriptors: int
    threads: int
    memory: int
    """Resident, MiB."""

    @classmethod
    def by(cls, pid: int) -> Held:
        if pid == os.getpid():
            # What was freed may stay with the allocator, in one of its arenas for every thread there ever was: resident memory
            # then rises and falls by 40 MiB from round to round, and nobody holds it.
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = open_descriptors() if pid == os.getpid() else sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(descriptors, int(status["Threads"]), int(status["VmRSS"].split()[0]) * 1024 // MiB)


@pytest.fixture
def watched(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Temporary directories of runs in this process are known like those of the others."""
    monkeypatch.setattr(supervisor, "first_line", supervisor.first_line)  # put back at the end
    scene.directory.mkdir()
    with (scene.directory / "made").open("ab") as file:
        watch_directories(file.fileno())
        yield scene


class Cut:
    """Kills programs in the middle of a copy, once."""

    def __init__(self, scene: Scene, program: str) -> None:
        self.scene = scene
        self.program = program
        self.struck = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeProgress) and event.phase == "copy" and not self.struck:
            self.struck = strike_programs(self.scene.site, self.scene.directory, self.program)


def one_round(scene: Scene, number: int) -> None:
    """Done; killed from outside and resumed here; cut and healed; failed and run again."""
    kind, job = number % 4, scene.job
    if kind == 1:
        assert scene.kill(Kill("runner", "copied 2000:30")) == -9
    elif kind == 3:
        name, method = (("fail-task", "CreateSnapshot_Task"), ("http-404", "HEAD"))[number // 4 % 2]
        scene.site.lab.fault(name, parameters={"method": method})
        assert scene.site.run(job).exit_code == 1
    listeners = [Cut(scene, ("nbdkit", "ssh", "qemu-nbd")[number // 4 % 3])] if kind == 2 else []
    ran = scene.site.run(job, *listeners)
    assert ran.exit_code == 0, ran.error


@pytest.mark.skipif(not TORTURE, reason="takes ten minutes: make torture")
@pytest.mark.timeout(3600)
def test_what_a_process_holds_does_not_grow(watched: Scene):
    scene, site = watched, watched.site
    here, there = os.getpid(), site.lab.record.pid
    rounds: list[tuple[Held, Held]] = []
    for number in range(ROUNDS):
        before = ending.Before.of(site)
        one_round(scene, number)
        ending.assert_one_right_point(site, before)
        ending.assert_nothing_left(site, scene.directory)
        site.events.clear()
        scene.runs.clear()  # it was these that grew, by a MiB a round
        forget_point(scene, before)
        # A thread of the vCenter ends with its connection, a moment later.
        eventually(lambda: not rounds or Held.by(there).threads <= rounds[0][1].threads)
        rounds.append((Held.by(here), Held.by(there)))
    for which, name in enumerate(("the runner", "the vCenter")):
        early, late = (most(one[which] for one in some) for some in (rounds[SETTLED : 2 * SETTLED], rounds[-SETTLED:]))
        grown = [b - a for a, b in zip(early, late, strict=True)]
        assert grown[0] <= 2 and grown[1] <= 1 and grown[2] <= 8, f"{name} grew by {grown} (descriptors, threads, MiB)"
    assert not [path for path in made(scene.directory) if Path(path).exists()]


def most(held: Iterator[Held]) -> tuple[int, ...]:
    return tuple(max(values) for values in zip(*map(astuple, held), strict=True))


def forget_point(scene: Scene, before: ending.Before) -> None:
    for point in set(scene.site.points()) - before.points:
        shutil.rmtree(point)
