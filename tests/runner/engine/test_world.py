"""What a run shares is closed at its end, all of it, and what does not close is told; its hosts hear its stop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base.errors import Interrupted
from runner.base.waiting import unless_stopped
from runner.engine.world import World
from runner.events.events import Bus, Event, Warned
from runner.job.model import Job
from runner.step.context import Run
from tests.eventually import eventually


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


JOB = Job("toy", {}, {"local": "local"}, {}, None, (), "toy.yaml", "0", {})


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def world(stop: threading.Event, tmp_path: Path) -> Iterator[World]:
    with World(JOB, Bus(), stop, tmp_path / "scratch") as world:
        world.claim("20261123T170000Z-3f9a0c1e")
        world.run = Run("20261123T170000Z-3f9a0c1e", "toy", "0", None)
        yield world


def test_what_a_step_runs_ends_with_the_run(world: World, stop: threading.Event):
    host = world.context("node").host("local")
    stop.set()
    for stopped in (
        host,
        world.context("node").host("local"),
        world.unheard("node").host("local"),
        world.host("local"),
    ):
        with pytest.raises(Interrupted):
            stopped.run(("true",))


def test_what_cleans_up_after_the_stop_has_time_of_its_own(world: World, stop: threading.Event):
    stop.set()
    for ctx in (world.context("node", cleanup=True), world.unheard("node", cleanup=True)):
        assert ctx.host("local").run(("echo", "cleaned")).stdout == b"cleaned\n"
    assert world.lasting_host("local").run(("echo", "recorded")).stdout == b"recorded\n"


def test_all_that_cleans_up_after_the_stop_has_one_deadline(
    world: World, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("runner.engine.world.CLEANUP_TIMEOUT", 0.3)
    stop.set()
    first = world.context("first", cleanup=True)
    with pytest.raises(Interrupted):
        first.host("local").run(("sleep", "3600"), timeout=3600)
    with pytest.raises(Interrupted):
        world.context("second", cleanup=True).host("local").run(("true",))


def test_a_stop_ends_what_cleaned_up_before_it(world: World, stop: threading.Event):
    ctx = world.context("node", cleanup=True)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted):
        ctx.host("local").run(("sleep", "3600"), timeout=3600)


def test_what_is_made_only_after_the_end_is_closed_at_once_and_nothing_more_is_made(tmp_path: Path):
    stop, made = threading.Event(), threading.Event()
    told: list[str] = []

    @contextmanager
    def session() -> Iterator[str]:
        told.append("logging in")
        stop.set()
        made.wait(60)
        yield "a session"
        told.append("logged out")

    with World(JOB, Bus(), stop, tmp_path / "scratch") as world:
        known = world.once("known", lambda: "made in time")
        with pytest.raises(Interrupted):
            unless_stopped(lambda: world.shared(("vcenter", "prod"), session), stop, drop=told.append)
    assert told == ["logging in"]
    made.set()
    assert eventually(lambda: told == ["logging in", "logged out"])
    for refused in (
        lambda: world.shared(("vcenter", "prod"), session),
        lambda: world.shared(("vcenter", "other"), session),
        lambda: world.host("local"),
    ):
        with pytest.raises(Interrupted):
            refused()
    assert told == ["logging in", "logged out"]
    assert world.once("known", lambda: "made again") == known


def test_what_one_look_learnt_of_its_item_is_asked_once_and_forgotten_with_it(world: World):
    asked: list[str] = []

    def ask() -> int:
        asked.append("asked")
        return len(asked)

    first = world.unheard("node", answers={})
    assert [first.looked("item", ask), first.looked("item", ask)] == [1, 1]
    assert world.unheard("node", answers={}).looked("item", ask) == 2
    assert [world.context("node").looked("item", ask), world.context("other").looked("item", ask)] == [3, 3]


def test_a_picture_is_kept_where_reports_find_it_and_outlives_the_run(tmp_path: Path):
    with World(JOB, Bus(), threading.Event(), tmp_path / "scratch") as world:
        world.run = Run("20261123T170000Z-3f9a0c1e", "toy", "0", None)
        world.pictures = tmp_path / "run" / "pictures"
        paths = [Path(world.context(node).picture(b"PNG")) for node in ("drill[1]", "drill[2]")]
        Path(world.context("drill[1]").picture(b"newer"))
    assert [path.read_bytes() for path in paths] == [b"newer", b"PNG"]
    assert {path.parent for path in paths} == {tmp_path / "run" / "pictures"}
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
