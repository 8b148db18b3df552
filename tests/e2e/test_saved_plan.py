"""A saved plan, held against the world as it is by then: what must keep a run from beginning, and what must not."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from runner.app import saved_plan
from runner.app.options import Options, read_job
from runner.app.saved_plan import SavedPlan
from runner.base.units import MiB
from runner.cli import main
from steps.lab.simulator.machine_spec import DiskSpec
from tests.estate import PASSWORD, VM, Estate, disk, estate, inventory, machine
from tests.simulation import Client

DISKS = (disk(2000, "4 MiB", content={"pattern": 1}), disk(2001, "2 MiB", 1, content={"pattern": 2}))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(*DISKS, change_tracking=True))}) as made:
        yield made


def planned(place: Estate, job: Path) -> SavedPlan:
    options = Options(state=place.directory / "state")
    return saved_plan.decide(read_job(job, options), options)


def sendense(place: Estate, *words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), f"--state={place.directory / 'state'}"])
    return int(left.value.code or 0)


def grow(place: Estate) -> None:
    place.vcenter.grow(VM, 2001, 3 * MiB)


def add(place: Estate) -> None:
    place.vcenter.add_disk(VM, DiskSpec.from_json_value(disk(2002, "1 MiB", 2)))


def remove(place: Estate) -> None:
    place.vcenter.remove_disk(VM, 2001)


def verify_less(place: Estate) -> None:
    place.job(verify="sample", cbt="enable")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("happens", "sentences"),
    [
        pytest.param(
            grow,
            [
                "disk 2001 would be full now, and was incremental: it has 3145728 bytes, in ",
                "disk 2001: capacity is 3.0 MiB (3145728 bytes) now, and was 2.0 MiB (2097152 bytes)",
            ],
            id="disk grown",
        ),
        pytest.param(add, ["disk 2002 was added"], id="disk added"),
        pytest.param(remove, ["disk 2001 is gone"], id="disk gone"),
        pytest.param(
            verify_less,
            ["vars.verify is sample now, and was full", "nightly.yaml has changed since the plan was made"],
            id="job changed",
        ),
    ],
)
def test_a_difference_of_each_kind_is_told(
    place: Estate, happens: Callable[[Estate], None], sentences: list[str]
) -> None:
    job = place.job(cbt="enable")
    place.backup(job)
    before = planned(place, job)
    happens(place)
    told = saved_plan.drift(before, planned(place, job))
    assert [any(line.startswith(sentence) for line in told) for sentence in sentences] == [True] * len(sentences), told
    assert len(told) == len(sentences), told


@pytest.mark.slow
def test_tracking_that_started_over_is_told_with_the_full_that_it_makes(tmp_path: Path) -> None:
    """Of a VM that is off: of one that runs it is known once there is a snapshot, and no sooner."""
    vm = machine(*DISKS, change_tracking=True, powered_on=False)
    with estate(tmp_path, {"prod": inventory(vm)}) as place:
        job = place.job(cbt="enable")
        place.backup(job)
        before = planned(place, job)
        client = Client.of(place.vcenter)
        taken = client.snapshot(client.vm(f"DC1/vm/{VM}"), "before an update")
        client.wait(taken.RevertToSnapshot_Task())
        client.wait(taken.RemoveSnapshot_Task(False))
        told = saved_plan.drift(before, planned(place, job))
        assert len(told) == 2
        assert all(
            "would be full now, and was incremental: " in line and "does not reach back" in line for line in told
        )


@pytest.mark.slow
def test_a_chain_that_was_pruned_is_told_and_a_newer_point_of_the_same_chain_is_not(place: Estate) -> None:
    job = place.job(cbt="enable")
    first = place.backup(job)
    before = planned(place, job)
    place.vcenter.write(VM, 2000, 0, b"a day's work" * 1000)
    second = place.backup(job)
    place.vcenter.rename(VM, "renamed")
    renamed = place.job(vm="renamed", cbt="enable")
    told = saved_plan.drift(before, planned(place, renamed))
    assert told == ("vars.vm is renamed now, and was db", "nightly.yaml has changed since the plan was made")
    place.vcenter.rename("renamed", VM)
    assert saved_plan.drift(before, planned(place, place.job(cbt="enable"))) == ()
    assert sendense(place, "prune", job, "--keep-last=1", "--yes") == 0
    assert not first.exists()
    assert saved_plan.drift(before, planned(place, job)) == tuple(
        f"disk {key}: chain is {second.name} now, and was {first.name}" for key in (2000, 2001)
    )


@pytest.mark.slow
def test_a_run_is_held_to_a_saved_plan(place: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    job, file = place.job(cbt="enable"), place.directory / "plan.json"
    assert sendense(place, "plan", job, "--out", file) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    document = json.loads(file.read_text())
    assert document["schema_version"] == 1
    assert PASSWORD not in file.read_text()
    assert {one["subject"]: one["choice"] for one in document["jobs"][0]["decided"]} == {
        "VM": "",
        "disk 2000": "full",
        "disk 2001": "full",
    }
    grow(place)
    assert sendense(place, "run", job, "--plan", file) == 2
    said = capsys.readouterr().err
    assert "plan.json is not what would be done now, so nothing was begun" in said
    assert "  disk 2001: capacity is 3.0 MiB (3145728 bytes) now" in said
    assert not list(place.repository().glob("*-*"))
    assert sendense(place, "plan", job, "--out", file) == 0
    assert sendense(place, "run", job, "--plan", file) == 0
    assert len(list(place.repository().glob("*/*/manifest.json"))) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="absent"),
        pytest.param("{", "is no plan of this version of sendense", id="damaged"),
        pytest.param(
            '{"schema_version": 1, "jobs": []}', "is no plan of this version of sendense", id="another document"
        ),
    ],
)
def test_what_is_no_plan_begins_nothing(
    tmp_path: Path, content: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job, file = tmp_path / "job.yaml", tmp_path / "plan.json"
    job.write_text(yaml.safe_dump({"version": 1, "name": "x", "steps": [{"id": "clean", "uses": "cleanup"}]}))
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as left:
        main(["run", str(job), "--plan", str(file), f"--state={tmp_path / 'state'}"])
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
