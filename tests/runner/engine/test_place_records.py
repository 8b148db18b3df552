"""What is remembered of all jobs of a place: by one request, and one by one where something is odd."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.engine.checkpoint import RunRecord, RunState
from runner.engine.place_records import SET, JobRecords, all_records
from runner.hosts.held_lock import HeldLock, holder_of
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.state_place import StatePlace
from tests.runner.engine.test_job_state import Behind

BEGAN = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def remember(place: Path, job: str, number: int, phase: Any) -> Path:
    started = BEGAN + timedelta(minutes=number)
    run = f"{started:%Y%m%dT%H%M%SZ}-0000000{number}"
    record = RunRecord(
        id=run, job=job, vars={}, job_file="f", job_digest="d", git_commit=None, started=started, phase=phase
    )
    RunState(LocalHost(), str(place / job / run)).create(record)
    return place / job / run / "run.json"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "state"
    for number, phase in enumerate(("finished", "working", "abandoned", "finished")):
        remember(place, "nightly", number, phase)
    remember(place, "nightly-2", 1, "finished")
    remember(place, "other", 1, "unwinding")
    (place / "nightly" / SET).write_text("chosen")
    (place / "a file").touch()
    return place


def numbers(found: JobRecords) -> list[str]:
    return [record.id[-1] for record in found.runs.known]


@pytest.mark.parametrize("host", [Behind(), LocalHost()], ids=["behind", "here"])
def test_the_newest_run_of_each_job_and_those_that_are_unfinished_come_by_one_request(host: Host, place: Path) -> None:
    found = all_records(host, StatePlace("store", str(place)))
    assert {name: numbers(job) for name, job in found.items()} == {
        "nightly": ["1", "3"],
        "nightly-2": ["1"],
        "other": ["1"],
    }
    assert [record.id[-1] for record in found["nightly"].unfinished] == ["1"]
    assert found["nightly"].newest is not None and found["nightly"].newest.phase == "finished"
    assert found["nightly"].set == b"chosen" and found["other"].set is None
    if isinstance(host, Behind):
        assert host.asked == 1


def test_a_record_that_is_damaged_is_named_and_no_other_is_lost(place: Path) -> None:
    (damaged,) = place.glob("nightly/*-00000000/run.json")
    damaged.write_text("{}")
    found = all_records(LocalHost(), StatePlace("local", str(place)))
    assert [one.path for one in found["nightly"].runs.unread] == [str(damaged)]
    assert numbers(found["nightly"]) == ["1", "3"] and numbers(found["other"]) == ["1"]


def test_where_one_file_is_odd_each_is_asked_for(place: Path) -> None:
    (large,) = place.glob("nightly/*-00000000/run.json")
    large.write_bytes(b" " * (1 << 20))
    found = all_records(LocalHost(), StatePlace("local", str(place)))
    assert [one.path for one in found["nightly"].runs.unread] == [str(large)]
    assert numbers(found["other"]) == ["1"] and found["nightly"].set == b"chosen"


def test_who_works_on_a_job_is_told_by_its_lock(place: Path) -> None:
    host = LocalHost()
    lock = HeldLock(host, str(place / "nightly" / ".lock"), holder_of("run-1", "nightly", "e"), "the job")
    lock.take()
    held = all_records(host, StatePlace("local", str(place)))
    assert "run-1" in (held["nightly"].holder(host) or "") and held["other"].holder(host) is None
    lock.close()
    assert all_records(host, StatePlace("local", str(place)))["nightly"].holder(host) is None


def test_an_empty_place_is_not_believed_of_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    def ready(host: Host) -> None:
        raise SendenseError("not mounted")

    with pytest.raises(SendenseError, match="not mounted"):
        all_records(LocalHost(), StatePlace("local", str(tmp_path / "none"), ready))
    assert all_records(LocalHost(), StatePlace("local", str(tmp_path / "none"))) == {}
