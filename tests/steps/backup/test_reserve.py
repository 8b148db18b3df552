from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from runner.base.errors import CommandError, HostError, LockedError, LockLostError
from runner.hosts.local import LocalHost
from runner.hosts.lock_file import read_lock
from runner.step.context import Context
from runner.step.preflight import Known
from steps.backup.create_qcow2 import CreateQcow2, CreateQcow2In
from steps.backup.reserve import Reserve, ReserveIn
from steps.repository import layout, marker
from steps.repository.vm_lock import hold
from steps.repository.vm_place import OtherVcenterError
from steps.values.reservation import Reservation
from tests.chain import Chain
from tests.eventually import eventually
from tests.hub import INSTANCE, OTHER_RUN, RUN, Hub, disk, tree, vm

pytestmark = pytest.mark.slow

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
        if entry.name.isdigit() and lock_words(entry)[-5:-4] == [held.lock]:
            os.kill(int(entry.name), signal.SIGKILL)


def lock_words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def let_in(hub: Hub) -> Context:
    """The lock is another run's."""
    other = Hub(hub.host, hub.root, hub.scratch, run=OTHER_RUN).context()
    assert eventually(lambda: takes(other))
    return other


def takes(context: Context) -> bool:
    try:
        reserve(context)
    except LockedError:
        return False
    return True


def test_a_session_that_broke_is_begun_again_under_those_that_it_guards(hub_over_ssh: Hub) -> None:
    context = hub_over_ssh.context()
    with context.closing:
        held = reserve(context)
        before = read_lock(Path(held.lock).read_bytes())
        break_session(held)
        assert eventually(lambda: STEP.probe(context, held) and read_lock(Path(held.lock).read_bytes()) != before)
        other = Hub(hub_over_ssh.host, hub_over_ssh.root, hub_over_ssh.scratch, run=OTHER_RUN).context()
        with other.closing, pytest.raises(LockedError, match=RUN):
            reserve(other)


@pytest.mark.parametrize("ended", [True, False], ids=["that has ended", "that still runs"])
def test_a_run_that_came_while_the_session_was_broken_ends_this_one(hub_over_ssh: Hub, ended: bool) -> None:
    """Not only the thread that noticed: whoever wants to write next is refused too."""
    context = hub_over_ssh.context()
    with context.closing:
        held = reserve(context)
        break_session(held)
        other = let_in(hub_over_ssh)
        with other.closing:
            if ended:
                other.closing.close()
            assert eventually(lambda: is_lost(context, held))
            for _ in range(2):
                with pytest.raises(LockLostError, match=OTHER_RUN) as caught:
                    context.hold()
                assert caught.value.exit_code == 3
                words = "this run lost its lock on VM 'pgtest1' in repository main to run "
                assert str(caught.value).startswith(f"{words}{OTHER_RUN}")
                assert (", which has ended (noticed 20" in str(caught.value)) is ended


def test_a_run_that_another_process_resumed_meanwhile_is_not_told_that_it_locks_itself(hub_over_ssh: Hub) -> None:
    context = hub_over_ssh.context()
    with context.closing:
        held = reserve(context)
        break_session(held)
        resumed = Hub(hub_over_ssh.host, hub_over_ssh.root, hub_over_ssh.scratch).context()
        resumed.run = replace(resumed.run, execution="0badcafe")
        with resumed.closing:
            assert eventually(lambda: takes(resumed))
        assert eventually(lambda: is_lost(context, held))
        with pytest.raises(LockLostError) as caught:
            context.hold()
        assert f" to another process that resumed this run {RUN} and has ended (noticed 20" in str(caught.value)


def is_lost(context: Context, held: Reservation) -> bool:
    try:
        return not STEP.probe(context, held)
    except LockedError:
        return True


def test_a_lock_that_two_steps_of_a_run_take_is_free_once_both_have_ended(any_hub: Hub) -> None:
    first, second = any_hub.context("reserve"), any_hub.context("prune")
    other = Hub(any_hub.host, any_hub.root, any_hub.scratch, run=OTHER_RUN).context()
    with first.closing, other.closing:
        held = reserve(first)
        with second.closing:
            reserve(second)
        with pytest.raises(LockedError, match=RUN):
            reserve(other)
        first.hold()
        first.closing.close()
        assert reserve(other) == held


def test_a_lock_of_ours_under_another_name_of_its_host_is_an_error(hub: Hub) -> None:
    context = hub.context()
    with context.closing:
        directory = str(Path(reserve(context).lock).parent)
        with pytest.raises(HostError, match="locked by this run itself, under another name of its host"):
            hold(context, LocalHost("node"), directory, "VM 'pgtest1'")


def test_nothing_is_written_where_no_repository_is(hub: Hub) -> None:
    (Path(hub.root) / "repository.json").unlink()
    with pytest.raises(marker.NotARepositoryError, match="mount its disk"):
        reserve(hub.context())
    assert list(Path(hub.root).iterdir()) == []
    (seen,) = STEP.preflight(hub.context(), Known(inputs=INPUTS)).observations
    assert "mount its disk" in seen.sentence


def test_nothing_is_written_where_the_repository_was_though_its_lock_was_held(any_hub: Hub) -> None:
    """As if its disk were unmounted while the run has the lock's file open: the marker is not asked for again then."""
    root = Path(any_hub.root)
    context = any_hub.context()
    with context.closing:
        reserve(context)
        root.rename(root.with_name("unmounted"))
        root.mkdir()
        step = CreateQcow2()
        with pytest.raises((HostError, CommandError)):
            step.run(context, CreateQcow2In(disk=disk(), vm=vm(), repository="main"), step.Live())
        assert tree(root) == {}


def test_a_look_ahead_names_the_lock_and_does_not_take_it(hub: Hub) -> None:
    before = tree(Path(hub.root))
    assert STEP.preflight(hub.context(), Known(inputs=INPUTS)).notes == (f"{hub.root}/pgtest1-{INSTANCE} on hub",)
    assert tree(Path(hub.root)) == before


def test_a_look_ahead_names_another_run_that_holds_the_lock_and_lets_it(any_hub: Hub) -> None:
    living = any_hub.context()
    with living.closing:
        held = reserve(living)
        before = Path(held.lock).read_bytes()
        (problem,) = STEP.preflight(any_hub.context(run=OTHER_RUN), Known(inputs=INPUTS)).problems
        assert problem.startswith(
            f"VM 'pgtest1' in repository main is locked by another run: run {RUN} of pgtest1-nightly"
        )
        assert STEP.preflight(any_hub.context(), Known(inputs=INPUTS)).problems == ()
        assert Path(held.lock).read_bytes() == before
        assert STEP.probe(living, held)
    assert STEP.preflight(any_hub.context(run=OTHER_RUN), Known(inputs=INPUTS)).problems == ()


def test_a_newest_point_that_cannot_be_read_is_named_and_passed_over(any_hub: Hub) -> None:
    made = Chain(Path(any_hub.root))
    for _ in range(2):
        made.add({2000: None}, {})
    (made.path(1) / "manifest.json").write_bytes(b"{")
    context = any_hub.context()
    with context.closing:
        assert reserve(context).lock == f"{made.directory}/.lock"
    (warned,) = any_hub.warnings
    assert warned.startswith(
        f"{made.path(1)} cannot be read (manifest.json is damaged: it is not JSON): no restore point of pgtest1"
    )
    other = ReserveIn(vm=vm(vcenter_uuid="66666666-7777-8888-9999-000000000000"), repository="main")
    with pytest.raises(OtherVcenterError):
        reserve(any_hub.context(), other)
    assert STEP.preflight(any_hub.context(), Known(inputs=INPUTS)).problems == ()


def test_a_repository_that_is_not_there_is_seen_before_anything_is_changed(any_hub: Hub) -> None:
    assert [one.state for one in STEP.preflight(any_hub.context(), Known(inputs=INPUTS)).observations] == ["good"]
    any_hub.host.remove(f"{any_hub.root}/{layout.MARKER}")
    (seen,) = STEP.preflight(any_hub.context(), Known(inputs=INPUTS)).observations
    assert (seen.state, seen.passing) == ("wrong", False)
    assert any_hub.root in seen.found
