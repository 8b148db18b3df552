"""One job in a process of its own: it lives as long as its lease."""

import json
import os
import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.sets import child_process
from runner.sets.child_process import ChildProcess
from runner.sets.placement import ChildEnded, Order
from tests.eventually import eventually, is_gone
from tests.runner.toy_plugin import install, job_text

KEY = "toys@one"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in install(tmp_path / "packages").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "items").write_text("1=a 2=b")
    return tmp_path / "root"


def order(root: Path, **more: Any) -> Order:
    text = job_text(root, "toys/one")
    told = {"key": KEY, "name": "toys/one", "called": "one", "set": "toys", "item": "one", "only": "/one", "nodes": 4}
    return Order(**{"job": text, "file": "toys.yaml", "digest": "00", "digests": {"toys.yaml": "00"}, **told, **more})


class Started:
    """A child, and what it told."""

    def __init__(self, order: Order) -> None:
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._ended: queue.Queue[ChildEnded] = queue.Queue()
        self.process = ChildProcess(
            order,
            lambda key, event: self.events.append(event),
            lambda key, line: self.lines.append(line),
            self._ended.put,
        )

    def waits(self, root: Path) -> bool:
        """Until it is at work."""
        trace = root / "trace"
        return eventually(lambda: trace.exists() and "wait wait" in trace.read_text(), 30)

    def end(self) -> ChildEnded:
        ended = self._ended.get(timeout=60)
        assert eventually(lambda: is_gone(self.process.pid))
        return ended


def runs(root: Path) -> list[dict[str, Any]]:
    records = sorted(root.parent.glob("state/sendense/*/*/run.json"))
    return [json.loads(record.read_text()) for record in records]


def test_a_child_runs_its_order_and_tells_its_events_and_its_end(root: Path) -> None:
    (root / "go").touch()
    child = Started(order(root))
    ended = child.end()
    assert (ended.key, ended.exit_code, ended.error) == (KEY, 0, ""), child.lines
    assert ended.document["outcome"] == "done" and ended.document["job"] == "toys/one"
    kinds = [event["type"] for event in child.events]
    assert kinds[0] == "run-started" and kinds[-1] == "run-finished"
    assert child.events[0]["job_file"] == "toys.yaml"
    assert child.events[0]["resume"] == "sendense run toys.yaml --only=/one"
    (record,) = runs(root)
    assert (record["job"], record["phase"], record["job_digest"]) == ("toys/one", "finished", "00")


def test_a_child_stops_in_order_once_its_lease_ends_and_another_resumes_it_under_another_name(root: Path) -> None:
    child = Started(order(root))
    assert child.waits(root)
    child.process.stop()
    assert child.end().exit_code == 130
    assert runs(root)[0]["phase"] == "working"
    (root / "go").touch()
    renamed = job_text(root, "toys/uno")
    again = Started(order(root, job=renamed, name="toys/uno", called="uno"))
    assert again.end().exit_code == 0
    assert again.events[0]["resumed"] and len(runs(root)) == 1


def test_a_child_that_is_killed_is_told_with_the_signal(root: Path) -> None:
    child = Started(order(root))
    assert child.waits(root)
    os.kill(child.process.pid, signal.SIGKILL)
    ended = child.end()
    assert (ended.exit_code, ended.document) == (1, {})
    assert "killed by signal 9" in ended.error


def test_a_child_stops_once_its_controller_is_killed(root: Path) -> None:
    """However it died: the kernel closes the pipe."""
    program = (
        "import sys, time; from runner.sets.child_process import ChildProcess; from runner.sets.placement import Order\n"
        "child = ChildProcess(Order.model_validate_json(sys.stdin.read()), *[lambda *told: None] * 3)\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdin and controller.stdout
        controller.stdin.write(order(root).model_dump_json())
        controller.stdin.close()
        child = int(controller.stdout.readline())
        trace = root / "trace"
        assert eventually(lambda: trace.exists() and "wait wait" in trace.read_text(), 30)
        controller.kill()
    assert eventually(lambda: is_gone(child), 30)
    assert runs(root)[0]["phase"] == "working"
    assert not list(root.glob("socket-*"))


def test_a_job_that_fails_says_so_with_its_document(root: Path) -> None:
    (root / "go").write_text("no room")
    ended = Started(order(root)).end()
    assert ended.exit_code == 1
    assert [failure["text"] for failure in ended.document["failures"]] == ["no room"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"schema_version": 99}, "install the same version", id="of another version"),
        pytest.param(
            {"job": '{"version": 1, "name": "x", "steps": [{"id": "a", "uses": "no"}]}'},
            "the packages with steps",
            id="of another's steps",
        ),
    ],
)
def test_an_order_that_cannot_be_run_here_is_refused_with_what_to_do(
    root: Path, change: dict[str, Any], sentence: str
) -> None:
    child = Started(order(root, **change))
    ended = child.end()
    assert ended.exit_code in (1, 2)
    assert sentence in " ".join([*child.lines, str(ended.document)])
    assert not runs(root)


def test_a_child_that_cannot_be_started_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "COMMAND", (str(root / "no-such-program"),))
    with pytest.raises(SendenseError, match="could not be started: No such file"):
        ChildProcess(order(root), print, print, print)


def test_an_order_that_is_given_again_is_answered_by_the_run_that_it_began(root: Path) -> None:
    """Its controller lost sight of the process that did it: nothing is made twice."""
    (root / "go").touch()
    assert Started(order(root, id="night 1/one")).end().exit_code == 0
    again = Started(order(root, id="night 1/one"))
    ended = again.end()
    assert (ended.exit_code, ended.document["outcome"], ended.document["run"]) == (0, "done", runs(root)[0]["id"])
    assert [event["type"] for event in again.events] == ["run-started", "warned", "run-finished"]
    assert len(runs(root)) == 1
    assert Started(order(root, id="night 2/one")).end().exit_code == 0
    assert len(runs(root)) == 2


def test_an_order_that_is_given_again_has_the_exit_code_of_what_its_run_found(root: Path) -> None:
    (root / "go").touch()
    (root / "alarm").write_text("1")
    for _ in range(2):
        ended = Started(order(root, id="night 1/one")).end()
        assert (ended.exit_code, ended.document["outcome"]) == (1, "alarm")
    assert len(runs(root)) == 1


def test_the_order_that_finishes_a_run_is_the_one_that_it_answers(root: Path) -> None:
    child = Started(order(root, id="night 1/one"))
    assert child.waits(root)
    child.process.stop()
    assert child.end().exit_code == 130
    (root / "go").touch()
    for _ in range(2):
        assert Started(order(root, id="night 2/one")).end().exit_code == 0
    assert [run["order"] for run in runs(root)] == ["night 2/one"]
