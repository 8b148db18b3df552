"""Steps on a directory instead of a vCenter, for tests of the engine: each leaves a trace of what it did.

A file ``fail-<node>`` makes that node fail: its text is a list of ``transient``, ``permanent``, ``difference``,
``locked``, ``usage`` or ``bug``, one consumed a try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import JsonValue

from runner.base.errors import DifferenceError, LockedError, SendenseError, TransientError, UsageError
from runner.base.model import HOW, JobModel, Model
from runner.engine.checkpoint import RunRecord, now
from runner.engine.executor import Executor
from runner.engine.failures import Outcome
from runner.engine.job_state import JobState
from runner.engine.live_observer import LiveObserver
from runner.engine.observer import Blind, Observer
from runner.engine.plan import Plan, Planner
from runner.engine.recorded import RecordedRun
from runner.engine.standing import Standings
from runner.engine.teardown import Unwinding, Unwound
from runner.engine.walk import Walk
from runner.engine.world import World
from runner.events import events
from runner.events.events import Bus, Event
from runner.hosts.held_lock import HeldLock
from runner.hosts.local import LocalHost
from runner.hosts.spec import HostSpec
from runner.job.graph import StepGraph
from runner.job.inputs import Resolver
from runner.job.model import Job, StepSpec
from runner.job.nodes import NodeId, Nodes
from runner.step.context import Context, Run
from runner.step.registry import Registry
from runner.step.step import Empty, Given, Lifetime, Retained, Step
from tests.eventually import eventually


class RefusedError(DifferenceError):
    invalidates = ("copied",)


class HealingError(DifferenceError):
    invalidates = ("served",)
    self_healing = True


def trace(root: str, line: str) -> None:
    with (Path(root) / "trace").open("a") as file:
        file.write(line + "\n")


def maybe_fail(root: str, node: str) -> None:
    path = Path(root) / f"fail-{node}"
    if not path.exists():
        return
    first, *rest = path.read_text().split()
    if first == "until":
        path.unlink()
        assert eventually(lambda: " ".join(rest) in (Path(root) / "trace").read_text().splitlines(), 10)
        return
    path.write_text(" ".join(rest)) if rest else path.unlink()
    match first:
        case "transient":
            raise TransientError(f"{node} had a hiccup")
        case "permanent":
            raise SendenseError(f"{node} is broken", details={"seen": node})
        case "difference":
            raise RefusedError(f"{node} found a difference", details={"offset": 7})
        case "heals":
            raise HealingError(f"{node} cannot stand on what was made")
        case "locked":
            raise LockedError(node, "somebody else")
        case "usage":
            raise UsageError(f"{node} cannot read its secret")
        case _:
            raise RuntimeError(f"a bug in {node}")


class Item(Model):
    key: int
    text: str


class RootIn(JobModel):
    root: str


class Seen(Model):
    items: tuple[Item, ...]


class Look(Step[RootIn, Empty, Seen]):
    """Looks at the list."""

    name, lifetime, In, Out, read_only, example = "look", Lifetime.KEEP, RootIn, Seen, True, ""

    def check(self, ctx: Context, inputs: RootIn, recorded: Seen | None) -> Seen | None:
        return recorded

    def run(self, ctx: Context, inputs: RootIn, live: Empty) -> Seen:
        maybe_fail(inputs.root, ctx.node)
        if (warning := Path(inputs.root) / "warn-look").exists():
            ctx.warn(warning.read_text())
        lines = (Path(inputs.root) / "items").read_text().split()
        return Seen(items=tuple(Item(key=int(k), text=t) for k, _, t in (line.partition("=") for line in lines)))


class Held(Model):
    moment: str


class HoldIn(JobModel):
    root: str
    seen: tuple[Item, ...] = ()


class Hold(Step[HoldIn, Empty, Held]):
    """Holds a moment."""

    name, lifetime, In, Out, example = "hold", Lifetime.JOB, HoldIn, Held, ""

    def _file(self, ctx: Context, inputs: HoldIn) -> Path:
        return Path(inputs.root) / f"moment-{ctx.run.id}"

    def check(self, ctx: Context, inputs: HoldIn, recorded: Held | None) -> Held | None:
        maybe_fail(inputs.root, f"look-{ctx.node}")
        return Held(moment=self._file(ctx, inputs).name) if self._file(ctx, inputs).exists() else None

    def run(self, ctx: Context, inputs: HoldIn, live: Empty) -> Held:
        self._file(ctx, inputs).touch()
        trace(inputs.root, f"run {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return Held(moment=self._file(ctx, inputs).name)

    def undo(self, ctx: Context, inputs: HoldIn, out: Held) -> None:
        maybe_fail(inputs.root, f"undo-{ctx.node}")
        self._file(ctx, inputs).unlink(missing_ok=True)
        trace(inputs.root, f"undo {ctx.node}")

    def retained(self, ctx: Context, inputs: HoldIn, out: Held) -> Retained:
        over = Path(inputs.root) / "hold-over"
        return Retained(f"moment {out.moment}", lambda: "its time is over" if over.exists() else None)


class MakeIn(JobModel):
    root: str
    item: Item
    speed: Annotated[int, HOW] = 1
    moment: str = ""


class Made(Model):
    item: Item
    path: str


class Make(Step[MakeIn, Empty, Made]):
    """Makes a file."""

    name, lifetime, In, Out, example = "make", Lifetime.KEEP, MakeIn, Made, ""

    def check(self, ctx: Context, inputs: MakeIn, recorded: Made | None) -> Made | None:
        path = Path(inputs.root) / f"made-{inputs.item.key}"
        return Made(item=inputs.item, path=str(path)) if path.exists() else None

    def run(self, ctx: Context, inputs: MakeIn, live: Empty) -> Made:
        ctx.check_stop()
        trace(inputs.root, f"run {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        path = Path(inputs.root) / f"made-{inputs.item.key}"
        path.write_text(inputs.item.text)
        maybe_fail(inputs.root, f"after-{ctx.node}")
        return Made(item=inputs.item, path=str(path))

    def undo(self, ctx: Context, inputs: MakeIn, out: Made) -> None:
        Path(out.path).unlink(missing_ok=True)
        trace(inputs.root, f"undo {ctx.node}")


class Remake(Make):
    """Makes the file in another way."""

    name = "remake"

    def run(self, ctx: Context, inputs: MakeIn, live: Empty) -> Made:
        trace(inputs.root, f"remake {ctx.node}")
        path = Path(inputs.root) / f"made-{inputs.item.key}"
        assert not path.exists(), "what make made was not undone"
        path.write_text(inputs.item.text.upper())
        return Made(item=inputs.item, path=str(path))


class Build(Make):
    """Makes the file, and leaves it behind when it is cut short."""

    name = "build"

    def leftover(self, ctx: Context, inputs: MakeIn) -> Made | None:
        return self.check(ctx, inputs, None)

    def retained(self, ctx: Context, inputs: MakeIn, out: Made) -> Retained:
        return Retained(f"file {Path(out.path).name}")


class Rehold(Hold):
    """Holds a moment in another way."""

    name = "rehold"


class ServeIn(JobModel):
    root: str
    made: Made


class Served(Given):
    made: Made
    socket: str


class Serve(Step[ServeIn, Empty, Served]):
    """Serves a file."""

    name, lifetime, In, Out, example = "serve", Lifetime.PROCESS, ServeIn, Served, ""

    def run(self, ctx: Context, inputs: ServeIn, live: Empty) -> Served:
        socket = Path(inputs.root) / f"socket-{ctx.node}"
        ctx.closing.callback(trace, inputs.root, f"close {ctx.node}")
        ctx.closing.callback(socket.unlink, missing_ok=True)
        ctx.closing.callback(maybe_fail, inputs.root, f"close-{ctx.node}")
        socket.touch()
        trace(inputs.root, f"open {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return Served(made=inputs.made, socket=str(socket))

    def probe(self, ctx: Context, out: Served) -> bool:
        return Path(out.socket).exists()


class Through(JobModel):
    served: Served


class RelayIn(JobModel):
    root: str


class Relay(Step[RelayIn, Through, Served]):
    """Serves what another one serves."""

    name, lifetime, In, Live, Out, example = "relay", Lifetime.PROCESS, RelayIn, Through, Served, ""

    def run(self, ctx: Context, inputs: RelayIn, live: Through) -> Served:
        assert Path(live.served.socket).exists()
        ctx.closing.callback(trace, inputs.root, f"close {ctx.node}")
        ctx.closing.callback(maybe_fail, inputs.root, f"close-{ctx.node}")
        trace(inputs.root, f"open {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return live.served


class Tube(Relay):
    """Relays in another way."""

    name = "tube"


class Copied(Model):
    made: Made
    size: int


class CopyIn(JobModel):
    root: str


class Copy(Step[CopyIn, Through, Copied]):
    """Copies what is served."""

    def undo(self, ctx: Context, inputs: CopyIn, out: Copied) -> None:
        trace(inputs.root, f"undo {ctx.node}")

    name, lifetime, In, Live, Out, example = "copy", Lifetime.KEEP, CopyIn, Through, Copied, ""

    def check(self, ctx: Context, inputs: CopyIn, recorded: Copied | None) -> Copied | None:
        return recorded

    def run(self, ctx: Context, inputs: CopyIn, live: Through) -> Copied:
        assert Path(live.served.socket).exists()
        trace(inputs.root, f"run {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return Copied(made=live.served.made, size=len(Path(live.served.made.path).read_text()))


class Ends(JobModel):
    near: Served
    far: Served


class Bridge(Step[CopyIn, Ends, Copied]):
    """Copies between two that are served."""

    name, lifetime, In, Live, Out, example = "bridge", Lifetime.KEEP, CopyIn, Ends, Copied, ""

    def run(self, ctx: Context, inputs: CopyIn, live: Ends) -> Copied:
        trace(inputs.root, f"run {ctx.node}")
        return Copied(made=live.near.made, size=0)


class ProveIn(JobModel):
    root: str
    copied: Copied


class Proved(Model):
    copied: Copied
    earlier: str


class Prove(Step[ProveIn, Through, Proved]):
    """Compares."""

    name, lifetime, In, Live, Out, example = "prove", Lifetime.KEEP, ProveIn, Through, Proved, ""

    def check(self, ctx: Context, inputs: ProveIn, recorded: Proved | None) -> Proved | None:
        return recorded

    def run(self, ctx: Context, inputs: ProveIn, live: Through) -> Proved:
        trace(inputs.root, f"run {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return Proved(copied=inputs.copied, earlier=str(dict(ctx.previous_failure or {})))


class JoinIn(JobModel):
    root: str
    parts: tuple[Proved, ...]


class Joined(Model):
    keys: tuple[int, ...]


class Join(Step[JoinIn, Empty, Joined]):
    """Joins all."""

    commits = True

    name, lifetime, In, Out, example = "join", Lifetime.KEEP, JoinIn, Joined, ""

    def check(self, ctx: Context, inputs: JoinIn, recorded: Joined | None) -> Joined | None:
        return recorded

    def run(self, ctx: Context, inputs: JoinIn, live: Empty) -> Joined:
        trace(inputs.root, f"run {ctx.node}")
        maybe_fail(inputs.root, ctx.node)
        return Joined(keys=tuple(part.copied.made.item.key for part in inputs.parts))

    def undo(self, ctx: Context, inputs: JoinIn, out: Joined) -> None:
        trace(inputs.root, f"undo {ctx.node}")


class Guarding(Given):
    lock: str


class Guard(Step[HoldIn, Empty, Guarding]):
    """Locks."""

    name, lifetime, In, Out, guard, example = "guard", Lifetime.PROCESS, HoldIn, Guarding, True, ""

    def run(self, ctx: Context, inputs: HoldIn, live: Empty) -> Guarding:
        maybe_fail(inputs.root, ctx.node)
        ctx.closing.callback(trace, inputs.root, f"close {ctx.node}")
        trace(inputs.root, f"open {ctx.node}")
        return Guarding(lock="lock")


class Ended(Model):
    released: tuple[str, ...]


class End(Step[Empty, Empty, Ended]):
    """Unwinds."""

    name, lifetime, In, Out, example = "end", Lifetime.KEEP, Empty, Ended, ""

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Ended:
        return Ended(released=ctx.unwind())


STEPS = {
    kind.name: kind()
    for kind in (Look, Hold, Rehold, Make, Remake, Build, Serve, Relay, Tube, Copy, Bridge, Prove, Join, Guard, End)
}
REGISTRY = Registry(STEPS, {})
SWEEP = "sendense sweep toy.yaml"
EACH = (("item", "${{ look.items }}"),)


def backup_like(
    root: Path, *, speed: int = 1, cleanup: bool = True, needs: tuple[str, ...] = ()
) -> tuple[StepSpec, ...]:
    """The shape of a backup: look → guard, hold → make → serve → relay → copy → read back → prove → join → end."""
    base = {"root": str(root)}
    steps = [
        StepSpec("look", "look", base),
        StepSpec("guard", "guard", {**base, "seen": "${{ look.items }}"}),
        StepSpec("hold", "hold", base, needs=("guard",)),
        StepSpec("make", "make", {**base, "item": "${{ item }}", "speed": speed, "moment": "${{ hold.moment }}"}, EACH),
        StepSpec("serve", "serve", {**base, "made": "${{ make }}"}, EACH),
        StepSpec("relay", "relay", {**base, "served": "${{ serve }}"}, EACH),
        StepSpec("copy", "copy", {**base, "served": "${{ relay }}"}, EACH, retries=2),
        StepSpec("again", "serve", {**base, "made": "${{ make }}"}, EACH, needs=("copy",)),
        StepSpec("prove", "prove", {**base, "copied": "${{ copy }}", "served": "${{ again }}"}, EACH),
        StepSpec("join", "join", {**base, "parts": "${{ prove }}"}),
    ]
    if cleanup:
        steps.append(StepSpec("end", "end", {}, needs=("join",), when="always"))
    return tuple(steps)


RUN = "20261123T170000Z-3f9a0c1e"


def job_of(steps: tuple[StepSpec, ...]) -> Job:
    hosts: dict[str, HostSpec] = {"local": "local"}
    return Job("toy", {}, hosts, {}, None, steps, "toy.yaml", "0", {})


@contextmanager
def ahead(
    root: Path, steps: tuple[StepSpec, ...], registry: Registry = REGISTRY, *, offline: bool = False, run: str = RUN
) -> Iterator[tuple[Nodes, Resolver, Observer]]:
    """What a walk ahead of a run takes."""
    job = job_of(steps)
    with World(job, Bus(), threading.Event(), root / "scratch") as world:
        world.run = Run(run, "toy", "0", None)
        nodes = Nodes(steps, StepGraph(steps, registry), registry)
        yield nodes, Resolver(job, nodes, world.identities(), run), Blind() if offline else LiveObserver(world)


@dataclass
class Bench:
    """A root directory, a state directory, and runs of one job on them."""

    root: Path
    steps: tuple[StepSpec, ...]
    jobs: int = 4
    run_id: str = RUN
    stands: frozenset[str] = frozenset()
    work_done: Callable[[], None] = lambda: None
    look_ahead: Callable[[Mapping[NodeId, JsonValue]], None] = lambda outputs: None
    look_early: Callable[[], AbstractContextManager[None]] = nullcontext
    stop: threading.Event = field(default_factory=threading.Event)
    events: list[Event] = field(default_factory=list)

    def job(self) -> Job:
        return job_of(self.steps)

    def plan(self, *, offline: bool = False) -> Plan:
        state = JobState(LocalHost("local"), str(self.root / "state"), "toy").open(self.run_id)
        with ahead(self.root, self.steps, offline=offline, run=self.run_id) as (nodes, resolver, observer):
            records = {} if offline else state.nodes()
            walk = Walk(nodes, resolver, observer, Standings(records, observer))
            return Planner(nodes).plan(walk, "toy", "toy.yaml", None, offline=offline)

    def run(self) -> Outcome:
        """One execution; what the root's trace says is what was done."""
        self.events = []
        bus = Bus()
        bus.subscribe(self.events.append)
        job = self.job()
        state = JobState(LocalHost("local"), str(self.root / "state"), "toy").open(self.run_id)
        record = RunRecord(
            id=self.run_id,
            job="toy",
            vars={},
            job_file="toy.yaml",
            job_digest="0",
            git_commit=None,
            started=now(),
            phase="working",
        )
        if not (Path(state.directory) / "run.json").exists():
            state.create(record)
        with World(job, bus, self.stop, self.root / "scratch") as world:
            world.run = Run(self.run_id, "toy", "0", None)
            nodes = Nodes(self.steps, StepGraph(self.steps, REGISTRY), REGISTRY)
            recorded = RecordedRun(state, REGISTRY, world)
            executor = Executor(
                nodes=nodes,
                resolver=Resolver(job, nodes, world.identities(), self.run_id),
                world=world,
                recorded=recorded,
                unwinding=Unwinding(recorded, world, SWEEP),
                at_once=self.jobs,
                stands=self.stands,
                is_committed=lambda: False,
                work_done=self.work_done,
                look_ahead=self.look_ahead,
                look_early=self.look_early,
            )
            return executor.execute()

    def abandon(self, *, committed: bool = False) -> Unwound:
        state = JobState(LocalHost("local"), str(self.root / "state"), "toy").open(self.run_id)
        with World(self.job(), Bus(), self.stop, self.root / "scratch") as world:
            world.run = Run(self.run_id, "toy", "0", None)
            return Unwinding(RecordedRun(state, REGISTRY, world), world, SWEEP).abandon(committed=committed)

    def named(self, guard: HeldLock) -> list[events.Held]:
        """What is named as held at the end of a run that holds `guard`."""
        found: list[Event] = []
        bus = Bus()
        bus.subscribe(found.append)
        state = JobState(LocalHost("local"), str(self.root / "state"), "toy").open(self.run_id)
        with World(self.job(), bus, self.stop, self.root / "scratch") as world:
            world.run = Run(self.run_id, "toy", "0", None)
            world.guards.append(guard)
            unwinding = Unwinding(RecordedRun(state, REGISTRY, world), world, SWEEP)
            unwinding.name_what_is_held(self.run_id, work_done=False)
        return [event for event in found if isinstance(event, events.Held)]

    def trace(self) -> list[str]:
        """What was done since the last call."""
        path = self.root / "trace"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines
