"""Doing it: nodes run in threads as their turn comes, each checkpointed; whatever happens, everything is
unwound.

execute
├── HeldSnapshots.release_gone   a snapshot that may be held no longer is replaced by a new one
├── early_look                   beside the first nodes: logins, and what the job file alone lets us ask
├── _loop
│   └── _turn(node)              in a worker thread; what the node alone depended on is closed at its end
│       └── Turns.take           (`turn`)
│           ├── _keep            the record stands, or a crash came between doing and recording
│           └── _act             open processes → intent record → run → done record; transient errors again
└── Ending.finish                what the run holds is released as far as it may be (`teardown`)
"""

from __future__ import annotations

import queue
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from runner.base.errors import SendenseError
from runner.engine.failures import Failures, Outcome
from runner.engine.gate import Gate, LookAhead
from runner.engine.held_snapshots import HeldSnapshots
from runner.engine.processes import Processes
from runner.engine.recorded import RecordedRun
from runner.engine.schedule import Schedule, Status, is_at_end
from runner.engine.teardown import Ending, Unwinding
from runner.engine.turn import Turns
from runner.engine.watch import Watch
from runner.engine.world import World
from runner.events.events import NodeFailed
from runner.hosts.limits import limit_of
from runner.job.inputs import Resolver
from runner.job.nodes import Node, Nodes


class Executor:
    """One execution of a run: what this process does of it."""

    def __init__(
        self,
        *,
        nodes: Nodes,
        resolver: Resolver,
        world: World,
        recorded: RecordedRun,
        unwinding: Unwinding,
        at_once: int,
        stands: Collection[str],
        is_committed: Callable[[], bool],
        work_done: Callable[[], None],
        look_ahead: LookAhead = lambda outputs: None,
        look_early: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`at_once`: so many nodes. `stands`: the steps that an earlier execution completed, and that are not
        checked any more. `is_committed`: whether the run's work is out in the world, so that nothing needs
        what it holds. `work_done` is called once all is done; `look_ahead`, with the outputs known so far,
        before a run's first node that changes something: it raises what keeps the run from beginning.
        `look_early`: what of it goes on beside the nodes, of a run that has changed nothing so far."""
        self._nodes = nodes
        self._resolver = resolver
        self._world = world
        self._at_once = at_once
        self._stands = stands
        self._outcome = Outcome(begun=recorded.has_acted())
        self._look_early = nullcontext if self._outcome.begun else look_early
        self._failures = Failures(self._outcome, world.bus)
        self._held = HeldSnapshots(recorded, nodes, unwinding, self._failures, world)
        self._schedule = Schedule(nodes, resolver, world.bus, world.stop)
        self._processes = Processes(nodes, resolver, world, world.bus, self._schedule.unfinished)
        self._turns = Turns(
            resolver=resolver,
            world=world,
            recorded=recorded,
            schedule=self._schedule,
            processes=self._processes,
            failures=self._failures,
            gate=Gate(look_ahead, nodes, resolver, self._schedule, self._failures),
            stands=stands,
        )
        self._ending = Ending(
            self._schedule, self._processes, unwinding, world, is_committed=is_committed, work_done=work_done
        )
        world.unwind = self._ending.unwind
        self._finished: queue.Queue[tuple[Node, Status]] = queue.Queue()
        self._bug: BaseException | None = None
        self._given_up = False

    def execute(self) -> Outcome:
        """Runs to the end and returns what came of it; raises only what is a bug, after everything was
        unwound."""
        if not self._stands and not self._held.release_gone():
            self._outcome.interrupted |= self._world.stop.is_set()
            return self._outcome
        try:
            with (
                self._look_early(),
                Watch(self._nodes, self._resolver, self._world, self._give_up),
                ThreadPoolExecutor(self._at_once, thread_name_prefix="node") as pool,
            ):
                self._loop(pool)
        finally:
            self._finish()
        if self._bug is not None:
            raise self._bug
        return self._outcome

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        # Only this thread decides whose turn it is: workers report here and change no other node's turn.
        running = 0
        while True:
            free = min(self._at_once, self._world.most_at_once) - running
            for node in self._schedule.next()[: max(0, free)]:
                self._schedule.set(node, Status.RUNNING)
                running += 1
                pool.submit(self._turn, node)
            if running == 0:
                return
            node, status = self._finished.get()
            running -= 1
            if status is Status.PENDING:
                self._turns.again(node)
                continue
            self._schedule.set(node, status)
            if not is_at_end(node) and self._schedule.work_is_done():
                self._ending.record_work_done()

    def _turn(self, node: Node) -> None:
        status = Status.FAILED
        try:
            status = self._turns.take(node)
        except BaseException as error:  # noqa: BLE001  a bug: everything is unwound first, then it is raised
            if (limit := limit_of(error)) is not None:
                self._failures.add(str(node.id), node.step.name, limit)
            else:
                self._tell_bug(node, error)
        finally:
            # What depends on this node may start only after: its exporter may hold the very image's lock.
            self._schedule.set(node, Status.CLOSING)
            try:
                self._processes.release(node)
            except BaseException as error:  # noqa: BLE001  as above; a node that waits for this one must hear of it
                self._stop_for(error)
            finally:
                self._finished.put((node, status))

    def _tell_bug(self, node: Node, error: BaseException) -> None:
        self._stop_for(error)
        text = "".join(traceback.format_exception_only(error)).strip()
        self._world.bus.emit(
            NodeFailed(node=str(node.id), step=node.step.name, seconds=0.0, error=f"bug: {text}", exit_code=1)
        )

    def _stop_for(self, bug: BaseException) -> None:
        self._bug = self._bug or bug
        self._world.stop.set()

    def _give_up(self, node: Node, error: SendenseError) -> None:
        """What `node` made must be released now: all others stop."""
        self._failures.add(str(node.id), node.step.name, error)
        self._given_up = True
        self._world.stop.set()

    def _finish(self) -> None:
        self._outcome.work_done = self._schedule.work_is_done()
        self._outcome.failures.extend(self._schedule.broken)
        self._outcome.interrupted |= self._world.stop.is_set() and not self._outcome.work_done
        self._outcome.interrupted &= not self._given_up
        try:
            self._ending.finish()
        finally:
            self._outcome.failures.extend(self._ending.failures)
            self._outcome.unwind_failures = self._ending.unwind_failures
