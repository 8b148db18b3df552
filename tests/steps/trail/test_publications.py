"""What the log says of the VMs of one set, read by the shell of its host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.hosts.local import LocalHost
from steps.repository import layout
from steps.trail import publications
from steps.trail.log import Log
from steps.trail.publications import Publication

HUB = LocalHost("hub")
SET = 'gold "ö\\'
EVER = datetime(2026, 1, 1, tzinfo=UTC)


def writer(root: Path, job: str) -> Log:
    def warn(text: str) -> None:
        raise AssertionError(text)

    return Log(HUB, str(root), job, warn)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    own = writer(tmp_path, f"{SET}/web-1")
    own.note("publish", vm="/r/web-1", unusual=True)
    own.note("prune", vm="/r/web-1", text='"act":"publish","vm":"web-9", "unusual":true,')
    own.note("publish", vm="/r/web-2", unusual=False)
    writer(tmp_path, "silver/web-3").note("publish", vm="/r/web-3", unusual=True)
    writer(tmp_path, "nightly").note("publish", vm="/r/web-4", unusual=True, text=f'"job":"{SET}/x"')
    own.note("publish", vm="/r/web-2")
    writer(tmp_path, "site").note("release-brake", vm="/r/web-1", text="looked at it")
    own.note("publish", vm="/r/web-1", unusual=True)
    return tmp_path


WHOLE = [("web-1", "unusual"), ("web-2", "usual"), ("web-2", "usual"), ("web-1", "released"), ("web-1", "unusual")]


def read(root: Path, since: datetime = EVER) -> list[tuple[str, str]]:
    return [(one.vm, one.said) for one in publications.of_set(HUB, str(root), SET, since)]


def test_publications_of_a_set_are_told_from_all_else(root: Path):
    assert read(root) == WHOLE
    assert read(root, datetime.now(UTC) + timedelta(hours=1)) == []


def test_a_log_that_begins_or_ends_in_the_middle_of_a_line_is_read_as_far_as_it_goes(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    log = root / layout.LOG
    content = log.read_bytes()
    log.write_bytes(content[:-20])
    assert read(root) == WHOLE[:-1]
    log.write_bytes(content)
    monkeypatch.setattr(publications, "END", len(content) - 30)
    assert read(root) == WHOLE[1:]


def test_a_log_that_is_not_there_says_nothing_and_one_that_cannot_be_read_is_an_error(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    assert publications.of_set(HUB, str(tmp_path / "new"), SET, EVER) == ()
    log = root / layout.LOG
    log.unlink()
    log.mkdir()
    with pytest.raises(SendenseError, match=r"is a directory, not a regular file, .* put the file itself there"):
        read(root)
    log.rmdir()
    log.symlink_to("elsewhere")
    with pytest.raises(SendenseError):
        read(root)
    log.unlink()
    log.write_bytes(b'{"seq":1,"act":"publish"}\n')
    monkeypatch.setattr(publications, "END", "so many")  # as if tail failed
    with pytest.raises(SendenseError, match="cannot be read"):
        read(root)


def test_no_line_keeps_the_others_from_being_read(root: Path):
    """Whoever may write to the log cannot blind the brake of a set by one line, nor end its backups."""
    with (root / layout.LOG).open("ab") as log:
        job = json.dumps(f"{SET}/x").encode()
        for vm in (b"\xff", b"web 7", "web\u2028".encode(), b""):
            log.write(
                b'{"seq":9,"at":"2026-12-01T00:00:00Z","job":%s,"act":"publish","vm":"%s","prev":""}\n' % (job, vm)
            )
        log.write(b"!\n74\n")
    writer(root, f"{SET}/web-1").note("publish", vm="/r/web-1", unusual=True)
    found = read(root)
    assert found[: len(WHOLE)] == WHOLE
    assert found[-1] == ("web-1", "unusual")


def test_what_is_read_is_what_the_brake_takes(root: Path):
    assert publications.of_set(HUB, str(root), SET, EVER)[0] == Publication("web-1", "unusual")
