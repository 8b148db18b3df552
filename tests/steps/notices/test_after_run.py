"""Whole runs: what somebody is told of them, night after night."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from runner.base.errors import LockedError, SendenseError
from runner.cli import main
from runner.engine.job_state import JobState
from runner.events.events import Warned
from runner.hosts.held_lock import holder_of
from runner.hosts.local import LocalHost
from tests.e2e.site import Ran
from tests.estate import Estate, disk, estate, inventory, machine
from tests.sink import PASSWORD, Sink

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, service: Sink) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "1 MiB")))}) as found:
        say(found, notify={"to": [{"env": "CHAT"}]})
        yield found


def say(site: Estate, **keys: object) -> None:
    path = site.directory / "site.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}, sort_keys=False))


def warnings(ran: Ran) -> list[str]:
    return [event.text for event in ran.events if isinstance(event, Warned) and event.node == "notices"]


def broken(site: Estate) -> Path:
    """The same job, without a host to read its VM from."""
    return site.job(transport="vddk", vddk_plugin="/nonexistent.so")


def test_a_job_that_fails_night_after_night_is_told_of_once_and_of_its_recovery_once(
    site: Estate, service: Sink
) -> None:
    for _ in range(2):
        assert site.run(broken(site), fresh=True).exit_code == 1
    assert service.titles == ["sendense: nightly: failed"]
    assert "nonexistent.so" in service.notices[0]["message"]
    assert f"sendense status {site.directory}/nightly.yaml" in service.notices[0]["message"]
    assert site.run(site.job(), fresh=True).exit_code == 0
    assert service.titles == ["sendense: nightly: failed", "sendense: nightly: recovered"]
    assert service.notices[1]["type"] == "success"
    assert not list((site.directory / "repository").rglob("notices.json"))


def test_a_point_that_is_too_old_is_told_once_also_where_the_run_is_locked_out(site: Estate, service: Sink) -> None:
    say(site, rpo="1h")
    job = site.job()
    state = JobState(LocalHost(), str(site.repository() / ".state"), "nightly")
    LocalHost().mkdir(state.directory, parents=True)
    with closing(state.lock(holder_of("20261123T170000Z-3f9a0c1e", "nightly", "other"))):
        for _ in range(2):
            with pytest.raises(LockedError):
                site.run(job)
    assert service.titles == ["sendense: nightly: too old for the rpo"]
    assert "there is no good restore point, and its rpo is 1 h" in service.notices[0]["message"]
    assert site.run(job).exit_code == 0
    assert service.titles[1:] == ["sendense: nightly: young enough again"]


def test_what_keeps_a_run_from_beginning_is_told_though_the_repository_cannot_be_reached(
    site: Estate, service: Sink
) -> None:
    job = site.job()
    site.repository().rename(site.directory / "unmounted")
    for _ in range(2):
        with pytest.raises(SendenseError):
            site.run(job)
    assert service.titles == ["sendense: nightly: failed"]
    assert not site.repository().exists(), "nothing is made where a disk is not mounted"
    (site.directory / "unmounted").rename(site.repository())
    assert site.run(job).exit_code == 0
    assert service.titles[1:] == ["sendense: nightly: recovered"]
    assert not list(site.directory.rglob("notices.json"))


@pytest.mark.parametrize("failure", ["refuses", "not set"])
def test_a_notice_that_fails_changes_no_backup_and_is_seen_and_tried_again(
    site: Estate, service: Sink, failure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if failure == "refuses":
        service.status = 503
    else:
        monkeypatch.delenv("CHAT")
    say(site, rpo="0s")  # any point is older
    job = site.job()
    with pytest.raises(SystemExit) as left:
        main(["run", str(job), "--json", "--state", str(site.directory / "state")])
    out, err = capsys.readouterr()
    assert left.value.code == 0
    (run,) = json.loads(out)["runs"]
    (warning,) = [one["text"] for one in run["warnings"] if one["node"] == "notices"]
    assert warning.startswith("the notice to env CHAT was not sent: ")
    assert warning in err.replace("\n", " ") and PASSWORD not in out + err
    service.status = 200
    monkeypatch.setenv("CHAT", service.url)
    site.run(job)
    assert service.titles == ["sendense: nightly: too old for the rpo"]


def test_a_record_that_is_damaged_is_said_and_told_anew(site: Estate, service: Sink) -> None:
    site.run(broken(site), fresh=True)
    (record,) = site.repository().rglob("notices.json")
    record.write_bytes(record.read_bytes()[:-20])
    ran = site.run(broken(site), fresh=True)
    assert service.titles == ["sendense: nightly: failed"] * 2
    assert any("what was told before is told again" in text for text in warnings(ran))


def test_a_run_that_somebody_stopped_is_no_failure(site: Estate, service: Sink) -> None:
    stop = threading.Event()
    stop.set()
    ran = site.run(site.job(), stop=stop)
    assert ran.exit_code == 130 and service.titles == []
