"""What a run shares is closed at its end, all of it, and what does not close is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.engine.world import World
from runner.events.events import Bus, Event, Warned
from runner.job.model import Job


def test_what_does_not_close_is_a_warning_and_keeps_nothing_else_open(tmp_path: Path):
    closed: list[str] = []

    @contextmanager
    def session(name: str) -> Iterator[str]:
        yield name
        if name == "prod":
            raise RuntimeError("no such session")
        closed.append(name)

    events: list[Event] = []
    bus = Bus()
    bus.subscribe(events.append)
    job = Job("toy", {}, {"local": "local"}, {}, None, (), "toy.yaml", "0", {})
    with World(job, bus, threading.Event(), tmp_path / "scratch") as world:
        for name in ("first", "prod", "last"):
            world.shared(("vcenter", name), lambda name=name: session(name))
    assert closed == ["last", "first"]
    (told,) = events
    assert isinstance(told, Warned)
    assert (told.node, told.text) == ("vcenter prod", "could not be closed: no such session")
