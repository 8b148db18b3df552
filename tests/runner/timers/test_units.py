"""Units that systemd accepts, and a directory of them that follows the jobs."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.errors import UsageError
from runner.job.schedule import Schedule
from runner.timers.directory import changes
from runner.timers.units import MARKER, Account, Service

NOW = datetime(2026, 11, 30, tzinfo=UTC)

NOT_EXPOSED = 40
"""Tenths of the ten points of `systemd-analyze security`, of which a service without any setting has 9.6."""


def service(name: str = "gold", file: str = "/etc/sendense/gold.yaml", **more) -> Service:
    given = {
        "unit": f"sendense-{name}",
        "job": name,
        "file": file,
        "schedule": Schedule(cron="30 1 1,15 * MON", timezone="Europe/Berlin"),
        "account": Account("root", "/root"),
        "command": ("/bin/true", "run", file),
        "directory": "/",
        **more,
    }
    return Service(**given)


def written(directory: Path, *services: Service) -> list[tuple[str, str]]:
    """What was done: (file name, what)."""
    texts = {name: text for each in services for name, text in each.texts(NOW).items()}
    found = changes(directory, texts, frozenset(each.file for each in services))
    for change in found:
        change.carry_out()
    return [(change.path.name, change.what) for change in found]


HOSTILE = {
    "names": service(job='a "job" with 100 % and $HOME\nin two lines'),
    "words": service(command=("/bin/true", "--set=a b", 'say "x"', "100%", "$HOME", "back\\slash", ";", "é")),
    "secrets": service(files=("/etc/sendense/vc password 100%",), variables=("VCENTER_PASSWORD",)),
    "paths": service(writes=("/srv/with space", "/srv/100%")),
    "skipped": service(schedule=Schedule(cron="30 2 * * *", timezone="Europe/Berlin", missed="skip")),
    "account": service(account=Account("daemon", "/usr/sbin")),
}


@pytest.mark.parametrize("of", HOSTILE.values(), ids=HOSTILE.keys())
def test_systemd_accepts_what_is_written(tmp_path: Path, of: Service):
    written(tmp_path, of)
    units = sorted(tmp_path.iterdir())
    verified = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", *units], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if str(tmp_path) in line or "sendense" in line]
    assert (verified.returncode, complaints) == (0, [])
    assert {path.name for path in units} == {"sendense-gold.service", "sendense-gold.timer"}


def test_what_a_service_may_do_is_limited(tmp_path: Path):
    written(tmp_path, service(account=Account("daemon", "/usr/sbin")))
    subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={NOT_EXPOSED}", "sendense-gold.service"],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )


def test_a_word_of_the_command_line_reaches_the_job_as_it_is():
    text = HOSTILE["words"].texts(NOW)["sendense-gold.service"]
    assert r'''ExecStart=/bin/true "--set=a b" "say \"x\"" 100%% $$HOME "back\\slash" ";" "é"''' in text


def test_what_was_missed_is_made_up_for_unless_the_job_says_not():
    for missed, persistent in (("run", "true"), ("skip", "false")):
        timer = service(schedule=Schedule(cron="0 1 * * *", missed=missed)).texts(NOW)["sendense-gold.timer"]
        assert f"Persistent={persistent}" in timer


def test_the_same_jobs_again_change_nothing(tmp_path: Path):
    assert written(tmp_path, service()) == [("sendense-gold.service", "written"), ("sendense-gold.timer", "written")]
    assert written(tmp_path, service()) == []
    later = service(schedule=Schedule(cron="30 3 * * *"))
    assert written(tmp_path, later) == [("sendense-gold.timer", "changed")]


def test_units_of_jobs_that_have_gone_are_removed_and_no_others(tmp_path: Path):
    here = tmp_path / "silver.yaml"
    here.touch()
    written(tmp_path, service(), service("silver", str(here)), service("lead", str(tmp_path / "never")))
    theirs = tmp_path / "sendense-theirs.timer"
    theirs.write_text("[Timer]\nOnCalendar=daily\n# Job: /nowhere\n")
    # Not named, but there: it may have been left out by mistake. The third one's file is not there.
    assert written(tmp_path, service()) == [("sendense-lead.service", "removed"), ("sendense-lead.timer", "removed")]
    # Named, and no longer a unit of that name: renamed, or without a schedule.
    assert written(tmp_path, service("gold", str(here), job="gold")) != []
    assert sorted(path.name for path in tmp_path.glob("sendense-*")) == [
        "sendense-gold.service",
        "sendense-gold.timer",
        "sendense-theirs.timer",
    ]


def test_a_unit_of_somebody_else_is_not_overwritten(tmp_path: Path):
    theirs = tmp_path / "sendense-gold.timer"
    theirs.write_text(f"[Timer]\n{MARKER}\n")
    with pytest.raises(UsageError, match="was not written by `sendense timers`"):
        written(tmp_path, service())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sendense-gold.timer"]
