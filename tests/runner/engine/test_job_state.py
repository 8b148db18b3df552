"""The runs of a job, read by one request where that is enough, and one by one where something is odd."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.engine.checkpoint import RunRecord, RunState
from runner.engine.job_state import JobState
from runner.hosts.host import Completed
from runner.hosts.local import LocalHost
from runner.hosts.regular_file import NotAFileError

RUNS = [f"20261123T17000{number}Z-0000000{number}" for number in range(4)]


class Behind(LocalHost):
    """This machine as if it were behind sshd; counts what it is asked."""

    local = False

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def run(self, argv: Sequence[str], **more: Any) -> Completed:
        self.asked += 1
        return super().run(argv, **more)

    def listdir(self, path: str) -> list[str]:
        self.asked += 1
        return super().listdir(path)

    def read(self, path: str, **more: Any) -> bytes:
        self.asked += 1
        return super().read(path, **more)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    for number, run in enumerate(RUNS):
        record = RunRecord(
            id=run,
            job="nightly",
            vars={},
            job_file="nightly.yaml",
            job_digest="d",
            git_commit=None,
            started=datetime(2026, 11, 23, 17, 0, number, tzinfo=UTC),
            phase="finished",
        )
        RunState(LocalHost(), str(tmp_path / "nightly" / run)).create(record)
    return tmp_path / "nightly"


def test_all_records_come_by_one_request(job: Path) -> None:
    host = Behind()
    runs = JobState(host, str(job.parent), "nightly").runs()
    assert [record.id for record in runs.known] == RUNS and not runs.unread
    assert host.asked == 1


def _damage(record: Path) -> None:
    record.write_bytes(b"{}")


def _replace_by_a_pipe(record: Path) -> None:
    record.unlink()
    os.mkfifo(record)


def _replace_by_a_link(record: Path) -> None:
    record.rename(record.with_name("other.json"))
    record.symlink_to("other.json")


def _enlarge(record: Path) -> None:
    record.write_bytes(b" " * (1 << 20))


@pytest.mark.parametrize("spoil", [_damage, _enlarge])
def test_what_is_odd_is_told_as_it_is_of_each_file(job: Path, spoil: Any) -> None:
    spoil(job / RUNS[2] / "run.json")
    behind, here = (JobState(host, str(job.parent), "nightly").runs() for host in (Behind(), LocalHost()))
    assert behind == here
    assert [one.run for one in behind.unread] == [RUNS[2]] and len(behind.known) == 3


@pytest.mark.parametrize("spoil", [_replace_by_a_pipe, _replace_by_a_link])
def test_what_is_no_file_is_refused_as_when_it_is_asked_for_alone(job: Path, spoil: Any) -> None:
    spoil(job / RUNS[2] / "run.json")
    with pytest.raises(NotAFileError, match=RUNS[2]):
        JobState(Behind(), str(job.parent), "nightly").runs()


def test_a_run_without_a_record_and_a_job_without_runs_are_none(job: Path, tmp_path: Path) -> None:
    (job / RUNS[1] / "run.json").unlink()
    assert {one.id for one in JobState(Behind(), str(job.parent), "nightly").runs().known} == {*RUNS} - {RUNS[1]}
    assert not JobState(Behind(), str(tmp_path), "none").runs().ids


def test_a_new_runs_logs_are_known_to_be_empty_and_then_what_was_appended(tmp_path: Path, job: Path) -> None:
    host = Behind()
    state = RunState(host, str(tmp_path / "new"))
    state.create(JobState(LocalHost(), str(job.parent), "nightly").runs().known[0])
    log = state.log("disk-2000")
    assert log.read() is None and list(log.pieces()) == [] and host.asked == 0
    log.append(b"line")
    assert log.read() == b"line"
    assert RunState(host, state.directory).log("disk-2000").read() == b"line"
