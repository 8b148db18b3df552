"""The log of a repository: what is done is in it, each line chained to the one before, whoever writes at the same time
and wherever a writer was killed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.repository import layout
from steps.trail import log as trail_log
from steps.trail.entry import Entry
from steps.trail.log import Log
from tests.eventually import eventually
from tests.trails import entries, lines

HUB = LocalHost("hub")
VM = "web-1-50230000-0000-0000-0000-000000000001"


class Told(list[str]):
    def log(self, root: Path, host: Host = HUB) -> Log:
        return Log(host, str(root), "night", self.append, "20261123T170000Z-3f9a0c1e", "c20cf30")


@pytest.fixture
def told() -> Told:
    return Told()


def test_an_entry_says_who_did_what_to_which_points(tmp_path: Path, told: Told):
    head = told.log(tmp_path).note("prune", vm=f"/backup/{VM}", points=("20261123T170000Z-3f9a",), text="two\nlines")
    (line,) = lines(tmp_path)
    entry = Entry.model_validate_json(line)
    assert (entry.seq, entry.act, entry.vm, entry.points) == (1, "prune", VM, ("20261123T170000Z-3f9a",))
    assert (entry.job, entry.run, entry.commit) == ("night", "20261123T170000Z-3f9a0c1e", "c20cf30")
    assert entry.account, entry.host
    assert (entry.text, entry.prev) == ("two\nlines", "")
    assert head is not None
    assert (head.seq, head.digest) == (1, hashlib.sha256(line).hexdigest())
    assert (tmp_path / layout.LOG).stat().st_mode & 0o777 == 0o600


def test_what_a_text_holds_is_never_a_command(tmp_path: Path, told: Told):
    hostile = "'; touch made; $(touch made) `touch made` %s \\n \" \x00 …"
    told.log(tmp_path).note("protect", vm=VM, text=hostile)
    assert Entry.model_validate_json(lines(tmp_path)[0]).text == hostile
    assert [path.name for path in tmp_path.iterdir()] == [layout.LOG]


def test_two_writers_at_once_make_one_chain(tmp_path: Path, told: Told):
    def write() -> None:
        for _ in range(10):
            told.log(tmp_path).note("verify", vm=VM)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert told == []
    assert [entry.seq for entry in entries(tmp_path)] == [*range(1, 41)]


@pytest.mark.parametrize("torn", [b'{"seq":2,"at":"20', b"\xff\x00", b'{"seq":2}'], ids=["torn", "bytes", "whole"])
def test_a_line_without_its_end_remains_and_the_next_one_names_it(tmp_path: Path, told: Told, torn: bytes):
    told.log(tmp_path).note("publish", vm=VM)
    with (tmp_path / layout.LOG).open("ab") as file:
        file.write(torn)
    told.log(tmp_path).note("prune", vm=VM)
    first, second, third = lines(tmp_path)
    assert second == torn + b"\n"
    assert json.loads(third)["prev"] == hashlib.sha256(second).hexdigest()
    assert json.loads(first)["seq"] == 1


def test_a_log_that_only_grows_is_written(tmp_path: Path, told: Told, append_only: Path):
    """As root's timer makes it."""
    told.log(append_only.parent).note("publish", vm=VM)
    told.log(append_only.parent).note("prune", vm=VM)
    assert told == []
    assert len(lines(append_only.parent)) == 3


@pytest.fixture
def append_only(tmp_path: Path):
    path = tmp_path / layout.LOG
    path.write_bytes(b"")
    if subprocess.run(["chattr", "+a", path], capture_output=True, check=False).returncode != 0:
        pytest.skip("chattr +a needs root, and a file system that has it")
    path.open("ab").write(b"torn")
    yield path
    subprocess.run(["chattr", "-a", path], check=True)


def test_a_writer_that_is_killed_while_it_has_its_turn_keeps_nobody_from_writing(tmp_path: Path, told: Told):
    log = tmp_path / layout.LOG
    log.touch()
    holder = subprocess.Popen(["flock", log, "sleep", "60"], start_new_session=True)
    try:
        locked = ["flock", "-n", log, "true"]
        assert eventually(lambda: subprocess.run(locked, check=False).returncode == 1)
        writer = threading.Thread(target=lambda: told.log(tmp_path).note("publish", vm=VM))
        writer.start()
        os.killpg(holder.pid, signal.SIGKILL)
        writer.join(20)
    finally:
        holder.wait()
    assert len(lines(tmp_path)) == 1


def test_who_waits_too_long_for_others_says_so(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trail_log, "PATIENCE", 0)
    with (tmp_path / layout.LOG).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert told.log(tmp_path).note("publish", vm=VM) is None
    assert "is being written to by others" in told[0]


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_is_no_file_is_a_warning_and_is_not_written_to(tmp_path: Path, told: Told, kind: str):
    path, target = tmp_path / layout.LOG, tmp_path / "target"
    target.write_bytes(b"")
    {"fifo": os.mkfifo, "directory": os.mkdir, "link": lambda path: path.symlink_to(target)}[kind](path)
    assert told.log(tmp_path).note("publish", vm=VM) is None
    (warning,) = told
    assert f"the log of the repository lacks this publish of {VM}" in warning
    assert "put the file itself there" in warning
    assert target.read_bytes() == b""
