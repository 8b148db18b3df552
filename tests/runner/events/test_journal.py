from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from runner.base.errors import StateError
from runner.events.events import NodeProgress, RunStarted
from runner.events.journal import Journal, Thinning, read_events
from tests.run_events import START, done_run, failed_run


def write(path: Path, events: list) -> None:
    journal = Journal(path)
    for event in events:
        journal(event)
    journal.close()


def without_progress(events: list) -> list:
    return [event for event in events if not isinstance(event, NodeProgress)]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, failed_run())
    assert without_progress(read_events(path)) == without_progress(failed_run())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    for count, event in enumerate(without_progress(done_run())[:5], 1):
        journal(event)
        assert len(read_events(path)) == count
    journal.close()


def test_what_is_told_after_the_end_goes_to_no_file_that_got_its_number(tmp_path: Path) -> None:
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    write(path, done_run())
    journal = Journal(path)
    journal.close()
    with other.open("w"):
        journal(done_run()[0])
    assert other.read_bytes() == b""
    assert len([event for event in read_events(path) if isinstance(event, RunStarted)]) == 1


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, failed_run())
    write(path, done_run())
    assert len([event for event in read_events(path) if isinstance(event, RunStarted)]) == 2


def test_a_line_torn_by_a_kill_is_left_out_and_cut_off_by_the_next_attempt(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, failed_run())
    whole = read_events(path)
    with path.open("ab") as file:
        file.write(b'{"at":"2026-11-23T17:00:00Z","type":"war' + b"n" * 70_000)
    assert read_events(path) == whole
    write(path, failed_run())
    assert read_events(path) == whole * 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        pytest.param(b"\xff\xfe", "damaged", id="not text"),
        pytest.param(b'{"type": "run-star', "damaged", id="cut JSON"),
        pytest.param(b"", "damaged", id="empty line"),
        pytest.param(b'{"type": "from-the-future"}', "newer sendense", id="unknown type"),
        pytest.param(
            RunStarted(run="r", job="j", resumed=False, job_file="f", job_digest="d", schema_version=99)
            .model_dump_json()
            .encode(),
            "events of version 99",
            id="future version",
        ),
    ],
)
def test_a_damaged_or_future_line_is_refused_by_its_number(tmp_path: Path, line: bytes, sentence: str) -> None:
    path = tmp_path / "events.jsonl"
    good = done_run()[0].model_dump_json().encode()
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    with pytest.raises(StateError, match=rf"events\.jsonl:2: .*{sentence}") as raised:
        read_events(path)
    assert "\n" not in raised.value.message


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="No such file"):
        read_events(tmp_path / "none.jsonl")
    with pytest.raises(StateError, match="cannot write"):
        Journal(tmp_path / "none" / "events.jsonl")


FULL = """
import resource, signal, sys
from pathlib import Path
from runner.events.journal import Journal
from tests.run_events import failed_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
journal = Journal(Path(sys.argv[1]))
for event in failed_run():
    journal(event)
journal.close()
print(journal.failure)
"""


def test_a_fifo_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.jsonl")
    with pytest.raises(StateError, match=r"events.jsonl on this machine is a FIFO, not a regular file"):
        read_events(tmp_path / "events.jsonl")


def test_a_full_disk_never_stops_the_engine_and_is_told_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"{path} is incomplete, make room there: {os.strerror(errno.EFBIG)}" in done.stdout
    assert path.stat().st_size <= 4096
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096
    assert len(read_events(path)) > 1


def progress(seconds: float, done: int, node: str = "transfer[2000]", phase: str = "copy") -> NodeProgress:
    at = START + timedelta(seconds=seconds)
    return NodeProgress(at=at, node=node, label="disk 2000", phase=phase, done=done, total=10**12)


def test_fourteen_hours_of_progress_leave_a_thousand_lines_and_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    for second in range(14 * 3600):
        journal(progress(second, second))
    end = done_run()[-1]
    journal(end)
    journal.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 300 < len(lines) < 1100
    assert lines[0]["done"] == 0
    assert lines[-2]["done"] == 14 * 3600 - 1


def test_the_last_progress_of_a_phase_is_kept_when_the_next_begins() -> None:
    thin = Thinning()
    kept = [event for second in (0.0, 0.01, 0.02) for event in thin(progress(second, int(second * 100)))]
    assert [event.done for event in kept if isinstance(event, NodeProgress)] == [0]
    kept = thin(progress(0.03, 0, phase="compare"))
    assert [(event.phase, event.done) for event in kept if isinstance(event, NodeProgress)] == [
        ("copy", 2),
        ("compare", 0),
    ]


def test_thinning_what_was_thinned_changes_nothing() -> None:
    def thinned(events: list) -> list:
        thin = Thinning()
        return [kept for event in events for kept in thin(event)]

    once = thinned(done_run())
    assert thinned(once) == once


def test_a_device_that_keeps_nothing_is_no_full_disk() -> None:
    write(Path(os.devnull), done_run())


def test_a_pipe_gets_the_events() -> None:
    reader, writer = os.pipe()
    write(Path(f"/dev/fd/{writer}"), done_run()[:3])
    os.close(writer)
    with os.fdopen(reader, "rb") as events:
        assert len(events.readlines()) == 3
