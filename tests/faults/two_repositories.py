"""Restore points that are copied from the repository of one host into that of another, and what either loses meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from runner.base.units import KiB, MiB
from runner.events.events import Event, RunStarted
from runner.hosts.local import LocalHost
from steps.copy.ledger import read_ledger
from steps.lab.sshd import Sshd
from steps.repository import layout, marker
from steps.trail import reading
from tests.chain import Chain
from tests.eventually import eventually
from tests.faults.victims import Victim, Zygote, crash_host, made, strike_all, with_marks
from tests.hub import tree

HOST = LocalHost("hub")
ATTEMPTS = 3
QUIET = 30.0
"""Seconds for what a dead run left to notice that."""


def a_week(root: Path) -> Chain:
    """A full and six incrementals, one a day: written, written over, zeroed; a disk that is removed and comes back."""
    marker.init(HOST, str(root))
    chain = Chain(root, capacity=8 * MiB)
    chain.add({2000: None, 2001: None}, {2000: ((0, 8 * MiB, 1), (3 * MiB, 512, 2)), 2001: ((MiB, 512, 3),)})
    chain.add({2000: 0, 2001: 0}, {2000: ((MiB, 200 * KiB, 4),), 2001: ((5 * MiB, 64 * KiB, 5),)})
    chain.add({2000: 1}, {2000: ((0, 3 * MiB, 6), (4 * MiB, MiB, 0))})
    chain.add({2000: 2}, {})
    chain.add({2000: 3}, {2000: ((4 * MiB, MiB, 1), (8 * MiB - 512, 512, 7))})
    chain.add({2000: 4, 2001: 1}, {2000: ((MiB, 64 * KiB, 8),), 2001: ((6 * MiB, MiB, 9),)})
    chain.add({2000: 5}, {2000: ((0, 8 * MiB, 10),)})
    return chain


@dataclass
class TwoRepositories:
    """`main` on the host `first`, `offsite` on the host `second`, and the job that copies from one into the other."""

    chain: Chain
    first: Path
    second: Path
    """The directories of their sshds."""
    zygote: Zygote
    directory: Path
    variables: dict[str, str] = field(default_factory=dict)
    runs: list[list[Event]] = field(default_factory=list)
    said: str = ""

    def __post_init__(self) -> None:
        self.copies = replace(self.chain, root=self.directory / "offsite")
        self.main = tree(self.chain.root)
        marker.init(HOST, str(self.copies.root))
        hosts = {path.name: Sshd(path).spec for path in (self.first, self.second)}
        places = {"main": (self.first, self.chain), "offsite": (self.second, self.copies)}
        document = {
            "version": 1,
            "name": "copy",
            "template": "copy",
            "hosts": {
                name: spec.model_dump(mode="json", by_alias=True, exclude_defaults=True) for name, spec in hosts.items()
            },
            "repositories": {
                name: {"host": sshd.name, "path": str(chain.root)} for name, (sshd, chain) in places.items()
            },
            "state": {"path": str(self.directory / "state")},
            "vars": {"repository": "main", "to": "offsite", **self.variables},
        }
        self.job = self.directory / "copy.yaml"
        self.job.write_text(yaml.safe_dump(document, sort_keys=False))

    def start(self, moment: str = "") -> Victim:
        return self.zygote.start(self.directory / "runs", ["run", str(self.job)], moment)

    def kill(self, what: str, moment: str) -> int:
        """Runs the job, kills at the moment and waits for its end; returns its exit code."""
        victim = self.start(moment)
        assert victim.reached(), f"it ended before {moment}: {victim.said()}"
        if what in ("runner", "group"):
            assert victim.kill(what)
        elif what in ("first", "second"):
            crash_host(getattr(self, what))
            Sshd(getattr(self, what)).restart()
        else:
            assert strike_all(self.processes(), what), f"no {what} ran at {moment}"
        victim.go_on()
        return self.end(victim)

    def run(self) -> int:
        return self.end(self.start())

    def end(self, victim: Victim) -> int:
        code = victim.ended()
        self.said = victim.said()
        self.runs.append(victim.events())
        assert "Traceback" not in self.said, self.said
        eventually(lambda: next(self.left(), None) is None, QUIET)
        assert list(self.left()) == []
        return code

    def until_done(self, code: int) -> None:
        for _ in range(ATTEMPTS):
            if code == 0:
                return
            code = self.run()
        assert code == 0, f"not done after {ATTEMPTS} runs: {self.said}"

    def recorded(self, key: int) -> set[int]:
        """Blocks of 1 MiB of the disk that an unfinished run has recorded as copied."""
        (path,) = self.directory.glob(f"state/**/{layout.ledger(key)}*")
        found = read_ledger(path.read_bytes(), path.name)
        assert found is not None
        ranges = [one for segment in found.segments for one in segment.ranges]
        return {at // MiB for one in ranges for at in range(one.offset, one.end, MiB)}

    def processes(self) -> list[tuple[int, list[str]]]:
        return with_marks({*made(self.directory / "runs"), str(self.chain.root), str(self.copies.root)})

    def left(self) -> Iterator[str]:
        yield from (f"directory {path}" for path in made(self.directory / "runs") if Path(path).exists())
        yield from (f"process {pid}: {' '.join(argv)}" for pid, argv in self.processes())
        yield from (f"session {pid}" for path in (self.first, self.second) for pid in Sshd(path).connections())

    def assert_all_copied(self) -> None:
        """Once each, right to the byte by qemu-img alone, and nothing else, as one run that logged them."""
        assert self.copies.whole() == set(self.chain.points), self.said
        assert tree(self.chain.root) == self.main, "the source is only read"
        assert {path.name for path in self.copies.directory.iterdir()} == {*self.chain.points, layout.LOCK}
        for number, point in enumerate(self.chain.points):
            there, main = (
                {str(path.relative_to(one)) for path in one.rglob("*")}
                for one in (self.copies.path(number), self.chain.path(number))
            )
            assert there == main, point
        trail = reading.read(HOST, str(self.copies.root))
        assert not trail.problems
        assert [point for entry in trail.entries for point in entry.points] == self.chain.points
        assert len({event.run for run in self.runs for event in run if isinstance(event, RunStarted)}) == 1
