from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from runner.errors import LockedError
from runner.step import Context
from steps.repository import marker
from steps.reserve import Reservation, Reserve, ReserveIn
from tests.eventually import eventually
from tests.hub import INSTANCE, OTHER_RUN, RUN, Hub, tree, vm

STEP = Reserve()
INPUTS = ReserveIn(vm=vm(), repository="main")


def reserve(context: Context, inputs: ReserveIn = INPUTS) -> Reservation:
    return STEP.run(context, inputs, STEP.Live())


def test_the_vm_is_held_until_the_run_ends(any_hub: Hub) -> None:
    first, second = any_hub.context(), any_hub.context(run=OTHER_RUN)
    with second.closing:
        with first.closing:
            held = reserve(first)
            assert held.lock == f"{any_hub.root}/pgtest1-{INSTANCE}/.lock"
            assert STEP.probe(first, held)
            any_hub.shared.clear()
            with pytest.raises(LockedError) as caught:
                reserve(second)
        assert caught.value.exit_code == 3
        assert reserve(second) == held


def test_the_holder_is_named(hub: Hub) -> None:
    first, second = hub.context(), hub.context(run=OTHER_RUN)
    with first.closing, second.closing:
        reserve(first)
        hub.shared.clear()
        with pytest.raises(LockedError, match="VM 'pgtest1' in repository main is locked by another run: ") as caught:
            reserve(second)
    for word in (socket.gethostname(), str(os.getpid()), RUN, "pgtest1-nightly", "since 20"):
        assert word in caught.value.holder


def test_vms_do_not_block_one_another(hub: Hub) -> None:
    first, second = hub.context(), hub.context(run=OTHER_RUN)
    other = vm("pgtest1-b", instance_uuid=INSTANCE.replace("5013", "5014"))
    with first.closing, second.closing:
        assert reserve(first).lock != reserve(second, ReserveIn(vm=other, repository="main")).lock


def test_a_lock_that_was_given_back_is_taken_again(hub: Hub) -> None:
    for _ in range(2):
        context = hub.context()
        with context.closing:
            reserve(context)


def break_session(held: Reservation) -> None:
    """Kills the shell on the hub that holds the lock."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and lock_words(entry)[-4:-3] == [held.lock]:
            os.kill(int(entry.name), signal.SIGKILL)


def lock_words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


@pytest.fixture
def broken(hub_over_ssh: Hub) -> Hub:
    """A hub with a run whose lock session just broke."""
    context = hub_over_ssh.context()
    held = reserve(context)
    break_session(held)
    assert eventually(lambda: not STEP.probe(context, held))
    context.closing.close()
    return hub_over_ssh


def test_a_broken_session_is_noticed_and_the_lock_taken_again(broken: Hub) -> None:
    again = broken.context()
    with again.closing:
        assert STEP.probe(again, reserve(again))


@pytest.mark.parametrize("ended", [True, False], ids=["that has ended", "that still runs"])
def test_a_run_that_came_while_the_session_was_broken_ends_this_one(broken: Hub, ended: bool) -> None:
    other = Hub(broken.host, broken.root, broken.scratch, run=OTHER_RUN).context()
    with other.closing:
        reserve(other)
        if ended:
            other.closing.close()
        again = broken.context()
        with again.closing, pytest.raises(LockedError, match=OTHER_RUN) as caught:
            reserve(again)
    assert caught.value.exit_code == 3


def test_nothing_is_written_where_no_repository_is(hub: Hub) -> None:
    (Path(hub.root) / "repository.json").unlink()
    with pytest.raises(marker.NotARepositoryError, match="is the disk mounted"):
        reserve(hub.context())
    assert list(Path(hub.root).iterdir()) == []
    assert "is the disk mounted" in STEP.forecast(hub.context(), INPUTS).problems[0]


def test_a_forecast_names_the_lock_and_does_not_take_it(hub: Hub) -> None:
    before = tree(Path(hub.root))
    assert STEP.forecast(hub.context(), INPUTS).notes == (f"{hub.root}/pgtest1-{INSTANCE} on hub",)
    assert tree(Path(hub.root)) == before
