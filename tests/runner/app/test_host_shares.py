"""What the limits of a host grant of its memory and temporary disk, to nodes of different runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from runner.app.options import Options, read_job
from runner.app.records import new_record, new_run_id
from runner.app.runs import _shares
from runner.app.workspace import Workspace, open_workspace
from runner.base.errors import Interrupted, JobFileError, SendenseError
from runner.base.units import GiB, MiB
from runner.hosts.free_memory import NoMemoryError, free_memory, require_memory
from runner.hosts.host import Host
from runner.job.writer import write_out
from runner.step.context import Context
from tests.eventually import eventually
from tests.sshd import either_host, sshd  # noqa: F401  # fixtures

LIMITED = """\
version: 1
name: {name}
hosts: {{local: {{limits: {{memory: 1 GiB, disk: 3 GiB}}}}, node: local}}
slots: {{host: local, path: {slots}}}
steps: [{{id: cleanup, uses: cleanup}}]
"""

Open = Callable[[str], tuple[Context, list[str]]]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Open]:
    """Opens a run of a job with that name: what a node of it gets, and what it was warned of so far."""
    with ExitStack() as stack:

        def opened(name: str) -> tuple[Context, list[str]]:
            path = tmp_path / f"{name}.yaml"
            path.write_text(LIMITED.format(name=name, slots=tmp_path / "slots"))
            workspace = stack.enter_context(running(path, tmp_path / "state"))
            said: list[str] = []
            ctx = workspace.world.context("boot")
            ctx.warn = said.append  # type: ignore[method-assign]
            return ctx, said

        yield opened


@contextmanager
def running(path: Path, state: Path) -> Iterator[Workspace]:
    with open_workspace(path, Options(state=state), threading.Event(), ()) as workspace:
        workspace.run(new_record(workspace.job, new_run_id()))
        workspace.world.shares = _shares(workspace)
        yield workspace


def test_what_is_over_the_limit_waits_until_it_is_free_and_says_for_what(runs: Open) -> None:
    (one, _), (other, said) = runs("one"), runs("other")
    took = threading.Event()

    def take() -> None:
        with other.taking("node", memory=512 * MiB, disk=GiB):
            took.set()

    waiting = threading.Thread(target=take)
    with one.taking("local", memory=768 * MiB, disk=GiB):
        waiting.start()
        assert eventually(lambda: said)
        assert not took.is_set()
    assert took.wait(30)
    waiting.join()
    assert said == [
        "boot waits for its turn: 512.0 MiB of 1.0 GiB memory that host node grants at once (768.0 MiB in use)"
    ]


def test_what_fits_beside_it_does_not_wait(runs: Open) -> None:
    (one, _), (other, said) = runs("one"), runs("other")
    with one.taking("local", memory=512 * MiB, disk=GiB), other.taking("local", memory=512 * MiB, disk=2 * GiB):
        assert said == []


def test_a_wait_ends_with_the_run(runs: Open) -> None:
    (one, _), (other, said) = runs("one"), runs("other")
    with one.taking("local", memory=GiB), pytest.raises(Interrupted):
        threading.Thread(target=lambda: eventually(lambda: said) and other.stop.set()).start()
        with other.taking("local", memory=GiB):
            raise AssertionError


@pytest.mark.parametrize(
    ("memory", "disk", "words"),
    [
        (2 * GiB, 0, "2.0 GiB of memory are needed on host node, whose limits grant 1.0 GiB to all runs together"),
        (GiB, 8 * GiB, "8.0 GiB of disk are needed on host node, whose limits grant 3.0 GiB to all runs together"),
    ],
    ids=["memory", "disk"],
)
def test_what_is_never_granted_is_said_before_and_never_waited_for(
    runs: Open, memory: int, disk: int, words: str
) -> None:
    ctx, said = runs("one")
    assert words in ctx.shortfall("node", memory=memory, disk=disk)
    with pytest.raises(SendenseError, match=words), ctx.taking("node", memory=memory, disk=disk):
        pass
    assert ctx.shortfall("node", memory=GiB, disk=3 * GiB) == ""
    assert said == []


def test_memory_that_is_not_free_is_an_error_with_a_sentence(host: Host) -> None:
    free = free_memory(host)
    assert 0 < free < 2**50
    words = rf"^1\.0 TiB of memory are needed on {host.name}, which has .* free: free some there, or take less$"
    with pytest.raises(NoMemoryError, match=words):
        require_memory(host, 1024 * GiB)
    require_memory(host, MiB)


def test_limits_need_a_place_where_they_are_shared(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    text = LIMITED.format(name="one", slots="/nowhere")
    path.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("slots")))
    with pytest.raises(JobFileError, match=r"3:9: hosts.local: limits holds among all runs"), running(path, tmp_path):
        pass


def test_the_limits_of_this_machine_are_part_of_the_job_as_it_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(LIMITED.format(name="one", slots=tmp_path / "slots"))
    job = read_job(path, Options(state=tmp_path))
    path.write_text(write_out(job))
    again = read_job(path, Options(state=tmp_path))
    assert again.room_limits("node") == again.room_limits("local") == job.local_limits
    assert job.local_limits.memory == GiB
