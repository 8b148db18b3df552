"""What a run keeps survives a power cut as it was left."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runner.engine.checkpoint import NodeRecord, RunState, now
from runner.hosts.file_log import FileLog
from runner.hosts.local import LocalHost
from runner.job.nodes import NodeId


class Noting(LocalHost):
    """Remembers what was made durable, and what was there then."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[tuple[str, list[str]]] = []

    def sync(self, *paths: str) -> None:
        super().sync(*paths)
        self.synced += [(path, self.listdir(path)) for path in paths]


@pytest.mark.parametrize("there", [True, False], ids=["there", "absent"])
def test_a_log_that_was_removed_does_not_come_back_after_a_power_cut(tmp_path: Path, there: bool) -> None:
    host = Noting()
    log = FileLog(host, str(tmp_path / "ledger" / "disk-2000"))
    if there:
        log.append(b"line")
    log.remove()
    assert log.read() is None
    assert host.synced == ([(str(tmp_path / "ledger"), [])] if there else [])


def test_what_several_threads_append_to_one_log_is_all_there(tmp_path: Path, hurried: None) -> None:
    """Each asks for the log by itself."""
    state = RunState(LocalHost(), str(tmp_path))
    (tmp_path / "ledger").mkdir()

    def append(number: int) -> None:
        for line in range(40):
            state.log("disk-2000").append(f"{number} {line}\n".encode())

    threads = [threading.Thread(target=append, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = (tmp_path / "ledger" / "disk-2000").read_text().splitlines()
    assert sorted(written) == sorted(f"{number} {line}" for number in range(6) for line in range(40))


def test_what_tools_a_run_saw_is_known_to_its_next_execution(tmp_path: Path) -> None:
    """Also where the record of the node that saw one was dropped, as that of a snapshot is."""
    state = RunState(LocalHost(), str(tmp_path))
    (tmp_path / "nodes").mkdir()
    record = NodeRecord(
        step_id="a",
        step="make",
        step_version=1,
        sequence=2,
        acts=1,
        digest="",
        fields={},
        inputs={},
        state="done",
        at=now(),
    )
    state.put(record.model_copy(update={"tools": {"qemu-nbd on store": "7.2", "ssh": "9.2"}}))
    later = {"step_id": "b", "sequence": 1, "at": now(), "tools": {"qemu-nbd on store": "8.0", "ssh": "9.2"}}
    state.put(record.model_copy(update=later))
    state.put(record.model_copy(update={"step_id": "c", "sequence": 0, "at": now(), "tools": later["tools"]}))
    state.drop(NodeId("c"))
    assert RunState(LocalHost(), str(tmp_path)).tools() == {"qemu-nbd on store": "8.0", "ssh": "9.2"}


class Unmoved(LocalHost):
    """Where no content of a file can be fetched or sent."""

    def read(self, path: str, *args: object, **more: object) -> bytes:
        raise AssertionError(f"{path} was read")

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        raise AssertionError(f"{path} was written")


@pytest.mark.parametrize(("length", "rest"), [(4, b"kept"), (0, b""), (100, b"kept and cut")], ids=str)
def test_a_log_is_cut_where_it_lies(tmp_path: Path, length: int, rest: bytes) -> None:
    (tmp_path / "disk-2000").write_bytes(b"kept and cut")
    FileLog(Unmoved(), str(tmp_path / "disk-2000")).cut(length)
    assert (tmp_path / "disk-2000").read_bytes() == rest
