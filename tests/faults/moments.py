"""When a run is killed, and what is expected then: the table, and what is chosen of it.

A new step is covered by a row in `STEPS`, or in `PROCESSES` if it is only open for a while.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.faults.disks import KEYS, SEED, TORTURE

Next = Literal["again", "kept"]
"""What the next run does with the node: its work once more, or it finds it done."""


@dataclass(frozen=True)
class Step:
    """A KEEP or JOB node (`*`: one for each disk), the programs that serve it, and what comes of it after a kill when its
    intent is recorded, when its work is done but not recorded, and when it is recorded."""

    node: str
    served_by: tuple[str, ...]
    intent: Next
    acted: Next
    done: Next = "kept"


STEPS = (
    Step("discover", (), "again", "again", "again"),  # as long as no snapshot is recorded of which it would be
    Step("snapshot", ("sshd",), "again", "kept"),
    Step("parent[*]", ("sshd",), "again", "again"),
    Step("image[*]", ("sshd",), "again", "kept"),
    Step("transfer[*]", ("hub", "sshd", "ssh", "qemu-nbd", "nbdkit"), "again", "again"),
    Step("verify[*]", ("hub", "sshd", "ssh", "qemu-nbd"), "again", "kept"),
    Step("publish", ("hub", "sshd"), "again", "kept"),
    Step("cleanup", ("sshd",), "again", "again", "again"),
)

PROCESSES = ("reserve", "export[*]", "tunnel[*]", "source[*]")

RENAMED = "did rename RUN.partial"
"""The point is published, and still has in it what only a run needs."""

CALLS = ("asking create", "asked create", "asking remove", "asked remove")
PHASES = ("phase working", "phase unwinding")

RUNNER = ("runner", "group")
PROGRAMS = ("nbdkit", "ssh", "qemu-nbd", "sshd", "hub")
"""`hub`: all that runs there at once, as when it is rebooted."""


@dataclass(frozen=True)
class Kill:
    """`what` is killed at `moment` (see `tests.faults.tap`), or `delay` seconds later. `kept` is the node that the next
    run must find done, `again` the one whose work it must do once more."""

    what: str
    moment: str
    delay: float = 0.0
    kept: str = ""
    again: str = ""

    @property
    def of_the_run(self) -> bool:
        """The run is dead, and not only something it stands on."""
        return self.what in RUNNER

    @property
    def self_healing(self) -> bool:
        """The very run that it met must be done: nothing of it is lost but what it opens again."""
        word, name = self.moment.split(" ")[:2]
        return not self.of_the_run and (word == "copied" or name.startswith(("transfer[", "verify[")))

    def __str__(self) -> str:
        late = f"-and-{self.delay * 1000:.0f}ms" if self.delay else ""
        return f"{self.what}-at-{self.moment.replace(' ', '-')}{late}"


def all_kills() -> Iterator[Kill]:
    """At every record of every node, the run and each program that serves it; at each process; at each call."""
    yield from kills_at(STEPS)
    for process in PROCESSES:
        for node in _nodes(process, KEYS[:1]):
            yield from (Kill("runner", f"{word} {node}") for word in ("opened", "closed"))
    yield from (Kill("runner", moment) for moment in (*CALLS, *PHASES, f"doing{RENAMED[3:]}", RENAMED))


def kills_at(steps: Sequence[Step]) -> Iterator[Kill]:
    for step in steps:
        for node in _nodes(step.node, KEYS):
            for word, then in (("intent", step.intent), ("acted", step.acted), ("done", step.done)):
                for what in (*RUNNER, *step.served_by):
                    expected = {then: node} if what in RUNNER else {}
                    yield Kill(what, f"{word} {node}", **expected)


def random_kills(count: int, seed: int) -> Iterator[Kill]:
    """At random moments of the copy."""
    chance = random.Random(seed)
    for _ in range(count):
        what = chance.choice((*RUNNER, *PROGRAMS))
        share, delay = chance.randrange(1, 95), chance.randrange(200) / 1000
        yield Kill(what, f"copied {chance.choice(KEYS[:2])}:{share}", delay)


SOME = (
    Kill("runner", "asked create"),
    Kill("runner", "intent image[2001]", again="image[2001]"),
    Kill("runner", "opened source[2000]"),
    Kill("group", "copied 2000:30", 0.01),
    Kill("runner", "copied 2000:60", 0.03),
    Kill("nbdkit", "copied 2000:20", 0.01),
    Kill("ssh", "copied 2000:40"),
    Kill("qemu-nbd", "copied 2000:50", 0.02),
    Kill("sshd", "copied 2000:30", 0.01),
    Kill("hub", "copied 2000:50", 0.01),
    Kill("runner", "acted verify[2001]", kept="verify[2001]"),
    Kill("runner", RENAMED, kept="publish"),
    Kill("runner", "asked remove", kept="publish"),
)
"""The kinds of moments, one each."""


def chosen() -> tuple[Kill, ...]:
    """`SOME`; with TORTURE=<number> all kills, and that many more at random moments by SEED (default 1)."""
    return (*all_kills(), *random_kills(int(os.environ["TORTURE"]), SEED)) if TORTURE else SOME


def _nodes(name: str, keys: Sequence[int]) -> list[str]:
    return [name.replace("*", str(key)) for key in keys] if "*" in name else [name]
