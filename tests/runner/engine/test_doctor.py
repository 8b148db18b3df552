"""What the doctor says of this machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.app.options import Options, state_directory
from runner.base.errors import UsageError
from runner.console.checklist import print_checklist
from runner.engine import doctor
from runner.events.check_results import Observation, good, noted, wrong
from runner.hosts.local import LocalHost
from runner.hosts.state_place import StatePlace

ROOT = Path(__file__).parents[3]
NOBODY = 65534
ASK = f"""
import os, pathlib, sys
from tests.runner.engine.test_doctor import of_records, StatePlace
state, place = sys.argv[1:]
os.setgroups([])
os.setuid({NOBODY})
print(of_records(pathlib.Path(state), StatePlace("local", place) if place else None).model_dump_json())
"""


@pytest.fixture
def shut() -> Iterator[Path]:
    """A directory that can be looked at and not written to; not below pytest's own, which nobody else may enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        yield Path(directory)


def of_records(state: Path, place: StatePlace | None) -> Observation:
    return next(one for one in doctor.local(state, place=place) if "records of runs" in one.looked_at)


def as_nobody(state: Path, place: StatePlace | None) -> Observation:
    """Nothing is shut to root, so a root of its own process becomes nobody once it has imported what it needs."""
    if os.geteuid():
        return of_records(state, place)
    argv = (sys.executable, "-c", ASK, str(state), "" if place is None else place.path)
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return Observation.model_validate_json(done.stdout)


@pytest.mark.parametrize(
    ("of_the_job", "remedy"),
    [
        pytest.param(False, "give another directory with --state DIR", id="this-machines"),
        pytest.param(True, "give another directory in the job's `state:`", id="the-jobs-own"),
    ],
)
def test_a_place_for_records_that_cannot_be_written_is_wrong(shut: Path, of_the_job: bool, remedy: str) -> None:
    place = StatePlace("local", str(shut / "below" / "state")) if of_the_job else None
    found = as_nobody(Path(tempfile.gettempdir()) if of_the_job else shut / "state", place)
    assert found.state == "wrong"
    assert f"cannot write to {shut}" in found.found
    assert remedy in found.remedy


def test_records_on_another_host_leave_this_machine_its_own_place(tmp_path: Path) -> None:
    found = of_records(tmp_path / "state", StatePlace("hub", "/nowhere"))
    assert (found.state, "free for" in found.found, str(tmp_path) in found.found) == ("good", True, True)


def test_a_user_without_a_home_is_told_where_records_could_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # as containers have them: passwd does not know it
    with pytest.raises(UsageError, match=r"no home directory .* --state DIR"):
        state_directory(Options())
    assert LocalHost("local").account == str(os.geteuid())


def test_a_place_for_records_that_no_event_could_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not UTF-8: give another directory"):
        state_directory(Options(state=tmp_path / os.fsdecode(b"st\xff")))


def test_the_last_line_of_a_checklist_counts_what_is_to_be_known_of() -> None:
    stream = io.StringIO()
    print_checklist([good("a", "x", "fine"), noted("a", "y", "old"), good("a", "z", "fine")], stream)
    assert stream.getvalue().splitlines()[-1] == "3 looked at: 2 ok, 1 noted"
    print_checklist([good("a", "x", "fine"), wrong("a", "y", "gone")], stream)
    assert stream.getvalue().splitlines()[-1] == "2 looked at: 1 ok, 1 wrong"
