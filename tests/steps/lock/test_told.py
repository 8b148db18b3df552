"""What a doctor says of a lock: whether root's timer is there and holds to what the job asks for."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.sealed import CHECKSUM, seal
from runner.base.units import DAY
from runner.cli import main
from runner.events.check_results import Observation
from runner.hosts.local import LocalHost
from runner.step.preflight import Known
from steps.backup.reserve import Reserve, ReserveIn
from steps.lock import told
from steps.repository import layout, marker, reader
from steps.repository.locked import cannot_be_immutable
from steps.repository.section import Repository
from steps.sections.entries import RepositoryEntry
from steps.values.reservation import Reservation
from tests.hub import Hub, vm
from tests.locked_repository import UID, VM, LockedRepository, as_account, call, flags
from tests.mapped_mount import mapped
from tests.pages import ROOT

MONTH = 30 * DAY
HOST = LocalHost("store")

JOB = """\
version: 1
name: nightly
hosts: {{store: local}}
repositories: {{main: {{host: store, path: "{root}", lock: 30d}}}}
steps: [{{id: plan, uses: plan-retention, with: {{repository: main, policy: {{keep_last: 1}}}}}}]
"""


@pytest.fixture
def today(on_ext4: LockedRepository) -> LockedRepository:
    """With the clock of the host that is asked."""
    on_ext4.wall = time.time()
    return on_ext4


@pytest.fixture
def ramfs(tmp_path: Path) -> Iterator[Path]:
    """Its files have no flags at all, as those of NFS."""
    top = tmp_path / "ramfs"
    top.mkdir()
    call("mount", "-t", "ramfs", "none", top)
    try:
        yield top
    finally:
        call("umount", "--lazy", top)


def seen(repository: LockedRepository, lock: float | None = MONTH) -> dict[str, Observation]:
    found = told.examine(HOST, "main", str(repository.root), lock)
    return {one.looked_at: one for one in found}


def rewrite(repository: LockedRepository, **changes: object) -> None:
    """As root would."""
    path = repository.root / layout.LOCK_TIMER
    document = json.loads(path.read_bytes())
    document.pop(CHECKSUM)
    path.write_bytes(seal({**document, **changes}))


def test_a_lock_that_holds_is_good(today: LockedRepository) -> None:
    today.point(0)
    today.run()
    ((looked_at, found),) = seen(today).items()
    assert (looked_at, found.state) == ("its lock", "good")
    assert found.found.startswith("1 point locked, looked at ")


def test_a_lock_that_nothing_holds_to_is_wrong(today: LockedRepository) -> None:
    (found,) = seen(today).values()
    assert found.state == "wrong"
    assert found.found == (
        f"nothing locks the restore points in {today.root}: run what `sendense lock-timer` prints as root on store"
    )
    assert seen(today, None) == {}


@pytest.mark.parametrize(("since", "state"), [(3 * 300 - 60, "good"), (3 * 300 + 60, "wrong")], ids=["late", "dead"])
def test_a_timer_that_runs_no_more_is_wrong(today: LockedRepository, since: int, state: str) -> None:
    today.wall -= since
    today.run()
    found = seen(today)["its lock"]
    assert found.state == state
    if state == "wrong":
        assert found.found.startswith("its timer runs every 5 min 00 s, and ran last 1")
        assert found.remedy == "see `systemctl status sendense-lock-main.timer` on store"


def test_a_lock_that_was_ended_as_the_page_says_is_none_any_more(today: LockedRepository) -> None:
    point = today.point(0)
    (today.root / layout.LOG).touch()
    os.chown(today.root / layout.LOG, UID, UID)
    assert today.run() == []
    assert reader.read(HOST, str(point.parent)).locked
    page = (ROOT / "templates" / "help" / "lock.md").read_text().partition("To end it")[2]
    _, *lines = page.split("```")[1].strip().splitlines()
    for line in lines:
        call("sh", "-c", line.replace("/backup/repository", str(today.root)))
    assert list(told.examine(HOST, "main", str(today.root), None)) == []
    assert not reader.read(HOST, str(point.parent)).locked
    assert {flags(path) for path in (point, point / layout.MANIFEST, today.root / layout.LOG)} == {""}


def test_a_timer_that_ran_at_a_time_to_come_does_not_seem_alive(today: LockedRepository) -> None:
    today.wall += DAY
    today.run()
    found = seen(today)["its lock"]
    assert found.state == "wrong"
    assert "which the clock of store has not reached" in found.found


def test_what_the_account_wrote_itself_is_not_believed(today: LockedRepository) -> None:
    today.run()
    forged = today.root / layout.LOCK_TIMER
    os.chown(forged, UID, UID)
    (found,) = seen(today).values()
    assert found.state == "wrong"
    assert f"{forged} on store is not root's" in found.found


def test_an_account_that_reads_a_view_of_the_repository_believes_what_is_roots(
    today: LockedRepository,
) -> None:
    """As `sendense help privileges` has it: in that view what is root's is nobody's."""
    point, view = today.point(0), today.root.with_name("view")
    today.run()
    view.mkdir()

    def look() -> None:
        assert (view / layout.LOCK_TIMER).stat().st_uid != 0
        (found,) = told.examine(HOST, "main", str(view), MONTH)
        assert found.state == "good", found
        assert set(reader.read(HOST, str(view / VM)).locked) == {point.name}

    with mapped(today.root, view, UID, UID + 1):
        as_account(look, UID + 1)


def test_a_link_of_the_accounts_to_what_is_roots_is_not_believed(today: LockedRepository, tmp_path: Path) -> None:
    today.run()
    forged = today.root / layout.LOCK_TIMER
    shutil.move(forged, tmp_path / "of-another")
    forged.symlink_to(tmp_path / "of-another")
    (found,) = seen(today).values()
    assert "is not root's" in found.found


@pytest.mark.parametrize(
    ("lock", "state", "words"),
    [
        pytest.param(MONTH + DAY, "wrong", "locks its points for 30 d, the job says 31 d", id="shorter"),
        pytest.param(MONTH - DAY, "noted", "locks its points for 30 d, the job says 29 d only", id="longer"),
        pytest.param(None, "noted", "locks its points for 30 d, and the job says no `lock`", id="unasked"),
    ],
)
def test_a_lock_that_differs_from_the_jobs_is_told(
    today: LockedRepository, lock: float | None, state: str, words: str
) -> None:
    today.run()
    found = seen(today, lock)["how long its lock is"]
    assert found.state == state
    assert words in found.found


def test_what_the_timer_could_not_lock_is_wrong(today: LockedRepository) -> None:
    os.chown(today.point(0) / layout.MANIFEST, 0, 0)
    problems = today.run()
    found = seen(today)["what is not locked"]
    assert found.state == "wrong"
    assert problems[0] in found.found


def test_a_clock_that_is_not_synchronized_is_noted(today: LockedRepository) -> None:
    today.synchronized = False
    today.run()
    found = seen(today)["the clock that its lock goes by"]
    assert found.state == "noted"
    assert found.found.startswith("the clock of store is not synchronized; ")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param({"locked": "all"}, "has a value that cannot be: locked", id="damaged"),
        pytest.param({"schema_version": 2}, "newer version of sendense (schema 2)", id="newer"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_absent(
    today: LockedRepository, harm: dict[str, object], words: str
) -> None:
    today.run()
    rewrite(today, **harm)
    (found,) = seen(today).values()
    assert found.state == "wrong"
    assert f"{layout.LOCK_TIMER} on store" in found.found
    assert words in found.found


def test_a_file_system_without_flags_is_told(ramfs: Path) -> None:
    (found,) = told.examine(HOST, "main", str(ramfs), MONTH)
    assert found.state == "wrong"
    assert found.found == (
        f"no restore point in {ramfs} on store can be locked, since its file system (ramfs) makes no files immutable: "
        "use ext4, XFS or btrfs"
    )


def test_cifs_which_answers_as_if_it_could_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text("#!/bin/sh\necho smb2\n")
    stat.chmod(0o755)
    assert cannot_be_immutable(HOST, str(tmp_path)) == ""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "since its file system (smb2) makes no files immutable" in cannot_be_immutable(HOST, str(tmp_path))


def test_a_host_without_lsattr_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("sh", "env", "setsid", "stat"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "host store has no lsattr" in cannot_be_immutable(HOST, str(tmp_path))


def test_a_doctor_of_a_repository_asks_for_its_lock(today: LockedRepository, tmp_path: Path) -> None:
    entry = RepositoryEntry.from_json_value({"host": "store", "path": str(today.root), "lock": "30d"})
    context = Hub(HOST, str(today.root), tmp_path).context()
    assert "its lock" in {one.looked_at for one in entry.examine(context, "main") if one.state == "wrong"}


class Locking(Hub):
    """Of a job that asks for a lock."""

    def section(self, section: str, name: str) -> Repository:
        return super().section(section, name).model_copy(update={"lock": MONTH})


@pytest.mark.parametrize("kind", [Hub, Locking])
def test_a_plan_says_where_no_lock_can_be_if_the_job_asks_for_one(ramfs: Path, tmp_path: Path, kind: type[Hub]) -> None:
    marker.init(HOST, str(ramfs / "main"))
    known = Known[ReserveIn, Reservation](inputs=ReserveIn(vm=vm(), repository="main"))
    notes = Reserve().preflight(kind(HOST, str(ramfs / "main"), tmp_path).context(), known).notes
    assert any("since its file system (ramfs) makes no files immutable" in note for note in notes) == (kind is Locking)


def test_a_plan_says_that_nothing_locks_what_the_job_says_is_locked(today: LockedRepository, tmp_path: Path) -> None:
    known = Known[ReserveIn, Reservation](inputs=ReserveIn(vm=vm(), repository="main"))
    context = Locking(HOST, str(today.root), tmp_path).context()
    nothing = "nothing locks the restore points"
    assert any(note.startswith(nothing) for note in Reserve().preflight(context, known).notes)
    today.run()
    assert not any(note.startswith(nothing) for note in Reserve().preflight(context, known).notes)


def job_for(root: Path, directory: Path) -> Path:
    job = directory / "job.yaml"
    job.write_text(JOB.format(root=root))
    return job


def test_init_says_what_is_still_to_be_done_for_a_lock(
    today: LockedRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_for(today.root, tmp_path)
    assert f"note: nothing locks the restore points in {today.root}: run what" in init(job, capsys)
    today.run()
    assert init(job, capsys) == ""


def test_init_says_where_no_lock_can_be(ramfs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_for(ramfs / "main", tmp_path)
    assert f"note: no restore point in {ramfs / 'main'} on store can be locked" in init(job, capsys)


def init(job: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What it says of locks."""
    with pytest.raises(SystemExit) as left:
        main(["init", str(job)])
    assert not left.value.code
    return "\n".join(line for line in capsys.readouterr().err.splitlines() if "lock" in line)
