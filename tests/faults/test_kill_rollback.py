"""A rollback is killed at every kind of moment; the same command finishes it, or it is discarded and the VM is as before."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyVmomi import vim

from runner.base.units import MiB
from steps.vsphere import marks
from tests.estate import VM, disk, restored
from tests.faults.disks import SEED
from tests.faults.moments import Kill, Step, kills_at
from tests.faults.victims import Zygote
from tests.rollbacks import SIZES, Rolling, parts_that_differ, rolling
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

STEPS = (
    Step("point", (), "again", "again", "again"),
    Step("present", (), "again", "again", "again"),
    Step("plan", (), "again", "again", "again"),
    Step("protect", (), "again", "again"),
    Step("compare[*]", (), "again", "again"),
    Step("begin", (), "again", "kept"),
    Step("write[*]", (), "again", "again"),
    Step("check[*]", (), "again", "again"),
    Step("finish", (), "again", "kept"),
)
KEPT_FIRST = ("opened reserve", "asked create", "copied 2000:30", "acted publish", "phase unwinding", "phase finished")
"""Moments of the backup that keeps the present state."""

SOME = ("written 2000:20",)
DISCARDED = ("written 2000:20", "acted begin", "intent check[2000]")


def chosen(environment: Mapping[str, str]) -> tuple[str, ...]:
    if "TORTURE" not in environment:
        return SOME
    every = (kill for kill in kills_at(STEPS) if kill.what == "runner" and "2002" not in kill.moment)
    chance = random.Random(SEED)
    shares = (chance.randrange(1, 80) for _ in range(int(environment["TORTURE"])))
    return (*KEPT_FIRST, *(kill.moment for kill in every), *(f"written 2000:{share}" for share in shares))


@dataclass
class Killed:
    """The VM and its rollback, in processes of their own."""

    vm: Rolling
    zygote: Zygote
    directory: Path
    said: str = ""

    def command(self, *argv: str, moment: str = "", by: signal.Signals = signal.SIGKILL) -> int:
        """Killed at the moment, or run to its end; its exit code."""
        victim = self.zygote.start(self.directory, [*argv, "--state", str(self.vm.state)], moment)
        if moment:
            assert victim.reached(), f"it ended before {moment}: {victim.said()}"
            os.kill(victim.pid, by)
            victim.go_on()
        code = victim.ended()
        self.said = victim.said()
        assert "Traceback" not in self.said, self.said
        return code

    def rollback(self, *options: str, moment: str = "", by: signal.Signals = signal.SIGKILL) -> int:
        return self.command("rollback", str(self.vm.job), self.vm.point.name, *options, moment=moment, by=by)

    @property
    def run(self) -> str:
        """Whose mark the VM has."""
        mark = marks.read_mark(self.vm.setting(marks.ROLLBACK))
        assert mark is not None
        return mark.run

    def abandon(self, run: str, moment: str = "") -> int:
        (file,) = (self.vm.state / ".commands").glob("rollback-*.yaml")
        return self.command("sweep", str(file), "--abandon", run, moment=moment)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


@pytest.fixture
def killed(tmp_path: Path, vddk: Vddk, zygote: Zygote) -> Iterator[Killed]:
    with rolling(tmp_path, vddk) as made:
        yield Killed(made, zygote, tmp_path / "runs")
        zygote.end()


def assert_rolled_back(killed: Killed, before: dict[int, bytes]) -> None:
    vm = killed.vm
    assert vm.live() == vm.then()
    assert not vm.is_marked
    assert len(vm.points()) == 2, "the present state was kept twice"
    point, present = vm.points()
    assert {key: restored(present, key, vm.state / "raw") for key in SIZES} == before
    assert vm.protected() == {point.name, present.name}


def assert_as_before(killed: Killed, before: dict[int, bytes]) -> None:
    """And the next backup is right."""
    vm = killed.vm
    assert vm.live() == before
    assert not vm.is_marked
    made = vm.estate.backup(vm.job)
    assert {key: restored(made, key, vm.state / "raw") for key in SIZES} == before


@pytest.mark.parametrize("moment", chosen(os.environ), ids=lambda moment: str(Kill("runner", moment)))
def test_a_killed_rollback_is_finished_by_the_same_command(killed: Killed, moment: str) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment=moment) == -9
    assert killed.rollback() == 0, killed.said
    assert_rolled_back(killed, before)
    then = killed.vm.then()
    assert killed.vm.written() == {key: parts_that_differ(then[key], before[key]) for key in SIZES}


@pytest.mark.parametrize("moment", ["phase unwinding", pytest.param("acted publish", marks=pytest.mark.torture)])
def test_who_stops_it_while_the_present_state_is_kept_has_nothing_rolled_back(killed: Killed, moment: str) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment=moment, by=signal.SIGINT) == 130, killed.said
    assert "Nothing was rolled back" in killed.said
    assert killed.vm.live() == before
    assert not killed.vm.is_marked
    assert killed.rollback() == 0, killed.said
    assert_rolled_back(killed, before)


@pytest.mark.parametrize("moment", DISCARDED if "TORTURE" in os.environ else DISCARDED[:1])
def test_a_rollback_that_is_discarded_goes_back_to_the_present_state(killed: Killed, moment: str) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment=moment) == -9
    assert killed.command("run", str(killed.vm.job)) == 1, "what is half rolled back was backed up"
    assert f"it is half rolled back by run {killed.run}" in killed.said
    assert killed.abandon(killed.run) == 0, killed.said
    assert_as_before(killed, before)


@pytest.mark.slow
def test_a_discarding_that_is_killed_and_that_fails_is_finished_by_the_same_command(killed: Killed) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment="done write[2000]") == -9
    run = killed.run
    assert killed.abandon(run, moment="dropped write[2000]") == -9
    killed.vm.vddk.expect(fail="write:14010:2")
    assert killed.abandon(run) == 1
    assert killed.vm.is_marked
    killed.vm.vddk.expect(fail="")
    assert killed.abandon(run) == 0, killed.said
    assert_as_before(killed, before)


@pytest.mark.torture
def test_discarded_halfway_it_can_be_finished_all_the_same(killed: Killed) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment="done write[2000]") == -9
    assert killed.abandon(killed.run, moment="dropped write[2000]") == -9
    assert killed.rollback() == 0, killed.said
    assert_rolled_back(killed, before)


@pytest.mark.parametrize(
    "trusting",
    [
        pytest.param((), id="all read"),
        pytest.param(("--trust-tracking",), id="tracking trusted", marks=pytest.mark.torture),
    ],
)
def test_what_was_not_kept_can_only_be_finished(killed: Killed, trusting: tuple[str, ...]) -> None:
    """Discarding forgets what differed, and by then tracking is no help any more."""
    killed.vm.change()
    options = ("--discard-current", "--yes", *trusting)
    assert killed.rollback(*options, moment="written 2000:20") == -9
    assert killed.abandon(killed.run) == 1
    assert "had before was not kept (--discard-current)" in killed.said
    assert killed.vm.is_marked
    assert killed.rollback(*options) == 0, killed.said
    assert killed.vm.live() == killed.vm.then()
    assert not killed.vm.is_marked


def test_what_does_not_read_back_right_is_found_and_mended_by_the_same_command(killed: Killed) -> None:
    """In a block that differed, and in one that did not and is no part of what was to be written."""
    before = killed.vm.change(2000)
    assert killed.rollback(moment="done write[2001]") == -9
    for key in SIZES:
        with killed.vm.estate.vcenter.disk_file(VM, key).open("r+b") as file:
            file.seek(MiB + 5)
            file.write(b"flipped")
    assert killed.rollback() == 5
    assert "does not match its digest at offset 1048576" in killed.said
    assert killed.vm.is_marked
    while (code := killed.rollback()) == 5:
        assert killed.vm.is_marked
    assert code == 0, killed.said
    assert_rolled_back(killed, before)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="all read"),
        pytest.param(("--trust-tracking",), id="tracking trusted", marks=pytest.mark.torture),
    ],
)
def test_a_vm_that_was_used_after_it_was_compared_keeps_its_mark_and_is_compared_again(
    killed: Killed, options: tuple[str, ...]
) -> None:
    before = killed.vm.change(2000)
    assert killed.rollback(*options, moment="intent finish") == -9
    assert killed.vm.live() == killed.vm.then()
    with killed.vm.powered_on():
        killed.vm.estate.vcenter.write(VM, 2000, SIZES[2000] - 512, b"used")
    assert killed.rollback(*options) == 1
    assert "something was written to disk 2000, 2001 after it was compared" in killed.said
    assert killed.vm.is_marked
    assert killed.rollback(*options) == 5
    assert "does not match its digest at offset 11534336" in killed.said
    assert killed.vm.is_marked
    assert killed.rollback(*options) == 0, killed.said
    assert_rolled_back(killed, before)


def test_a_vm_that_was_used_while_it_was_half_old_is_put_back_though_tracking_is_trusted(
    tmp_path: Path, vddk: Vddk, zygote: Zygote
) -> None:
    """What it wrote is not among what differed, so tracking is asked again; and what differs then is found by
    reading all: half of it is what tracking never hears of."""
    size = 160 * MiB
    with rolling(tmp_path, vddk, disk(2000, "160 MiB", content={"pattern": 3}), sizes={2000: size}) as vm:
        killed = Killed(vm, zygote, tmp_path / "runs")
        vm.estate.vcenter.write(VM, 2000, 33 * MiB, b"changed")
        assert killed.rollback("--trust-tracking", moment="done write[2000]") == -9
        for block in range(40, 160, 8):
            vm.estate.vcenter.write(VM, 2000, block * MiB, b"used")
            with vm.estate.vcenter.disk_file(VM, 2000).open("r+b") as file:
                file.seek((block + 1) * MiB)
                file.write(b"forgotten")
        assert killed.rollback("--trust-tracking") == 5, killed.said
        assert "does not match its digest at offset 41943040" in killed.said
        assert vm.is_marked
        assert killed.rollback("--trust-tracking") == 0, killed.said
        assert vm.live() == vm.then()
        assert not vm.is_marked
        zygote.end()


@pytest.mark.torture
def test_a_disk_that_was_compared_again_goes_back_too(killed: Killed) -> None:
    """When it is written it differs in nothing any more."""
    before = killed.vm.change()
    assert killed.rollback(moment="done write[2000]") == -9
    with killed.vm.estate.vcenter.disk_file(VM, 2000).open("r+b") as file:
        file.seek(MiB + 5)
        file.write(b"flipped")
    assert killed.rollback() == 5
    assert killed.rollback(moment="intent check[2000]") == -9
    assert killed.abandon(killed.run) == 0, killed.said
    assert killed.vm.live() == before


@pytest.mark.slow
def test_a_block_of_the_point_that_rotted_is_not_written_and_the_vm_can_be_had_back(killed: Killed) -> None:
    killed.vm.change(2001)
    rot = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", str(killed.vm.point / "disk-2001.qcow2")]
    killed.vm.estate.vcenter.write(VM, 2001, MiB, b"changed")
    before = killed.vm.live()
    subprocess.run(rot, check=True, capture_output=True, timeout=60)
    assert killed.rollback() == 5
    assert "does not match its digest at offset 1048576" in killed.said
    assert killed.vm.live()[2001][MiB : 2 * MiB] == before[2001][MiB : 2 * MiB]
    assert killed.abandon(killed.run) == 0, killed.said
    assert killed.vm.live() == before
    assert not killed.vm.is_marked


@pytest.mark.torture
def test_where_the_point_of_the_present_state_is_gone_nothing_goes_back_until_it_is_there_again(
    killed: Killed, tmp_path: Path
) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment="written 2000:20") == -9
    run, half, present = killed.run, killed.vm.live(), killed.vm.points()[-1]
    shutil.move(present, tmp_path / present.name)
    assert killed.abandon(run) == 1
    assert f"{present}, the restore point of its state before, is no longer there" in killed.said
    assert killed.vm.live() == half
    assert killed.vm.is_marked
    shutil.move(tmp_path / present.name, present)
    assert killed.abandon(run) == 0, killed.said
    assert killed.vm.live() == before


def attach_elsewhere(vm: Rolling, key: int) -> None:
    """The disk's file, at another unit of its controller: it has another key then."""
    machine = vm.client.vm(f"DC1/vm/{VM}")
    (found,) = (one for one in machine.config.hardware.device if one.key == key)
    change = vim.vm.device.VirtualDeviceSpec
    vm.client.wait(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change(operation="remove", device=found)])))
    found.key, found.unitNumber = -1, 5
    vm.client.wait(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change(operation="add", device=found)])))


@pytest.mark.slow
@pytest.mark.parametrize("then", [pytest.param("finished", marks=pytest.mark.torture), "discarded"])
def test_a_disk_that_was_attached_elsewhere_meanwhile_is_found_by_its_uuid(killed: Killed, then: str) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment="done write[2001]") == -9
    wanted = killed.vm.then() if then == "finished" else before
    attach_elsewhere(killed.vm, 2001)
    done = killed.rollback() if then == "finished" else killed.abandon(killed.run)
    assert done == 0, killed.said
    assert not killed.vm.is_marked
    keys = {2000: 2000, 2001: 2005}
    assert {key: killed.vm.estate.vcenter.read(VM, keys[key], 0, size) for key, size in SIZES.items()} == wanted


@pytest.mark.torture
def test_a_half_old_vm_whose_mark_somebody_removed_is_finished_by_the_same_command(killed: Killed) -> None:
    before = killed.vm.change()
    assert killed.rollback(moment="written 2000:20") == -9
    run = killed.run
    killed.vm.set({marks.ROLLBACK: ""})
    assert killed.abandon(run) == 1
    assert "run the same `sendense rollback` again" in killed.said
    assert killed.rollback() == 0, killed.said
    assert_rolled_back(killed, before)


@pytest.mark.slow
def test_a_vm_whose_rollback_lost_its_records_is_named_with_what_to_do(killed: Killed) -> None:
    killed.vm.change()
    assert killed.rollback(moment="written 2000:20") == -9
    for records in killed.vm.estate.repository().glob(".state/rollback-*"):
        shutil.rmtree(records)
    killed.command("sweep", str(killed.vm.job), "--orphans")
    assert f"half rolled back VM {VM}" in killed.said
    assert "remove the advanced setting sendense.rollback" in killed.said
    assert killed.vm.is_marked
