"""A job, the lab it runs on, and the loop: run it, kill something, and run the same command until it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.events.events import Event, NodeFinished, NodeKept, NodeStarted, RunStarted
from steps.lab.sshd import Sshd
from tests.e2e.site import Site
from tests.faults.ending import Before, assert_no_process_left
from tests.faults.moments import Kill
from tests.faults.victims import Victim, Zygote, crash, strike, wait

ATTEMPTS = 3
"""Runs after the last kill: what was killed beside the run may fail one of them, and the next must do."""


@dataclass
class Scene:
    site: Site
    hub: Sshd
    zygote: Zygote
    job: Path
    directory: Path
    runs: list[list[Event]] = field(default_factory=list)
    """The events of each run so far."""
    kills: int = 0
    """Those that met something."""

    def __post_init__(self) -> None:
        self.before = Before.of(self.site)

    def command(self, *argv: str) -> list[str]:
        return [argv[0], str(self.job), *argv[1:]]

    def kill(self, kill: Kill, *argv: str) -> int:
        """Runs the command (`run`), kills at the moment and waits for its end; returns its exit code. What it must not leave
        is gone then, also where it is not done."""
        victim = self.zygote.start(self.directory, self.command(*(argv or ("run",))), kill.moment)
        assert victim.reached(), f"it ended before {kill.moment}: {victim.said()}"
        wait(kill.delay)
        if kill.what in ("sshd", "hub"):
            if kill.what == "hub":
                crash(self.site)
            self.hub.restart()
            self.kills += 1
        else:
            struck = strike(self.site, victim, self.directory, kill.what)
            assert struck or not kill.moment.startswith("copied") or kill.delay, f"no {kill.what} ran at {kill.moment}"
            self.kills += bool(struck)
        victim.go_on()
        return self._end(victim)

    def run(self, *argv: str) -> int:
        """The command to its end."""
        return self._end(self.zygote.start(self.directory, self.command(*(argv or ("run",)))))

    def _end(self, victim: Victim) -> int:
        code = victim.ended()
        self.said = victim.said()
        self.runs.append(victim.events())
        assert "Traceback" not in self.said, self.said
        assert_no_process_left(self.site, self.directory)
        return code

    def until_done(self, code: int = 1) -> None:
        for _ in range(ATTEMPTS):
            if code == 0:
                return
            code = self.run()
        assert code == 0, f"not done after {ATTEMPTS} runs: {self.said}"

    def finish(self, code: int, kill: Kill) -> None:
        """What ended with `code` after `kill`: it is one run in the end, with the nodes as `kill` says."""
        if kill.self_healing:
            assert code == 0, f"it did not heal: {self.said}"
        self.until_done(code)
        assert len(self.ids()) == 1
        assert not kill.kept or kill.kept in self.kept(), self.acted()
        assert not kill.again or kill.again in self.acted(), self.kept()

    def ids(self) -> set[str]:
        """Of the runs that were begun or gone on with."""
        return {event.run for events in self.runs for event in events if isinstance(event, RunStarted)}

    def output(self, node: str) -> dict[str, Any]:
        """What it gave, the last time it was told."""
        told = [event for events in self.runs for event in events if isinstance(event, NodeFinished | NodeKept)]
        return [event.output for event in told if event.node == node][-1]

    def acted(self) -> set[str]:
        """The KEEP and JOB nodes that ran in the last run."""
        return {event.node for event in self.runs[-1] if isinstance(event, NodeStarted) and event.lifetime != "process"}

    def kept(self) -> set[str]:
        return {event.node for event in self.runs[-1] if isinstance(event, NodeKept)}
