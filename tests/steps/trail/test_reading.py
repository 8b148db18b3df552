"""What is missing or changed in a log is said, and so is what was taken from its end, where a witness knows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.repository import layout
from steps.trail import reading
from steps.trail.entry import Head
from steps.trail.log import Log
from steps.trail.reading import Trail
from tests.trails import lines

HUB = LocalHost("hub")
VM = "web-1-50230000-0000-0000-0000-000000000001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With five entries."""
    written = Log(HUB, str(tmp_path), "night", lambda text: pytest.fail(text))
    for number in range(1, 6):
        written.note("publish", vm=VM, points=(f"20261123T17000{number}Z-3f9a",))
    return tmp_path


def read(root: Path) -> Trail:
    return reading.read(HUB, str(root))


def test_a_log_that_nobody_touched_is_whole(root: Path):
    trail = read(root)
    assert trail.problems == []
    assert [entry.seq for entry in trail.entries] == [1, 2, 3, 4, 5]
    assert trail.lacks(trail.head) is None


def test_a_repository_without_a_log_has_no_entries(tmp_path: Path):
    assert read(tmp_path).entries == []
    assert read(tmp_path).head == Head(seq=0, digest="")


TOUCHED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "a line is taken out": (lambda log: log[:2] + log[3:], "entry 3 of the log is missing"),
    "lines are taken out": (lambda log: log[:1] + log[4:], "entries 2 to 4 of the log are missing"),
    "the first is taken out": (lambda log: log[1:], "entry 1 of the log is missing"),
    "a word is changed": (
        lambda log: [log[0], log[1].replace(b"publish", b"protect"), *log[2:]],
        "what is before entry 3 in the log was changed, or something was taken out there",
    ),
    "two change places": (lambda log: [log[0], log[2], log[1], *log[3:]], "entry 2 of the log is missing"),
    "a line is put in": (lambda log: [*log[:2], log[1], *log[2:]], "entry 2 of the log comes after entry 2"),
    "a line is torn": (
        lambda log: [*log[:4], log[4][:40]],
        "line 5 of the log is no entry: its writer was killed, or the line was changed",
    ),
}


@pytest.mark.parametrize("touch", TOUCHED)
def test_what_is_missing_or_changed_is_said(root: Path, touch: str):
    change, sentence = TOUCHED[touch]
    (root / layout.LOG).write_bytes(b"".join(change(lines(root))))
    assert sentence in read(root).problems


def test_what_is_taken_from_the_end_the_digest_of_an_entry_tells(root: Path):
    head = read(root).head
    (root / layout.LOG).write_bytes(b"".join(lines(root)[:3]))
    assert read(root).problems == []
    assert read(root).lacks(head) == "the log ends with entry 3, and had entry 5 once: its end is gone"


def test_a_log_that_was_written_anew_is_another_one(root: Path):
    head = read(root).head
    (root / layout.LOG).unlink()
    again = Log(HUB, str(root), "night", lambda text: pytest.fail(text))
    for _ in range(5):
        again.note("publish", vm=VM)
    assert read(root).problems == []
    assert read(root).lacks(head) == "entry 5 of the log is not the one that it was"


def test_what_a_newer_version_says_is_an_entry(root: Path):
    log = root / layout.LOG
    log.write_bytes(log.read_bytes().replace(b'"act":"publish"', b'"token":"x","act":"hub-only"', 1))
    assert read(root).entries[0].act == "hub-only"
