"""A placement on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from distributed import Client
from pydantic import ValidationError

from runner.base.errors import SendenseError
from runner.job.fleet import DaskFleet
from runner.sets.child_process import Said
from runner.sets.dask.assignments import Assignments, Patience
from runner.sets.dask.cluster import client_of, configure, require_safe, security_of, sentence
from runner.sets.dask.messages import Answer
from runner.sets.dask.serving import exchange
from runner.sets.placement import ChildEnded, Order, Told
from runner.step.items import Claim

PATIENT = Patience()

EACH = 1.0
"""Seconds between two questions to a worker: by them it knows that we live."""

ANSWERS_WITHIN = 5.0
"""Seconds for a request that the scheduler itself answers."""

ECHO = 0.02
"""Seconds in which an event is heard."""

MEETS = 3.0
"""Seconds for the first answers of all workers."""

CLOSES = 20.0
"""Seconds that workers have for what is asked last; their leases do the rest."""


class DaskPlacement:
    """Connected once it is made. Raises UsageError for files that are no certificates, ClusterError where the
    scheduler cannot be reached, refuses us or is not as it must be.

    At most `at_once` children, where that is given, whatever the workers take. `told` and `said` are called
    on a thread of its own."""

    def __init__(
        self,
        fleet: DaskFleet,
        at_once: int | None,
        told: Told,
        said: Said,
        patience: Patience = PATIENT,
    ) -> None:
        configure()
        self._fleet = fleet
        self._at_once = at_once
        self._security = security_of(fleet)
        self._told = told
        self._said = said
        self._patience = patience
        self._assignments = Assignments(fleet.scheduler, said, patience)
        self._changed = threading.Condition(threading.RLock())
        """Held for all that is done with the assignments."""
        self._closing = False
        self._is_lost = False
        self._bug: BaseException | None = None
        """What ended the thread, or was raised by a listener."""
        self._pokes: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        connected: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(connected,), name="dask", daemon=True)
        self._thread.start()
        connected.result()
        # A child that runs already is found only on a worker that has answered.
        with self._changed:
            if not self._changed.wait_for(lambda: self._assignments.is_met, MEETS):
                said("", "no worker, or not each, has answered yet: waiting for them")

    def room(self) -> int:
        with self._changed:
            self._raise_bug()
            room = self._assignments.room()
            return room if self._at_once is None else min(room, self._at_once - self._assignments.unfinished)

    def claims(self, host: str) -> tuple[Claim, ...]:
        with self._changed:
            return self._assignments.claims(host)

    def start(self, order: Order) -> None:
        with self._changed:
            self._assignments.put(order)
        self._poke_all()

    def stop(self) -> None:
        with self._changed:
            self._assignments.stop()
            self._changed.notify_all()
        self._poke_all()

    def ended(self, timeout: float) -> list[ChildEnded]:
        ends = time.monotonic() + timeout
        with self._changed:
            while not (ended := self._assignments.take_ended()):
                self._raise_bug()
                self._assignments.room()
                if (left := ends - time.monotonic()) <= 0:
                    break
                self._changed.wait(min(left, EACH))
            return ended

    def close(self) -> None:
        self.stop()
        ends = time.monotonic() + CLOSES
        with self._changed:
            while self._assignments.unfinished and time.monotonic() < ends and self._thread.is_alive():
                self._changed.wait(EACH)
            self._closing = True
        self._poke_all()
        self._thread.join(CLOSES)

    def _raise_bug(self) -> None:
        if self._bug is not None:
            raise self._bug

    def _poke_all(self) -> None:
        def poke() -> None:
            for event in self._pokes.values():
                event.set()

        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(poke)

    # On the thread.

    def _run(self, connected: Future[None]) -> None:
        try:
            asyncio.run(self._stay_connected(connected))
        except Exception as error:  # noqa: BLE001  raised where somebody waits
            if not connected.done():
                connected.set_exception(error)
            self._bug = error

    async def _stay_connected(self, connected: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._closing:
            try:
                await self._while_connected(connected)
            except (OSError, TimeoutError) as error:
                if not connected.done():
                    raise sentence(self._fleet.scheduler, error) from error
            except SendenseError:
                if not connected.done():
                    raise
            if not self._closing and not self._is_lost:
                self._is_lost = True
                self._said("", f"the scheduler {self._fleet.scheduler} is lost: waiting for its return")
            with self._changed:
                self._assignments.disconnected()
                self._changed.notify_all()
            await asyncio.sleep(0 if self._closing else EACH)
            with self._changed:
                self._assignments.look()
                self._changed.notify_all()

    async def _while_connected(self, connected: Future[None]) -> None:
        """Returns once there is nothing more to do; raises OSError or TimeoutError once the scheduler is
        lost."""
        client = client_of(self._fleet, self._security)
        try:
            await client
            await require_safe(client, self._fleet.scheduler)
            await self._listen(client)
            with self._changed:
                self._assignments.connected(client.id)
            await self._follow(client, connected)
        finally:
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(client.close(timeout=2), 5)

    async def _listen(self, client: Client) -> None:
        """To events of children; returns once none can be missed."""
        heard = asyncio.Event()

        def event(stamped: tuple[float, Any]) -> None:
            _, message = stamped
            if not isinstance(message, dict) or "key" not in message:
                heard.set()  # of Dask's own, or our echo
                return
            try:
                self._hear(message)
            except Exception as error:  # noqa: BLE001  Dask would drop it; it is raised where somebody waits
                self._bug = error

        client.subscribe_topic(client.id, event)
        # The subscription is on its way by itself: what is told before it arrived is lost.
        async with asyncio.timeout(ANSWERS_WITHIN):
            while not heard.is_set():
                await client.log_event(client.id, "echo")
                await asyncio.sleep(ECHO)

    def _hear(self, message: dict[str, Any]) -> None:
        key = message["key"]
        if message["event"] is not None:
            self._told(key, message["event"])
        elif message["said"] is not None:
            self._said(key, message["said"])
        else:
            with self._changed:
                worker = self._assignments.over(key)
            if worker in self._pokes:
                self._pokes[worker].set()

    async def _follow(self, client: Client, connected: Future[None]) -> None:
        tasks: dict[str, asyncio.Task[None]] = {}
        answered = time.monotonic()
        try:
            while not self._closing:
                if client.status != "running":
                    raise ConnectionError("the scheduler closed the connection")
                try:
                    workers = await asyncio.wait_for(_workers(client), ANSWERS_WITHIN)
                    answered = time.monotonic()
                    self._meet(client, workers, tasks)
                    self._tell_connected(connected)
                except TimeoutError:
                    if time.monotonic() - answered > self._patience.silence:
                        raise
                with self._changed:
                    self._assignments.look()
                    self._changed.notify_all()
                await asyncio.sleep(EACH / 2)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _tell_connected(self, connected: Future[None]) -> None:
        if not connected.done():
            connected.set_result(None)
        elif self._is_lost:
            self._is_lost = False
            self._said("", f"the scheduler {self._fleet.scheduler} is back")

    def _meet(self, client: Client, addresses: Iterable[str], tasks: dict[str, asyncio.Task[None]]) -> None:
        with self._changed:
            new, gone = self._assignments.present(addresses)
        for address in gone:
            tasks.pop(address).cancel()
            self._pokes.pop(address, None)
        for address in new:
            self._pokes[address] = asyncio.Event()
            tasks[address] = asyncio.create_task(self._ask(client, address, self._pokes[address]))

    async def _ask(self, client: Client, address: str, poke: asyncio.Event) -> None:
        """One question at a time: an answer tells what came of all before it."""
        while True:
            poke.clear()
            with self._changed:
                question = self._assignments.question(address)
            answer = await _answer(client, address, question.to_json_value())
            with self._changed:
                if isinstance(answer, Answer):
                    self._assignments.answered(address, question, answer)
                elif isinstance(answer, SendenseError):
                    self._assignments.unfit(address, str(answer))
                else:
                    self._assignments.unanswered(address, question)
                self._changed.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(poke.wait(), EACH)


async def _workers(client: Client) -> Iterable[str]:
    """Their addresses."""
    assert client.scheduler is not None
    known = await client.scheduler.identity(n_workers=-1)
    workers: Iterable[str] = known["workers"]
    return workers


async def _answer(client: Client, address: str, question: Any) -> Answer | Exception:
    try:
        answers = await client.run(exchange, question, workers=[address], on_error="return")
        answer = answers[address]
    except (OSError, TimeoutError, KeyError) as error:
        return error
    if isinstance(answer, Exception):
        return answer
    try:
        return Answer.from_json_value(answer)
    except ValidationError:
        return SendenseError("it has another version of sendense: install the same one everywhere")
